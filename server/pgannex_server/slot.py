"""One instance of a model: the worker behind it, restarts with back-off, hang detection.

A `Slot` stays while workers come and go. The queue sees it as something that computes one
batch at a time (batching.Instance), the worker as the one who is told (handle.Owner).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from pgannex_wire import WireError

from pgannex_server.batch import Sent
from pgannex_server.engines.base import ModelInfo, ModelSpec
from pgannex_server.workers.handle import Worker
from pgannex_server.workers.pipe import Result

if TYPE_CHECKING:
    from pgannex_server.registry import Model, Registry

log = logging.getLogger("pgannex.slot")

_STOP_GRACE_S = 10.0
_RETRY_S = (2.0, 5.0, 15.0, 60.0)
"""An instance that could not load its model may be tried again after this long."""
_QUICK_NS = 50_000
_LINGER_S = 0.0001
"""An engine that took less than _QUICK_NS is waited for up to _LINGER_S before the loop
sleeps: going to sleep and being woken costs more than such an engine's answer."""
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0)


class Slot:
    """`state` is unloaded, loading, ready, stopping or restarting."""

    def __init__(self, model: Model, index: int, registry: Registry) -> None:
        self.model = model
        self.index = index
        self.state = "unloaded"
        self.worker: Worker | None = None
        self.info: ModelInfo | None = None
        self.restarts = 0
        self.texts = 0
        self.batches = 0
        self.tokens = 0
        self.compute_seconds = 0.0
        self.loaded_at = 0.0
        self.batch: Sent | None = None
        self._registry = registry
        self._since = 0.0
        self._crashes = 0
        self._quick = False
        self._refusals = 0
        self._not_before = 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._refusal: WireError | None = None

    @property
    def is_up(self) -> bool:
        """Whether it has a worker or will have one without being asked."""
        return self.state != "unloaded"

    @property
    def memory(self) -> int:
        return self.info.memory_bytes if self.info is not None else 0

    @property
    def device(self) -> str:
        return self.info.device if self.info is not None else ""

    @property
    def pid(self) -> int:
        return self.worker.pid if self.worker is not None else 0

    def may_start(self) -> bool:
        """Whether enough time has passed since it could not load the model."""
        return time.monotonic() >= self._not_before

    def forgive(self) -> None:
        """Somebody asks for it explicitly: try again at once."""
        self._not_before = 0.0

    # -- life -------------------------------------------------------------------------------

    def start(self, spec: ModelSpec, interpreter: str) -> None:
        """Start a worker and let it load the model."""
        self._retry = None
        if self._registry.closing:
            self.state = "unloaded"
            return
        self.state = "loading"
        self._refusal = None
        self._since = time.monotonic()
        try:
            self.worker = Worker(self._registry.loop, self, spec, interpreter)
        except OSError as err:
            self.state = "unloaded"
            error = WireError("load_failed", f'cannot start a worker for model "{self.model.name}": {err}')
            self._registry.loop.call_soon(self.model.on_load_failed, error)

    def unload(self) -> None:
        """Stop the worker after its batch, if it has one."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            self.state = "unloaded"
        if self.worker is not None and self.state in ("loading", "ready"):
            self.model.queue.gone(self)
            self.state = "stopping"
            self._since = time.monotonic()
            self.worker.stop()

    def kill(self, reason: str) -> None:
        if self.worker is not None:
            self.worker.kill(reason)

    def check(self, now: float, hang_s: float, start_s: float) -> None:
        """Kill what takes too long."""
        if self.batch is not None and now - self.batch.sent > hang_s:
            self.kill(f"one batch took longer than {hang_s:g} s")
        elif self.state == "loading" and now - self._since > start_s:
            self.kill(f"loading took longer than {start_s:g} s")
        elif self.state == "stopping" and self.batch is None and now - self._since > _STOP_GRACE_S:
            self.kill("it did not stop when told to")

    # -- batching.Instance --------------------------------------------------------------------

    def compute(self, batch: Sent) -> None:
        self.batch = batch
        assert self.worker is not None
        self.worker.send(batch.data)

    def linger(self) -> None:
        if self._quick and self.worker is not None:
            self.worker.linger(_LINGER_S)

    # -- handle.Owner -------------------------------------------------------------------------

    def ready(self, worker: Worker, info: ModelInfo) -> None:
        if self.state != "loading":
            return
        self.info = info
        if not self._registry.fits(self.model, info):
            budget = self._registry.config.limits.memory[info.device]
            self.refused(
                worker,
                WireError(
                    "out_of_memory",
                    f'model "{self.model.name}" needs {info.memory_bytes >> 20} MiB on {info.device}, '
                    f"more than is left of {budget >> 20} MiB",
                    hint="unload another model, or raise [limits] memory in pgannex.toml",
                ),
            )
            self.unload()
            return
        self.state = "ready"
        self._refusals = 0
        self.loaded_at = time.time()
        self.model.on_ready(info)
        self.model.queue.free(self)

    def refused(self, worker: Worker, error: WireError) -> None:
        self._refusal = error
        self._not_before = time.monotonic() + _RETRY_S[min(self._refusals, len(_RETRY_S) - 1)]
        self._refusals += 1

    def computed(self, worker: Worker, result: Result) -> None:
        batch, self.batch = self.batch, None
        if batch is None:
            return
        self._crashes = 0
        self._quick = result.compute_ns < _QUICK_NS
        self.model.queue.done(self, batch, result, self.state == "ready")
        self._count(result)

    def failed(self, worker: Worker, error: WireError) -> None:
        batch, self.batch = self.batch, None
        if batch is None:
            return
        batch.lose(error)
        if self.state == "ready":
            self.model.queue.free(self)

    def ended(self, worker: Worker, error: WireError) -> None:
        was, batch = self.state, self.batch
        self.worker = self.info = self.batch = None
        self.model.queue.gone(self)
        if was == "stopping" or self._registry.closing:
            self.state = "unloaded"
        elif was == "loading":
            self.state = "unloaded"
            if self._refusal is None:
                self.refused(worker, _died_loading(error))
        else:
            self._restart_later(error)
        if batch is not None:
            batch.lose(error)
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            self.model.on_load_failed(refusal)
        elif self.state == "unloaded" and not self._registry.closing:
            self.model.on_unloaded()

    # -- inside -------------------------------------------------------------------------------

    def _restart_later(self, error: WireError) -> None:
        delay = _BACKOFF_S[min(self._crashes, len(_BACKOFF_S) - 1)]
        self._crashes += 1
        self.restarts += 1
        self.model.counters.restarts += 1
        self.model.last_error = f"{error.message}: {error.detail}"
        self.state = "restarting"
        self._retry = self._registry.loop.call_later(delay, self._restart)

    def _restart(self) -> None:
        self.state = "unloaded"
        self.model.start_again(self)

    def _count(self, result: Result) -> None:
        n, tokens, seconds = len(result.tokens), sum(result.tokens), result.compute_ns / 1e9
        self.texts += n
        self.batches += 1
        self.tokens += tokens
        self.compute_seconds += seconds
        counters = self.model.counters
        counters.texts += n
        counters.batches += 1
        counters.tokens += tokens
        counters.compute_seconds += seconds


def _died_loading(error: WireError) -> WireError:
    code = "out_of_memory" if error.code == "out_of_memory" else "load_failed"
    return WireError(code, f"{error.message} while it was loading", detail=error.detail, hint=error.hint)
