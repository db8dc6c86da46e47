"""One fit, from its place in the queue to its signed artifact or the reason why not.

It owns the process that the template forked for it, the socket to it and the file that the
artifact is written to, and tells its owner what happens. To cancel is to kill: there is
nothing in the process that must be saved. Whose turn it is, `queue` decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pgannex_wire import WireError

from pgannex_server.fits.artifact import Artifact, seal
from pgannex_server.fits.channel import Channel, Output
from pgannex_server.fits.spool import Spool
from pgannex_server.fits.template import Template
from pgannex_server.fits.weight import at_most, exactly, family
from pgannex_server.tabular import fit_frames as frames
from pgannex_server.tabular.fit_frames import Order
from pgannex_server.tabular.fit_process import is_memory, too_large
from pgannex_server.workers.link import obituary, oom_kills, resident

log = logging.getLogger("pgannex.fits")

_LINGER_S = 5.0
_TITLE = "the process of the fit"


class FitOwner(Protocol):
    """Who is told. Nothing comes after `finished`, `failed` or `Fit.cancel`."""

    def started(self) -> None:
        """Its turn has come."""

    def taken(self, seq: int) -> None:
        """The batch is with the fit, or in its file: another may come."""

    def info(self, text: str) -> None:
        """A line for the user."""

    def finished(self, artifact: Artifact) -> None:
        """Done; the artifact's file is the owner's to close from now on."""

    def failed(self, error: WireError) -> None:
        """It ended without a result."""


class Fit:
    """See the module. `state` is queued, receiving rows, fitting, signing or ended."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        number: int,
        order: Order,
        owner: FitOwner,
        file: int,
        role: str = "",
        spool: Spool | None = None,
    ) -> None:
        self.number = number
        self.order = order
        self.owner = owner
        self.role = role
        self.state = "queued"
        self.fraction = 0.0
        self.doing = ""
        self.pid = 0
        self.queued_at = time.monotonic()
        self.started_at = 0.0
        self._loop = loop
        self._file = file
        self._spool = spool
        if spool is not None:
            spool.owner = self
        self._complete = False
        self._late: asyncio.TimerHandle | None = None
        self._is_weighed = False
        self._channel: Channel | None = None
        self._output: Output | None = None
        self._pidfd = -1
        self._before: list[tuple[int, bytes, int]] = []
        self._result: Mapping[str, Any] | None = None
        self._error: WireError | None = None
        self._cancelled = False
        self._base_memory = 0
        self._oom_kills = 0
        self._left: Callable[[Fit], None] = _nobody
        self._ready: Callable[[Fit], None] = _nobody
        self._ended: Callable[[Fit], None] = _nobody
        self._buried: Callable[[Fit], None] = _nobody

    # -- what the owner does ----------------------------------------------------------------

    def write(self, seq: int, payload: bytes) -> None:
        """A batch of rows, as it came. While the fit is queued it waits here, or in the spool."""
        if self._channel is None and self._spool is not None and self.state == "queued":
            self._spool.write(seq, payload)
        else:
            self._send(frames.BATCH, payload, seq)

    def finish(self) -> None:
        """The rows are complete."""
        self._complete = True
        self._send(frames.DONE, b"", -1)
        if self.state == "receiving rows":
            self.state = "fitting"
        elif self.state == "queued" and self.is_ready:
            self._ready(self)

    @property
    def is_ready(self) -> bool:
        """Whether its turn may come: rows that go into a file must all be there."""
        spool = self._spool
        return spool is None or not spool.is_used or (self._complete and spool.is_flushed)

    def cancel(self) -> None:
        """Nobody wants it any more: kill it now. Its owner hears nothing of it."""
        if self._cancelled or self.state == "ended":
            return
        self._cancelled = True
        self._before.clear()
        if self._channel is not None:
            self._channel.close()
        if self.state == "queued":
            self._leave()
            self._left(self)
        else:
            self._kill()

    # -- what the queue does ------------------------------------------------------------------

    def enters_queue(self, left: Callable[[Fit], None], ready: Callable[[Fit], None]) -> None:
        """Who is told when it ends before its turn, and when its rows are complete."""
        self._left, self._ready = left, ready

    def launch(
        self, template: Template, ended: Callable[[Fit], None], buried: Callable[[Fit], None], mac: hmac.HMAC
    ) -> None:
        """Its turn has come. `ended`: the process is gone, take its status; `buried`: it is over.

        Raises OSError where the template cannot be asked; then nothing has happened.
        """
        self._ended, self._buried, self._mac = ended, buried, mac
        ours, reading = self._ask(template)
        self._oom_kills = oom_kills()
        self._output = Output(self._loop, reading)
        self._channel = Channel(self._loop, ours, self)
        self.state = "receiving rows"
        self.started_at = time.monotonic()
        self._drop_spool()
        self._channel.push(frames.SPEC, self.order.pack())
        waiting, self._before = self._before, []
        for type_, payload, seq in waiting:
            self._send(type_, payload, seq)
            if type_ == frames.DONE:
                self.state = "fitting"
        self.owner.started()

    def forked(self, pid: int) -> None:
        """The process is there."""
        self.pid = pid
        if self.order.time_s:
            self._late = self._loop.call_later(self.order.time_s, self._too_late)
        self._pidfd = os.pidfd_open(pid)
        self._base_memory = resident(pid)
        self._loop.add_reader(self._pidfd, self._on_exit)
        if self._cancelled:
            self._kill()

    def check_memory(self) -> None:
        """Kill it where it is larger than it may be: not everything counts in the kernel's limit."""
        limit = self.order.memory
        if not limit or not self.pid or self._is_weighed or self._error is not None:
            return
        pids = family(self.pid)
        if at_most(pids, self._base_memory) <= limit:
            return
        if len(pids) == 1:
            self._end(too_large(limit, detail="its resident memory passed the limit"))
            return
        self._is_weighed = True
        weighed = self._loop.run_in_executor(None, exactly, pids)
        weighed.add_done_callback(lambda future: self._weighed(future.result(), len(pids)))

    def buried(self, status: int | None, error: WireError | None = None) -> None:
        """The process is gone and its status is known; tell the owner how it ended."""
        if self.state == "ended":
            return
        self._hang_up()
        if self._cancelled:
            self._leave()
        elif self._result is not None:
            self._sign(self._result)
        else:
            found = self._error or error or self._obituary(status)
            self._leave()
            log.info("fit %d failed: %s", self.number, found.message)
            self.owner.failed(found)
        self._buried(self)

    # -- the channel's calls ------------------------------------------------------------------

    def received(self, type_: int, payload: bytes) -> None:
        if self._cancelled:
            return
        if type_ == frames.INFO:
            self.owner.info(payload.decode(errors="replace"))
        elif type_ == frames.PROGRESS:
            self.fraction, self.doing = frames.unpack_progress(payload)
        elif type_ == frames.RESULT:
            self._result = json.loads(payload)
            self._loop.call_later(_LINGER_S, self._kill)
        elif type_ == frames.FAILED:
            self._error = self._error or frames.unpack_failed(payload)
            self._loop.call_later(_LINGER_S, self._kill)

    def taken(self, seq: int) -> None:
        if not self._cancelled:
            self.owner.taken(seq)

    # -- the spool's calls --------------------------------------------------------------------

    def spooled(self, seq: int) -> None:
        if self._cancelled or self.state == "ended":
            return
        self.owner.taken(seq)
        if self.state == "queued" and self._complete and self.is_ready:
            self._ready(self)

    def spool_failed(self, error: WireError) -> None:
        if not self._cancelled and self.state == "queued":
            self._leave()
            self._left(self)
            self.owner.failed(error)

    # -- inside -------------------------------------------------------------------------------

    def _weighed(self, size: int, processes: int) -> None:
        self._is_weighed = False
        if size > self.order.memory and self.state not in ("signing", "ended"):
            self._end(
                too_large(self.order.memory, detail=f"its {processes} processes passed the limit together")
            )

    def _too_late(self) -> None:
        self._end(
            WireError(
                "deadline",
                f"the fit was not done in {self.order.time_s:g} s",
                hint="train on fewer rows or with smaller hyperparams, "
                "or raise [tabular] fit_time_s in pgannex.toml",
            )
        )

    def _end(self, error: WireError) -> None:
        """Kill it for a reason of the server's."""
        if self._error is None and self._result is None:
            self._error = error
            self._kill()

    def _drop_spool(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close()

    def _ask(self, template: Template) -> tuple[socket.socket, int]:
        """Our ends of the socket and of the output of a process that will be forked."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                reading, writing = os.pipe()
            except OSError:
                ours.close()
                raise
            try:
                fds = [theirs.fileno(), writing, self._file]
                if self._spool is not None and self._spool.is_used:
                    fds.append(self._spool.fd)
                template.fork(self.number, fds)
            except OSError:
                ours.close()
                os.close(reading)
                raise
            finally:
                os.close(writing)
        return ours, reading

    def _send(self, type_: int, payload: bytes, seq: int) -> None:
        if self._channel is not None:
            self._channel.push(type_, payload, seq)
        elif not self._cancelled:
            self._before.append((type_, payload, seq))

    def _kill(self) -> None:
        """The process, and whatever it started."""
        if self._pidfd < 0:
            return
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _on_exit(self) -> None:
        # The pid is still its own: the template has not reaped it.
        self._loop.remove_reader(self._pidfd)
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._channel is not None:
            self._channel.drain()
        self._ended(self)

    def _hang_up(self) -> None:
        if self._late is not None:
            self._late.cancel()
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._channel is not None:
            self._channel.drain()
            self._channel.close()
        if self._output is not None:
            self._output.read()
            if self._output.tail:
                log.info("fit %d printed: %s", self.number, self._output.tail)
            self._output.close()

    def _leave(self) -> None:
        """Over without an artifact."""
        self.state = "ended"
        self._before.clear()
        self._drop_spool()
        self._close_file()

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _sign(self, result: Mapping[str, Any]) -> None:
        self.state = "signing"
        done = self._loop.run_in_executor(None, seal, self._file, self._mac)
        done.add_done_callback(lambda future: self._signed(future, result))

    def _signed(self, future: asyncio.Future[tuple[int, str]], result: Mapping[str, Any]) -> None:
        if self._cancelled:
            self._leave()
            return
        self.state = "ended"
        try:
            size, digest = future.result()
        except OSError as err:
            self._close_file()
            self.owner.failed(WireError("internal", f"the artifact could not be signed: {err.strerror}"))
            return
        artifact = Artifact(self._file, size, digest)
        artifact.result = {**result, "bytes": size, "hash": digest, "parts": artifact.parts}
        self._file = -1
        self.owner.finished(artifact)

    def _obituary(self, status: int | None) -> WireError:
        tail = self._output.tail if self._output is not None else ""
        if tail and is_memory(MemoryError() if _starved(tail) else RuntimeError(tail[-500:])):
            return too_large(self.order.memory, detail=tail.splitlines()[-1][:500])
        if status is None:
            return WireError("worker_died", f"{_TITLE} ended", detail=f"pid {self.pid}", hint="try again")
        found = obituary(_TITLE, self.pid, status, "", self._oom_kills, _MEMORY_HINT)
        detail = f"{found.detail}: {tail.splitlines()[-1][:500]}" if tail else found.detail
        hint = found.hint if status == -signal.SIGKILL else "the server's log has what it printed"
        return WireError(found.code, found.message, detail=detail, hint=hint)


_MEMORY_HINT = "if it was killed for memory: train on less, or set [tabular] fit_memory in pgannex.toml"


def _starved(tail: str) -> bool:
    """What a library prints that cannot have another thread, for want of memory for its stack."""
    return "Thread creation failed" in tail


def _nobody(_: Fit) -> None:
    """Before it was launched nobody waits for its end."""
