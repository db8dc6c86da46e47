"""One worker process as the server sees it: start, feed, watch, stop.

A `Worker` owns the process, the socket to it and the batch that it computes. It tells its
owner what happened through the `Owner` calls and decides nothing about restarts, queues or
memory: the registry does. Everything runs on the event loop's thread; a process's end is
seen through its pidfd, so no thread waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import pgannex_wire
from pgannex_wire import WireError

from pgannex_server.engines.base import EngineError, ModelInfo, ModelSpec
from pgannex_server.workers import pipe
from pgannex_server.workers.pipe import Result

log = logging.getLogger("pgannex.workers")

_RECV = 1 << 18
_VMSTAT = Path("/proc/vmstat")


class Owner(Protocol):
    """Who is told. No call comes after `ended`."""

    def ready(self, worker: Worker, info: ModelInfo) -> None:
        """The model is loaded."""

    def refused(self, worker: Worker, error: WireError) -> None:
        """The model could not be loaded; `ended` follows."""

    def computed(self, worker: Worker, result: Result) -> None:
        """The batch is done."""

    def failed(self, worker: Worker, error: WireError) -> None:
        """The batch failed as a whole; the worker lives."""

    def ended(self, worker: Worker, error: WireError) -> None:
        """The process is gone; `error` is what its requests should hear."""


class Worker:
    """Starts at construction; `send` gives it a batch's frame, `stop` and `kill` end it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, owner: Owner, spec: ModelSpec, interpreter: str
    ) -> None:
        self.spec = spec
        self.busy = False
        self.stopping = False
        self._loop = loop
        self._owner = owner
        self._reason = ""
        self._oom_kills = _oom_kills()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            self._process = _spawn(interpreter or sys.executable, theirs, spec.threads)
        self.pid = self._process.pid
        self._sock: socket.socket | None = ours
        self._fd = ours.fileno()
        self._out = bytearray()
        self._head = b""
        self._body: bytearray | None = None
        self._body_at = 0
        self._pidfd = os.pidfd_open(self.pid)
        loop.add_reader(self._fd, self._on_readable)
        loop.add_reader(self._pidfd, self._on_exit)
        self.send(pipe.pack_load(spec))

    # -- to the worker ------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Write a frame now; what the socket does not take goes when it can."""
        sock = self._sock
        if sock is None:
            return
        if self._out:
            self._out += data
            return
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the process is gone: its pidfd tells
        if sent < len(data):
            self._out += memoryview(data)[sent:]
            self._loop.add_writer(self._fd, self._on_writable)

    def linger(self, seconds: float) -> None:
        """Wait up to `seconds` for the result, yielding the processor, then leave it to the loop."""
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

    def stop(self) -> None:
        """Let it finish its batch and go."""
        self.stopping = True
        self.send(pipe.frame(pipe.STOP, b""))

    def kill(self, reason: str) -> None:
        """End it at once; `reason` goes into its requests' errors."""
        self._reason = reason
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)

    def memory(self) -> int:
        """Resident bytes of the process, 0 if it is gone."""
        return resident(self.pid)

    # -- from the worker ----------------------------------------------------------------

    def _on_writable(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            sent = sock.send(memoryview(self._out)[: 1 << 20])
        except BlockingIOError:
            return
        except OSError:
            self._loop.remove_writer(self._fd)
            return
        del self._out[:sent]
        if not self._out:
            self._loop.remove_writer(self._fd)

    def _on_readable(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            if self._body is None:
                data = sock.recv(_RECV)
                if not data:
                    self._loop.remove_reader(self._fd)
                    return
                self._take(self._head + data if self._head else data)
            else:
                self._fill(sock, self._body)
        except BlockingIOError:
            return
        except OSError:
            self._loop.remove_reader(self._fd)

    def _take(self, data: bytes) -> None:
        """The start of a frame, perhaps all of it."""
        if len(data) < pipe.HEADER_SIZE:
            self._head = data
            return
        self._head = b""
        type_, length = pipe.header_of(data)
        have = len(data) - pipe.HEADER_SIZE
        if have == length:
            self._dispatch(type_, data[pipe.HEADER_SIZE :])
        elif have > length:
            stop = pipe.HEADER_SIZE + length
            self._dispatch(type_, data[pipe.HEADER_SIZE : stop])
            self._take(data[stop:])
        else:
            self._type = type_
            self._body = bytearray(length)
            self._body[:have] = memoryview(data)[pipe.HEADER_SIZE :]
            self._body_at = have

    def _fill(self, sock: socket.socket, body: bytearray) -> None:
        self._body_at += sock.recv_into(memoryview(body)[self._body_at :])
        if self._body_at == len(body):
            self._body = None
            self._dispatch(self._type, bytes(body))

    def _dispatch(self, type_: int, payload: bytes) -> None:
        if type_ == pipe.RESULT:
            self.busy = False
            self._owner.computed(self, pipe.unpack_result(payload))
        elif type_ == pipe.BATCH_FAILED:
            self.busy = False
            self._owner.failed(self, wire_error(pipe.unpack_error(payload)))
        elif type_ == pipe.READY:
            self._owner.ready(self, pipe.unpack_ready(payload))
        elif type_ == pipe.LOAD_FAILED:
            self._owner.refused(self, wire_error(pipe.unpack_error(payload)))
            self.stop()

    # -- its end ------------------------------------------------------------------------

    def _on_exit(self) -> None:
        status = self._process.poll()
        if status is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._drain()
        self._close()
        error = self._obituary(status)
        log.info("worker %d of %s ended: %s", self.pid, self.spec.name, error.detail)
        self._owner.ended(self, error)

    def _drain(self) -> None:
        """A result that was written before the end still counts."""
        sock = self._sock
        if sock is None:
            return
        with contextlib.suppress(OSError):
            while True:
                if self._body is not None:
                    self._fill(sock, self._body)
                    continue
                data = sock.recv(_RECV)
                if not data:
                    return
                self._take(self._head + data if self._head else data)

    def _close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            sock.close()

    def _obituary(self, status: int) -> WireError:
        model = self.spec.name
        hint = "it restarts by itself: try again; the server's log has more"
        if self._reason:
            return WireError(
                "worker_died",
                f'the worker of model "{model}" was stopped: {self._reason}',
                detail=f"pid {self.pid}",
                hint=hint,
            )
        if status == -signal.SIGKILL:
            likely = _oom_kills() > self._oom_kills
            return WireError(
                "out_of_memory" if likely else "worker_died",
                f'the worker of model "{model}" was killed',
                detail=f"pid {self.pid} killed (signal 9), perhaps for memory",
                hint="the model may need more memory than there is: see pgml.stat_models",
            )
        how = _how(status)
        return WireError(
            "worker_died", f'the worker of model "{model}" died', detail=f"pid {self.pid} {how}", hint=hint
        )


def wire_error(error: EngineError) -> WireError:
    """An engine's error as a caller sees it."""
    return WireError(error.code, error.message, detail=error.detail, hint=error.hint)


def resident(pid: int) -> int:
    """Resident bytes of a process, 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _how(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name} (signal {-status})"
    except ValueError:
        return f"killed by signal {-status}"


def _oom_kills() -> int:
    """How many processes the kernel has killed for memory on this host."""
    with contextlib.suppress(OSError, ValueError):
        for line in _VMSTAT.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _spawn(interpreter: str, sock: socket.socket, threads: int) -> subprocess.Popen[bytes]:
    roots = [str(Path(module.__file__).parents[1]) for module in _OURS if module.__file__]
    env = dict(os.environ)
    env["PYTHONPATH"] = os.pathsep.join([*roots, *filter(None, [env.get("PYTHONPATH")])])
    env.pop("NOTIFY_SOCKET", None)
    env.pop("WATCHDOG_USEC", None)
    if threads:
        env["OMP_NUM_THREADS"] = str(threads)
    return subprocess.Popen(
        [interpreter, "-m", "pgannex_server.workers.process"],
        stdin=sock.fileno(),
        stdout=2,
        env=env,
        close_fds=True,
    )


_OURS = (pgannex_wire, sys.modules["pgannex_server"])
