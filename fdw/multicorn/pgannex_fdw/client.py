"""The socket's side: connections of this backend, and one request on one of them.

A backend keeps one idle connection and opens more while scans overlap. `Request.blocks`
is a generator because the caller must get control back while the server is still busy: it
yields None whenever Postgres wants to handle an interrupt. It sends and reads in turn,
never blocks for longer than a slice, and cancels by closing.
"""

from __future__ import annotations

import errno
import time
from _socket import AF_UNIX, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, SOCK_STREAM
from _socket import socket as Socket  # noqa: N812
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from select import POLLIN, POLLOUT, poll

from pgannex_wire import PROTOCOL_MAJOR, PROTOCOL_MINOR
from pgannex_wire.errors import WireError
from pgannex_wire.frame import IGNORABLE, LAST, MISSING, Frame, FrameReader, FrameType
from pgannex_wire.message import End, Failure, Hello, Need, Notice, Part, Welcome
from pgannex_wire.values import ColumnBlock

from pgannex_fdw import VERSION, backend, report

SLICE_MS = 50
SILENCE_S = 10.0
DEADLINE_GRACE_S = 2.0
CONNECT_S = 10.0
CLIENT_CHECK_S = 0.2
MAX_CONNECTIONS = 8
FIRST_WINDOW = 2
_CHUNK = 256 * 1024


class Connection:
    """A connected socket, non-blocking, with the frames that came and the bytes that wait."""

    __slots__ = ("_poll", "_polls_out", "_reader", "fresh", "out", "path", "sock", "window")

    def __init__(self, path: str) -> None:
        self.path = path
        self.sock = _connect(path)
        self.window = FIRST_WINDOW
        self.fresh = True
        self.out = bytearray(_hello())
        self._reader = FrameReader()
        self._poll = poll()
        self._poll.register(self.sock.fileno(), POLLIN)
        self._polls_out = False

    def flush(self) -> None:
        """Writes what the socket takes now."""
        while self.out:
            try:
                sent = self.sock.send(self.out, MSG_NOSIGNAL)
            except BlockingIOError:
                return
            del self.out[:sent]

    def wait(self) -> list[Frame] | None:
        """The frames that came within a slice; None when nothing did."""
        if self._polls_out != bool(self.out):
            self._polls_out = bool(self.out)
            self._poll.modify(self.sock.fileno(), POLLIN | (POLLOUT if self.out else 0))
        events = self._poll.poll(SLICE_MS)
        if not events:
            return None
        if events[0][1] & POLLOUT:
            self.flush()
        try:
            data = self.sock.recv(_CHUNK)
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionResetError("closed by the server")
        return self._reader.feed(data)

    def is_quiet(self) -> bool:
        """Whether an idle connection is still good: nothing came, nothing is left."""
        if self.out or self._reader.pending():
            return False
        try:
            self.sock.recv(1, MSG_PEEK | MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        self.sock.close()


def _hello() -> bytes:
    host = backend.current()
    client = f"pgml/{VERSION} multicorn postgres/{host.server}"
    return Hello(
        PROTOCOL_MAJOR, PROTOCOL_MINOR, backend.pid(), client, host.database(), host.application_name()
    ).encode()


def _connect(path: str) -> Socket:
    """A connected socket. A full backlog (a stopped server) is tried again for a while."""
    sock = Socket(AF_UNIX, SOCK_STREAM)
    sock.setblocking(False)
    end = time.monotonic() + CONNECT_S
    while True:
        try:
            sock.connect(path)
            return sock
        except BlockingIOError as error:
            if time.monotonic() < end and not backend.current().interrupted():
                time.sleep(0.01)
                continue
            sock.close()
            raise WireError(
                "server_silent", f"the server on {path} takes no connections", hint=_HINT
            ) from error
        except OSError as error:
            sock.close()
            raise _down(path, error) from error


_HINT = "is the server running? try: pgannex status"


def _down(path: str, error: OSError) -> WireError:
    hint = _HINT
    if error.errno == errno.EACCES:
        hint = "the user that runs Postgres needs read and write permission on the socket and its folder"
    reason = error.strerror or str(error)
    return WireError("server_down", f"no server answers on {path}", detail=reason.lower(), hint=hint)


class Pool:
    """The connections of this backend: at most one idle, at most MAX_CONNECTIONS in use."""

    def __init__(self) -> None:
        self._idle: Connection | None = None
        self._busy = 0

    def take(self) -> Connection:
        if self._busy >= MAX_CONNECTIONS:
            raise WireError(
                "overloaded",
                f"this session already has {self._busy} requests open",
                hint="close cursors, or join fewer foreign tables",
            )
        path, idle = backend.current().socket(), self._idle
        self._idle = None
        if idle is not None and (idle.path != path or not idle.is_quiet()):
            idle.close()
            idle = None
        connection = idle or Connection(path)
        self._busy += 1
        return connection

    def give_back(self, connection: Connection, usable: bool) -> None:
        self._busy -= 1
        if usable and self._idle is None:
            connection.fresh = False
            self._idle = connection
        else:
            connection.close()

    def clear(self) -> None:
        """Closes the idle connection."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None


POOL = Pool()


@dataclass(slots=True)
class Call:
    """What to send: the OPEN frame, and a way to make the BATCH frames again from the start."""

    open: bytes
    batches: Callable[[], Iterator[bytes]] | None
    deadline_ms: int


class Request:
    """One request. `blocks` runs it; `close` ends it at any time, and may be called twice."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._connection: Connection | None = POOL.take()
        self._started = self._heard = self._looked = time.monotonic()
        self._begin()
        self.end: End | None = None

    def _begin(self) -> None:
        assert self._connection is not None
        self._connection.out += self._call.open
        self._batches = self._call.batches() if self._call.batches else iter(())
        self._next = next(self._batches, None)
        self._unanswered = 0 if self._call.batches else 1  # the args of a SINGLE request are a batch
        self._answered_any = False

    def blocks(self) -> Iterator[ColumnBlock | None]:
        """The result, block by block; None asks the caller to let Postgres have a look."""
        ready: list[ColumnBlock] = []
        while self.end is None:
            frames = self._step()
            if frames is None:
                self._check_clock()
                if backend.current().interrupted():
                    yield None
                    self._heard = time.monotonic()
                continue
            for frame in frames:
                self._handle(frame, ready)
            # The last rows wait for END, which follows at once: the connection is then free
            # before the executor goes on, and the next scan can have it.
            if ready and (self.end is not None or not self._complete()):
                yield from ready
                ready.clear()
                self._heard = time.monotonic()
        yield from ready

    def _step(self) -> list[Frame] | None:
        """Sends what may be sent, then waits for frames. One stale connection is replaced."""
        while True:
            if self._connection is None:
                raise WireError("cancelled", "the request ended with its transaction")
            try:
                self._send_batches(self._connection)
                self._connection.flush()
                return self._connection.wait()
            except OSError as error:
                if self._connection.fresh or self._answered_any:
                    path = self._connection.path
                    self.close()
                    raise WireError(
                        "connection_lost",
                        f"the server on {path} closed the connection during the request",
                        detail=(error.strerror or str(error)).lower(),
                        hint=_HINT,
                    ) from error
                self.close()
                self._connection = POOL.take()
                self._begin()

    def _send_batches(self, connection: Connection) -> None:
        """Queues what the window allows. One batch is held ready, so that the last is known."""
        while self._next is not None and self._unanswered < connection.window:
            if len(connection.out) > _CHUNK:
                return
            connection.out += self._next
            self._unanswered += 1
            self._next = next(self._batches, None)

    def _complete(self) -> bool:
        """Whether all that was asked is answered, so that only END is to come."""
        return self._next is None and self._unanswered == 0

    def _handle(self, frame: Frame, ready: list[ColumnBlock]) -> None:
        self._answered_any = self._answered_any or frame.type != FrameType.WELCOME
        self._heard = time.monotonic()
        kind = frame.type
        if kind == FrameType.ROWS:
            block = ColumnBlock.decode(frame.payload)
            if block.nrows:
                ready.append(block)
            if frame.flags & LAST:
                self._answer()
        elif kind == FrameType.END:
            self._finish(End.decode(frame.payload))
        elif kind == FrameType.ERROR:
            failure = Failure.decode(frame.payload)
            self.close()
            raise report.ServerError(failure)
        elif kind == FrameType.WELCOME:
            self._welcome(Welcome.decode(frame.payload))
        elif kind == FrameType.NOTICE:
            report.notice(Notice.decode(frame.payload))
        elif kind == FrameType.ACK:
            self._answer()
        elif kind == FrameType.NEED:
            self._refuse_part(Need.decode(frame.payload).hash)
        elif kind != FrameType.HEARTBEAT and not kind & IGNORABLE:
            raise WireError("protocol_violation", f"the server sent a frame of type {kind:#x}")

    def _answer(self) -> None:
        if self._unanswered == 0:
            raise WireError("protocol_violation", "the server answered a batch that was not sent")
        self._unanswered -= 1

    def _finish(self, end: End) -> None:
        if not self._complete():
            raise WireError(
                "protocol_violation", f"the server ended with {self._unanswered} batches unanswered"
            )
        self.end = end
        connection, self._connection = self._connection, None
        if connection is not None:
            POOL.give_back(connection, connection.is_quiet())

    def _welcome(self, welcome: Welcome) -> None:
        if welcome.major != PROTOCOL_MAJOR:
            raise WireError(
                "protocol_violation",
                f"the server speaks protocol {welcome.major}.{welcome.minor}, this host {PROTOCOL_MAJOR}.x",
                hint="install the same version of pgannex on both sides",
            )
        assert self._connection is not None
        self._connection.window = max(1, welcome.window)

    def _refuse_part(self, hash_: str) -> None:
        """Artifacts are read by a query, which no wrapper in Python can run: there is none."""
        assert self._connection is not None
        self._connection.out += Part(hash_, b"").encode(0, LAST | MISSING)

    def _check_clock(self) -> None:
        now = time.monotonic()
        if now - self._looked > CLIENT_CHECK_S:
            self._looked = now
            if not backend.current().client_is_there():
                raise WireError("cancelled", "the client has gone away")
        if now - self._heard > SILENCE_S:
            raise WireError(
                "server_silent",
                f"the server has been silent for {SILENCE_S:.0f} s",
                hint="it may be stopped or overloaded; try: pgannex status",
            )
        limit = self._call.deadline_ms / 1000
        if limit and now - self._started > limit + DEADLINE_GRACE_S:
            raise WireError(
                "deadline",
                f"no answer within {self._call.deadline_ms} ms",
                hint="raise pgannex.timeout or statement_timeout",
            )

    def close(self) -> None:
        """Gives the connection up. In the middle of a request that cancels it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            POOL.give_back(connection, False)
