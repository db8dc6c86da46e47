"""One connection of the frames door: bytes to requests, answers to bytes.

A uvloop protocol that is also the Sink of the request it carries. Everything is a plain
call: no task, future or timer per request. It decides nothing: the service does; it only
keeps the protocol's rules (one request at a time, credits, cancel is close, an ERROR closes
its end too).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from pgannex_wire import PROTOCOL_MAJOR, PROTOCOL_MINOR, WireError, frame
from pgannex_wire.frame import HEADER, HEADER_SIZE, MAX_FRAME, FrameReader, FrameType
from pgannex_wire.message import End, Failure, Heartbeat, Hello, Need, Notice, Open, Part, Welcome
from pgannex_wire.values import ColumnBlock

from pgannex_server.doors.frames.checks import check_hello, check_names
from pgannex_server.doors.frames.open_cache import Cached, deadline_ms, remember
from pgannex_server.request import Caller, Handle, Request, Sink, parse_grant

if TYPE_CHECKING:
    from pgannex_server.doors.frames.door import FramesDoor

log = logging.getLogger("pgannex.frames")

_HELLO, _OPEN, _BATCH, _DONE, _PART = (int(t) for t in (FrameType.HELLO, FrameType.OPEN, FrameType.BATCH,
                                                          FrameType.DONE, FrameType.PART))  # fmt: skip
Again = Callable[[bytes, int, Sink], Handle | None]

_ROWS = int(FrameType.ROWS)
_MAX_UNANSWERED_BYTES = 64 << 20
_HIGH_WATER = 1 << 20


class Connection(asyncio.Protocol):
    """See the module. `door` holds what connections share."""

    def __init__(self, door: FramesDoor) -> None:
        self.door = door
        self.service = door.service
        self.uid = -1
        self.pid = 0
        self.since = time.monotonic()
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._hello: Hello | None = None
        self.trusted = False
        self.admitted = False
        self.partial = 0
        self._user_role = ""
        self._busy = False
        self._handle: Handle | None = None
        self._verb = ""
        self._input_done = False
        self._unanswered: dict[int, int] = {}
        self._unanswered_bytes = 0
        self._next_seq = 0
        self._cached: Cached | None = None
        self._paused = False
        self._single = False
        self._held = b""
        self._reading = True
        self.closing_since = 0.0

    # -- asyncio.Protocol -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are not registered as such
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        self.uid, self.pid = self.door.peer_of(transport)
        self.trusted, self._user_role = self.door.trust(self.uid)
        refusal = self.door.welcome(self)
        if refusal is not None:
            self._refuse(refusal)
            if self.door.crowded:
                self.shut()

    def data_received(self, data: bytes) -> None:
        if self.closing_since:
            return
        try:
            if len(data) >= HEADER_SIZE and not self._reader.pending():
                length, type_, flags, _reserved, seq = HEADER.unpack_from(data)
                if length == len(data) - HEADER_SIZE <= MAX_FRAME:
                    self._take(type_, flags, seq, data[HEADER_SIZE:])
                    return
            for type_, flags, seq, payload in self._reader.feed(data):
                self._take(type_, flags, seq, payload)
                if self.closing_since:
                    return
            self._hold(self._reader.pending())
        except WireError as err:
            self._refuse(err)
        except Exception:
            log.exception("the request of process %d failed", self.pid)
            self._refuse(
                WireError("internal", "the server met an unexpected error", hint="see the server's log")
            )

    def eof_received(self) -> bool:
        self._gone()
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        self._gone()
        self.door.farewell(self)

    def pause_writing(self) -> None:
        self._paused = True
        if self._handle is not None:
            self._handle.pause()

    def resume_writing(self) -> None:
        self._paused = False
        if self._handle is not None:
            self._handle.resume()

    def _hold(self, held: int) -> None:
        """What lies here of a frame that is not whole yet; only when a frame comes in pieces."""
        if self._hello is None:
            check_hello(held)
        if held != self.partial:
            self.door.hold(self, held)

    # -- frames from the client ---------------------------------------------------------------

    def _take(self, type_: int, flags: int, seq: int, payload: bytes) -> None:
        if type_ == _OPEN:
            self._open(flags, payload)
        elif type_ == _BATCH:
            self._batch(flags, seq, payload)
        elif type_ == _DONE:
            self._finish()
        elif type_ == _PART:
            self._part(flags, seq, payload)
        elif type_ == _HELLO:
            self._greet(payload)
        elif not type_ & frame.IGNORABLE or type_ & 0x80:
            raise WireError("protocol_violation", f"a client does not send frames of type 0x{type_:02x}")

    def _greet(self, payload: bytes) -> None:
        if self._hello is not None:
            raise WireError("protocol_violation", "HELLO was sent twice")
        check_hello(len(payload))
        hello = Hello.decode(payload)
        if hello.major != PROTOCOL_MAJOR:
            raise WireError(
                "protocol_violation",
                f"the client speaks protocol {hello.major}.{hello.minor}, "
                f"the server {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}",
                hint=f"client {hello.client}, pgannex {self.service.version}: install matching ones",
            )
        self._hello = hello
        self._write(
            Welcome(
                PROTOCOL_MAJOR,
                PROTOCOL_MINOR,
                self.service.config.limits.window,
                MAX_FRAME,
                f"pgannex {self.service.version}",
                self.service.instance,
            ).encode()
        )

    def _open(self, flags: int, payload: bytes) -> None:
        if self._busy:
            raise WireError("protocol_violation", "OPEN came before the last request's END")
        cached = self._cached
        value = cached.value_of(payload, flags) if cached is not None else None
        if cached is None or value is None:
            request = self._first_open(flags, payload)
        elif cached.shape.again is not None and self._again(cached.shape.again, value, payload):
            return
        else:
            request = cached.request(value, payload, flags)
        self._verb = request.verb
        self._busy = True
        self._next_seq = 0
        self._single = self._input_done = bool(flags & frame.SINGLE)
        self.door.running[self] = None
        handle = self.service.start(request, self)
        if self._busy:
            self._handle = handle
            if self._paused:
                handle.pause()

    def _again(self, again: Again, value: bytes, payload: bytes) -> bool:
        """The verb's shortcut for a repeated call; False if it is not to be had this time."""
        self._busy = self._single = self._input_done = True
        self.door.running[self] = None
        handle = again(value, deadline_ms(payload), self)
        if handle is None:
            self._busy = False
            return False
        if self._busy:
            self._handle = handle
        return True

    def _first_open(self, flags: int, payload: bytes) -> Request:
        hello = self._hello
        if hello is None:
            raise WireError("protocol_violation", "OPEN came before HELLO")
        message = Open.decode(payload, flags)
        check_names("input", [*(arg.name for arg in message.args), *(c.name for c in message.columns)])
        check_names("output", [column.name for column in message.outputs])
        caller = Caller(
            role=message.role if self.trusted and message.role else self._user_role,
            uid=self.uid,
            pid=hello.pid,
            database=hello.database,
            application_name=hello.application_name,
            client=hello.client,
            grant=parse_grant(message.grant) if self.trusted else {},
        )
        self._cached = cached = remember(message, payload, self.service.varying(message.verb), caller)
        deadline = time.monotonic() + message.deadline_ms / 1000 if message.deadline_ms else 0.0
        shape = cached.shape if cached is not None else None
        return Request(
            message.verb, message.args, message.columns, message.outputs, flags, deadline, caller, shape
        )

    def _batch(self, flags: int, seq: int, payload: bytes) -> None:
        handle = self._running()
        if self._input_done:
            raise WireError("protocol_violation", f"batch {seq} came after the end of the input")
        if seq != self._next_seq:
            raise WireError("protocol_violation", f"batch {seq} came where {self._next_seq} was due")
        self._next_seq += 1
        self._unanswered[seq] = len(payload)
        self._unanswered_bytes += len(payload)
        window = self.service.config.limits.window
        if len(self._unanswered) > window:
            raise WireError("protocol_violation", f"more than {window} batches are unanswered")
        self._balance_reading()
        if handle.takes_raw:
            handle.feed_raw(seq, payload)
        else:
            handle.feed(seq, ColumnBlock.decode(payload))
        if flags & frame.LAST and self._busy:
            self._finish()

    def _finish(self) -> None:
        handle = self._running()
        if not self._input_done:
            self._input_done = True
            handle.finish()

    def _part(self, flags: int, seq: int, payload: bytes) -> None:
        part = Part.decode(payload)
        last, missing = bool(flags & frame.LAST), bool(flags & frame.MISSING)
        self._running().part(seq, part.hash, part.data, last, missing)

    def _running(self) -> Handle:
        if self._handle is None:
            raise WireError("protocol_violation", "no request is open")
        return self._handle

    def _balance_reading(self) -> None:
        """Credits bound the number of batches; this bounds their bytes."""
        transport = self._transport
        if transport is None or self.closing_since:
            return
        wanted = self._unanswered_bytes < _MAX_UNANSWERED_BYTES
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()

    # -- Sink ---------------------------------------------------------------------------------

    def rows(self, seq: int, block: ColumnBlock, last: bool) -> None:
        if last and self._unanswered:
            self._answered(seq)
        payload = block.encode()
        if len(payload) > MAX_FRAME:
            self._refuse(
                WireError("too_large", f"a block of {block.nrows} rows exceeds a frame of {MAX_FRAME} bytes")
            )
        elif last and self._single:
            # END follows at once: one write carries both.
            self._held = HEADER.pack(len(payload), _ROWS, last, 0, seq) + payload
        else:
            self._write(HEADER.pack(len(payload), _ROWS, last, 0, seq) + payload)

    def ack(self, seq: int) -> None:
        self._answered(seq)
        self._write(frame.pack_frame(FrameType.ACK, seq=seq))

    def notice(self, notice: Notice) -> None:
        self._write(notice.encode())

    def need(self, hash: str) -> None:
        self._write(Need(hash).encode())

    def end(self, end: End) -> None:
        held, self._held = self._held, b""
        self._write(held + end.encode())
        self._idle()

    def fail(self, error: WireError) -> None:
        self._refuse(error)

    # -- inside -------------------------------------------------------------------------------

    def heartbeat(self) -> None:
        """Every two seconds while a request runs."""
        if self._handle is not None and not self._paused:
            self._write(Heartbeat(*self._handle.progress()).encode())

    def await_hello(self, before: float) -> None:
        """Whoever connected before that time and sent no HELLO is not waited for."""
        if self._hello is None and self.since < before and not self.closing_since:
            self._refuse(WireError("protocol_violation", "no HELLO came", hint="a host sends it at once"))

    def leave(self) -> None:
        """Close our end of an idle connection once everything is written."""
        if not self.closing_since:
            self._close()

    @property
    def unwritten(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def shut(self) -> None:
        """Close at once; a running request counts as cancelled."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_idle(self) -> bool:
        return not self._busy

    def _answered(self, seq: int) -> None:
        self._unanswered_bytes -= self._unanswered.pop(seq, 0)
        if not self._reading:
            self._balance_reading()

    def _idle(self) -> None:
        self._busy = False
        self._handle = None
        self.door.running.pop(self, None)
        if self._unanswered:
            self._unanswered.clear()
            self._unanswered_bytes = 0
            self._balance_reading()
        if self.door.draining:
            self._close()

    def _refuse(self, error: WireError) -> None:
        """ERROR, and then our end closes; the client's bytes are read away until it closes too."""
        if self.closing_since:
            return
        handle, self._handle = self._handle, None
        verb, self._verb = self._verb, ""
        self.door.running.pop(self, None)
        self._busy = False
        self._held = b""
        if handle is not None:
            handle.cancel()
        self._write(Failure.of(error, verb).encode())
        self._close()

    def _close(self) -> None:
        self.closing_since = time.monotonic()
        self._forget_partial()
        transport = self._transport
        if transport is None:
            return
        if not self._reading:
            self._reading = True
            transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def _forget_partial(self) -> None:
        if self.partial:
            self.door.hold(self, 0)
            self._reader = FrameReader()

    def _gone(self) -> None:
        self._transport = None
        self._forget_partial()
        self.door.running.pop(self, None)
        self._busy = False
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
