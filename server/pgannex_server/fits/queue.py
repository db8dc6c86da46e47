"""Whose turn it is: the fits that run, those that wait, and the template they come from.

As many fits run as the configuration says; the others wait, each role in its turn (`turns`),
and one too many is refused, though not the only one of a role. A place is free again when the
process is gone, not before, so that what a fit took is back when the next one starts. The
template is started with the server or at the first fit, and again when it has died, with growing
pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
from collections.abc import Callable
from hmac import HMAC
from pathlib import Path

from pgannex_wire import WireError

from pgannex_server.config import Config, TabularConfig
from pgannex_server.fits.fit import Fit, FitOwner
from pgannex_server.fits.spool import Spool
from pgannex_server.fits.template import Template
from pgannex_server.fits.turns import in_turn
from pgannex_server.tabular.fit_frames import Order

log = logging.getLogger("pgannex.fits")

_WATCH_S = 0.2
_PRELOAD_S = 5.0
_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_CGROUP = Path("/sys/fs/cgroup/memory.max")


class Fits:
    """All fits of the server. `new_mac` gives the signature of an artifact, to be fed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: Config, new_mac: Callable[[], HMAC]) -> None:
        self.loop = loop
        self.config = config.tabular
        self.running: dict[int, Fit] = {}
        self.waiting: list[Fit] = []
        self._served: dict[str, int] = {}
        self._new_mac = new_mac
        self._by_pid: dict[int, Fit] = {}
        self._template: Template | None = None
        self._pause_s = _PAUSE_S
        self._retry: asyncio.TimerHandle | None = None
        self._pausing = False
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False
        self._last = 0

    def open(self) -> None:
        """Start the template soon, if it is to be there before the first fit.

        Not at once: models that are loaded at the start need the processors more.
        """
        if self.config.preload and self.is_installed:
            self._retry = self.loop.call_later(_PRELOAD_S, self._retried)

    def reload(self, config: Config) -> None:
        """Other limits, from the next fit on."""
        self.config = config.tabular
        self._next()

    @property
    def is_installed(self) -> bool:
        """Whether the libraries are there; of another interpreter it is assumed."""
        return bool(self.config.interpreter) or importlib.util.find_spec("sklearn") is not None

    def start(self, spec: str, owner: FitOwner, file: int, role: str = "", spool: Spool | None = None) -> Fit:
        """A fit of `spec` into `file`, which is the fit's from now on. Raises WireError if refused.

        `spool` takes its rows while it waits; without one its caller waits with them.
        """
        try:
            self._admit(role)
        except WireError:
            os.close(file)
            raise
        self._last += 1
        order = Order(spec, threads_of(self.config), memory_of(self.config), self.config.fit_time_s)
        fit = Fit(self.loop, self._last, order, owner, file, role, spool)
        fit.enters_queue(self._left, lambda _fit: self._next())
        self.waiting.append(fit)
        self._next()
        return fit

    def ahead(self, fit: Fit) -> int:
        """How many wait before it."""
        with contextlib.suppress(ValueError):
            return self._order(self.waiting).index(fit) + 1
        return 0

    async def close(self) -> None:
        """Kill what runs."""
        self._closed = True
        for timer in (self._retry, self._watch):
            if timer is not None:
                timer.cancel()
        for fit in [*self.waiting, *self.running.values()]:
            fit.cancel()
        if self._template is not None:
            self._template.kill("the server stops")
        while self._template is not None:  # noqa: ASYNC110 - its end is a callback
            await asyncio.sleep(0.01)

    # -- the queue ------------------------------------------------------------------------------

    def _admit(self, role: str) -> None:
        if not self.is_installed:
            raise WireError(
                "engine_missing",
                "the libraries that train models of tables are not installed",
                hint="pip install 'pgannex[tabular]' for the server's python",
            )
        self._new_mac()
        waiting, most = len(self.waiting), self.config.fit_queue
        if len(self.running) < places_of(self.config) or waiting < most:
            return
        if waiting >= 2 * most or any(fit.role == role for fit in self.waiting):
            raise WireError(
                "overloaded",
                f"{len(self.running)} fits run and {len(self.waiting)} wait",
                hint="try again later, or see [tabular] fits and fit_queue in pgannex.toml",
            )

    def _next(self) -> None:
        """Launch whoever's turn it is."""
        while len(self.running) < places_of(self.config) and not self._closed:
            ready = [fit for fit in self.waiting if fit.is_ready]
            if not ready:
                break
            template = self._template or self._start_template()
            if template is None:
                return
            fit = self._order(ready)[0]
            place = self.waiting.index(fit)
            del self.waiting[place]
            self.running[fit.number] = fit
            try:
                fit.launch(template, self._exited, self._over, self._new_mac())
            except OSError as err:
                log.error("fit %d cannot be started: %s", fit.number, err)
                del self.running[fit.number]
                self.waiting.insert(place, fit)
                template.kill(f"it cannot be asked for a fit: {err}")
                return
            self._serve(fit.role)
        if self.running and self._watch is None:
            self._watch = self.loop.call_later(_WATCH_S, self._look)

    def _order(self, fits: list[Fit]) -> list[Fit]:
        """Some that wait, in the order in which their turns come."""
        running = [fit.role for fit in self.running.values()]
        return [fits[at] for at in in_turn([fit.role for fit in fits], running, self._served)]

    def _serve(self, role: str) -> None:
        """Remember whose turn it was, as long as the role has fits."""
        here = {fit.role for fit in [*self.waiting, *self.running.values()]}
        now = max(self._served.values(), default=0) + 1
        self._served = {name: at for name, at in self._served.items() if name in here} | {role: now}

    def _left(self, fit: Fit) -> None:
        """It ended before its turn came."""
        with contextlib.suppress(ValueError):
            self.waiting.remove(fit)

    def _exited(self, fit: Fit) -> None:
        """Its process has ended: ask how."""
        if self._template is not None:
            self._template.reap(fit.pid)

    def _over(self, fit: Fit) -> None:
        self.running.pop(fit.number, None)
        self._by_pid.pop(fit.pid, None)
        self._next()

    def _look(self) -> None:
        """The watchdog of memory."""
        self._watch = None
        for fit in list(self.running.values()):
            fit.check_memory()
        if self.running and not self._closed:
            self._watch = self.loop.call_later(_WATCH_S, self._look)

    # -- the template -----------------------------------------------------------------------------

    def _start_template(self) -> Template | None:
        """None while it pauses after its death."""
        if self._pausing or self._closed:
            return None
        if self._retry is not None:
            self._retry.cancel()
        try:
            self._template = Template(self.loop, self, self.config.interpreter)
        except OSError as err:
            log.error("the template of the fits does not start: %s", err)
            self._start_later()
        return self._template

    def _start_later(self) -> None:
        self._pausing = True
        self._retry = self.loop.call_later(self._pause_s, self._retried)
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)

    def _retried(self) -> None:
        self._retry, self._pausing = None, False
        if self._template is None:
            self._start_template()
        self._next()

    def forked(self, number: int, pid: int) -> None:
        fit = self.running[number]
        self._by_pid[pid] = fit
        fit.forked(pid)

    def refused(self, number: int, message: str) -> None:
        self.running[number].buried(
            None,
            WireError(
                "worker_died", f"the fit could not be started: {message}", hint="try again in a moment"
            ),
        )

    def ended(self, pid: int, status: int) -> None:
        fit = self._by_pid.pop(pid, None)
        if fit is not None:
            fit.buried(status)

    def template_ready(self) -> None:
        self._pause_s = _PAUSE_S

    def template_gone(self, error: WireError) -> None:
        self._template = None
        if not self._closed:
            self._start_later()
        lost = WireError(
            "worker_died",
            "the fit ended with the process that it was forked from",
            detail=f"{error.message}: {error.detail}",
            hint="try again: that process restarts by itself, and the server's log has more",
        )
        for fit in list(self.running.values()):
            fit.buried(None, lost)


def places_of(config: TabularConfig) -> int:
    """Fits that may run at the same time."""
    return config.fits or max(1, processors() // 2)


def threads_of(config: TabularConfig) -> int:
    """Threads of one fit."""
    return config.fit_threads or max(1, processors() // places_of(config))


def memory_of(config: TabularConfig) -> int:
    """Bytes that one fit may take."""
    return config.fit_memory or machine_memory() // 2


def processors() -> int:
    return len(os.sched_getaffinity(0))


def machine_memory() -> int:
    """Bytes of memory that this server may use at most."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):
        return min(total, int(_CGROUP.read_text()))
    return total
