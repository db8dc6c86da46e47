"""A process of ours as the server sees it: started, spoken to, watched, buried.

`Stream` is a non-blocking socket with whole frames on it, `Link` a Stream to a process that
it started. The model worker (handle.py), the predictor of tables and the template that fits
are forked from are Links; they differ in what the frames say. Everything runs on the event
loop's thread; a process's end is seen through its pidfd, so no thread waits for it.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import pgannex_wire
from pgannex_wire import WireError

from pgannex_server.workers.framing import HEADER_SIZE, header_of

log = logging.getLogger("pgannex.workers")

_RECV = 1 << 18
_VMSTAT = Path("/proc/vmstat")
_OURS = (pgannex_wire, sys.modules["pgannex_server"])
HINT = "it restarts by itself: try again; the server's log has more"


class Stream(abc.ABC):
    """Frames both ways over a socket that is ours from now on. Override `received`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock: socket.socket | None = sock
        self._fd = sock.fileno()
        self._out: deque[memoryview] = deque()
        self._head = b""
        self._body: bytearray | None = None
        self._body_at = 0
        loop.add_reader(self._fd, self._on_readable)

    @abc.abstractmethod
    def received(self, type_: int, payload: bytes) -> None:
        """A frame came."""

    def send(self, data: bytes) -> None:
        """Write a frame now; what the socket does not take goes when it can."""
        sock = self._sock
        if sock is None:
            return
        if self._out:
            self._out.append(memoryview(data))
            return
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the peer is gone: its pidfd tells
        if sent < len(data):
            self._out.append(memoryview(data)[sent:])
            self._loop.add_writer(self._fd, self._on_writable)

    @property
    def unsent(self) -> int:
        """Bytes that the socket has not taken yet."""
        return sum(len(piece) for piece in self._out)

    def linger(self, seconds: float) -> None:
        """Wait up to `seconds` for a frame, yielding the processor, then leave it to the loop."""
        sock = self._sock
        if sock is None or self._out or self._body is not None or self._head:
            return
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                data = sock.recv(_RECV)
            except BlockingIOError:
                os.sched_yield()
                continue
            except OSError:
                return
            if data:
                self._take(data)
            return

    def drain(self) -> None:
        """What was written before the peer's end still counts."""
        sock = self._sock
        if sock is None:
            return
        with contextlib.suppress(OSError):
            while self._sock is not None:
                if self._body is not None:
                    if not self._fill(sock, self._body):
                        return
                    continue
                data = sock.recv(_RECV)
                if not data:
                    return
                self._take(self._head + data if self._head else data)

    def close(self) -> None:
        """Close our end; nothing is received any more."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            sock.close()

    def _on_writable(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            while self._out:
                piece = self._out[0]
                sent = sock.send(piece)
                if sent < len(piece):
                    self._out[0] = piece[sent:]
                    return
                self._out.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._out.clear()
        self._loop.remove_writer(self._fd)

    def _on_readable(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            if self._body is None:
                data = sock.recv(_RECV)
                if data:
                    self._take(self._head + data if self._head else data)
                    return
            elif self._fill(sock, self._body):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._loop.remove_reader(self._fd)

    def _take(self, data: bytes) -> None:
        """The start of a frame, perhaps all of it and more."""
        while len(data) >= HEADER_SIZE:
            type_, length = header_of(data)
            have = len(data) - HEADER_SIZE
            if have < length:
                self._head = b""
                self._type = type_
                self._body = bytearray(length)
                self._body[:have] = memoryview(data)[HEADER_SIZE:]
                self._body_at = have
                return
            stop = HEADER_SIZE + length
            payload, data = data[HEADER_SIZE:stop], data[stop:]
            self._head = data
            self.received(type_, payload)
            if self._sock is None:
                return
        self._head = data

    def _fill(self, sock: socket.socket, body: bytearray) -> bool:
        """Read more of a large frame; False at the peer's end."""
        got = sock.recv_into(memoryview(body)[self._body_at :])
        self._body_at += got
        if self._body_at == len(body):
            self._body = None
            self.received(self._type, bytes(body))
        return got > 0


class Link(Stream):
    """A process started as `interpreter -m module`, with a socket as its standard input.

    `title` names it in errors: 'the worker of model "echo"'. Override `received` and `gone`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        module: str,
        title: str,
        interpreter: str = "",
        environment: Mapping[str, str] | None = None,
        memory_hint: str = "",
    ) -> None:
        self.title = title
        self._memory_hint = memory_hint
        self._reason = ""
        self._oom_kills = oom_kills()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _spawn(interpreter or sys.executable, module, theirs, environment or {})
        except OSError:
            ours.close()
            raise
        self.pid = self._process.pid
        super().__init__(loop, ours)
        self._pidfd = os.pidfd_open(self.pid)
        loop.add_reader(self._pidfd, self._on_exit)

    @abc.abstractmethod
    def gone(self, error: WireError) -> None:
        """The process is gone; `error` is what its requests should hear. No call comes after."""

    def kill(self, reason: str) -> None:
        """End it at once; `reason` goes into its requests' errors."""
        self._reason = reason
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)

    def memory(self) -> int:
        """Resident bytes of the process, 0 if it is gone."""
        return resident(self.pid)

    def _on_exit(self) -> None:
        status = self._process.poll()
        if status is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.drain()
        self.close()
        error = obituary(self.title, self.pid, status, self._reason, self._oom_kills, self._memory_hint)
        log.info("%s, pid %d, ended: %s", self.title, self.pid, error.detail)
        self.gone(error)


def obituary(
    title: str, pid: int, status: int, reason: str = "", kills_before: int = -1, memory_hint: str = ""
) -> WireError:
    """What the requests of a process hear that ended with `status` (as subprocess gives it).

    `reason`: why we killed it; `kills_before`: oom_kills() when it started.
    """
    if reason:
        return WireError("worker_died", f"{title} was stopped: {reason}", detail=f"pid {pid}", hint=HINT)
    if status == -signal.SIGKILL:
        likely = kills_before >= 0 and oom_kills() > kills_before
        return WireError(
            "out_of_memory" if likely else "worker_died",
            f"{title} was killed",
            detail=f"pid {pid} killed (signal 9), perhaps for memory",
            hint=memory_hint or HINT,
        )
    return WireError("worker_died", f"{title} died", detail=f"pid {pid} {_how(status)}", hint=HINT)


def resident(pid: int) -> int:
    """Resident bytes of a process, 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def oom_kills() -> int:
    """How many processes the kernel has killed for memory on this host."""
    with contextlib.suppress(OSError, ValueError):
        for line in _VMSTAT.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _how(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name} (signal {-status})"
    except ValueError:
        return f"killed by signal {-status}"


def _spawn(
    interpreter: str, module: str, sock: socket.socket, extra: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    roots = [str(Path(found.__file__).parents[1]) for found in _OURS if found.__file__]
    env = {**os.environ, **extra}
    env["PYTHONPATH"] = os.pathsep.join([*roots, *filter(None, [env.get("PYTHONPATH")])])
    env.pop("NOTIFY_SOCKET", None)
    env.pop("WATCHDOG_USEC", None)
    return subprocess.Popen(
        [interpreter, "-m", module], stdin=sock.fileno(), stdout=2, env=env, close_fds=True
    )
