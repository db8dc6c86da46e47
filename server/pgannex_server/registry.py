"""Which models there are, which are loaded, where, and what they did.

`Registry.get(name)` gives the `Model` behind a name or an alias: its configuration, its
queue (batching.py) and its worker processes (`Slot`, one per instance). Loading happens on
first use; `pin`, `unload` and the memory budget per device decide what stays. Turning a
name into a folder is not done here but by `models.resolve(config: ModelConfig, server:
ServerConfig) -> ModelSpec`, which may block (it runs in a thread) and raises WireError or
EngineError with code load_failed, engine_missing or unknown_model.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable

from pgannex_wire import WireError

from pgannex_server.admission import Admission
from pgannex_server.batching import Queue
from pgannex_server.config import Config, ModelConfig, ServerConfig
from pgannex_server.engines.base import EngineError, ModelInfo, ModelSpec
from pgannex_server.slot import Slot
from pgannex_server.telemetry import ModelCounters
from pgannex_server.workers.handle import wire_error

log = logging.getLogger("pgannex.registry")

Resolver = Callable[[ModelConfig, ServerConfig], ModelSpec]

_TICK_S = 0.25
_ROOM_S = 0.02
_RETRY_S = (2.0, 5.0, 15.0, 60.0)
"""A model that no instance could load is tried again at the next request after this long."""


def resolve_built_in(config: ModelConfig, server: ServerConfig) -> ModelSpec:
    """The spec of a model without files: what the echo engine needs."""
    return ModelSpec(
        name=config.name,
        engine=config.engine,
        source=config.source,
        revision=config.revision,
        device=config.device,
        dtype=config.dtype,
        threads=config.threads,
        trust_remote_code=config.trust_remote_code,
        options=dict(config.options),
    )


class Model:
    """One configured model: its queue, its instances, its counters.

    `info` is what the engine said when it last loaded; None before the first time.
    """

    def __init__(self, registry: Registry, config: ModelConfig) -> None:
        self.config = config
        self.name = config.name
        self.pinned = config.pin
        self.info: ModelInfo | None = None
        self.counters = ModelCounters()
        self.admission = Admission(config.name)
        self.removed = False
        self.last_used = 0.0
        self.loaded_at = 0.0
        self.last_error = ""
        self._registry = registry
        self._resolving = False
        self._spec: ModelSpec | None = None
        self._failure: WireError | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._waiters: list[Callable[[WireError | None], None]] = []
        loop = registry.loop
        batch_ms = registry.config.limits.batch_ms
        self.queue = Queue(batch_ms, time.monotonic, loop.call_soon, self._wanted, loop.call_later)
        self.slots = [Slot(self, index, registry) for index in range(config.instances)]

    # -- what the service asks ------------------------------------------------------------

    def admit(self) -> None:
        """Refuse a request that could not be served: a full queue, a model that does not load."""
        self.admission.check(self._registry.config.limits, self.queue.wait_s)
        failure = self._failure
        if failure is not None and time.monotonic() < self._retry_at:
            raise WireError(failure.code, failure.message, detail=failure.detail, hint=failure.hint)

    @property
    def state(self) -> str:
        """unloaded, loading, ready, restarting or failed: the best of the instances."""
        states = {slot.state for slot in self.slots}
        for state in ("ready", "loading", "restarting", "stopping"):
            if state in states:
                return state
        if self._resolving:
            return "loading"
        return "failed" if self._failure is not None else "unloaded"

    def load(self, done: Callable[[WireError | None], None] | None = None) -> None:
        """Load it now, whatever went wrong before; `done` hears how it went."""
        self._failure = None
        for slot in self.slots:
            slot.forgive()
        if done is not None:
            if any(slot.state == "ready" for slot in self.slots):
                done(None)
                return
            self._waiters.append(done)
        self._wanted()

    def unload(self) -> None:
        """Stop the instances after the batch that they compute."""
        for slot in self.slots:
            slot.unload()

    @property
    def is_idle(self) -> bool:
        return not self.queue.jobs and not self.queue.alone

    def memory(self) -> int:
        """Bytes that its loaded instances hold on their device."""
        return sum(slot.memory for slot in self.slots)

    # -- what its instances tell ------------------------------------------------------------

    def on_ready(self, info: ModelInfo) -> None:
        self.info = info
        self.loaded_at = time.time()
        self.last_used = time.monotonic()
        self.queue.speed.max_tokens = info.max_tokens or self.queue.speed.max_tokens
        self._failure = None
        self._failures = 0
        self._tell(None)
        log.info("model %s is ready: %s on %s", self.name, info.engine, info.device)

    def on_load_failed(self, error: WireError) -> None:
        """Loading failed: nobody waits for a model that will not come."""
        self.last_error = error.message
        log.warning("model %s did not load: %s", self.name, error.message)
        if any(slot.state in ("ready", "loading") for slot in self.slots):
            return
        self._failure = error
        self._retry_at = time.monotonic() + _RETRY_S[min(self._failures, len(_RETRY_S) - 1)]
        self._failures += 1
        self._tell(error)
        for job in list(self.queue.jobs):
            job.fail(error)

    def start_again(self, slot: Slot) -> None:
        """After a crash and its back-off."""
        if self._spec is not None:
            slot.start(self._spec, self.config.interpreter)

    def on_unloaded(self) -> None:
        if self.queue.jobs or self._waiters:
            self._wanted()

    # -- inside -----------------------------------------------------------------------------

    def _tell(self, error: WireError | None) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter(error)

    def _wanted(self) -> None:
        """There is work and no instance is free: load what is not loaded."""
        if self._resolving or all(slot.is_up for slot in self.slots):
            return
        if self._spec is None:
            self._resolving = True
            self._registry.resolve(self.config, self._resolved)
        else:
            self._start(self._spec)

    def _resolved(self, spec: ModelSpec | None, error: WireError | None) -> None:
        self._resolving = False
        if spec is None or self.removed:
            self.on_load_failed(error or WireError("unknown_model", f'model "{self.name}" was removed'))
            return
        self._spec = spec
        self._start(spec)

    def _start(self, spec: ModelSpec) -> None:
        """Start what is not up, once what has to go for it has gone."""
        self._resolving = False
        if self._registry.make_room(self, self.info):
            for slot in self.slots:
                if not slot.is_up and slot.may_start():
                    slot.start(spec, self.config.interpreter)
        else:
            self._resolving = True
            self._registry.loop.call_later(_ROOM_S, self._start, spec)


class Registry:
    """All models. `generation` grows when names may mean something else than before."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, config: Config, resolver: Resolver = resolve_built_in
    ) -> None:
        self.loop = loop
        self.config = config
        self.generation = 0
        self.models: dict[str, Model] = {}
        self.closing = False
        self._resolver = resolver
        self._names: dict[str, Model] = {}
        self._retired: list[Model] = []
        self._tick: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Take the configured models, load the pinned ones, start watching."""
        self.reload(self.config)
        self._watch()

    def reload(self, config: Config) -> None:
        """New, changed and removed models take effect; unchanged ones do not notice."""
        self.config = config
        old, self.models = self.models, {}
        for name, model_config in config.models.items():
            known = old.pop(name, None)
            if known is not None and known.config == model_config:
                self.models[name] = known
                continue
            if known is not None:
                self._retire(known)
            self.models[name] = Model(self, model_config)
        for model in old.values():
            self._retire(model)
        self._names = {a: m for m in self.models.values() for a in (m.name, *m.config.aliases)}
        self.generation += 1
        for model in self.models.values():
            if model.pinned and model.state == "unloaded":
                model.load()

    def get(self, name: str) -> Model:
        """The model called `name`. Raises unknown_model, naming those there are."""
        model = self._names.get(name)
        if model is None:
            known = ", ".join(sorted(self._names)) or "none: add one to pgannex.toml"
            raise WireError(
                "unknown_model", f'no model is called "{name}"', hint=f"available models: {known}"
            )
        return model

    def resolve(
        self, config: ModelConfig, done: Callable[[ModelSpec | None, WireError | None], None]
    ) -> None:
        """Find the model's folder, in a thread; `done` is called on the loop."""
        resolver = resolve_built_in if config.engine == "echo" else self._resolver
        if resolver is resolve_built_in:
            done(resolve_built_in(config, self.config.server), None)
            return

        def work() -> None:
            spec, error = None, None
            try:
                spec = resolver(config, self.config.server)
            except Exception as err:  # noqa: BLE001 - hub libraries raise anything; the caller hears it
                error = _as_wire(err, config.name)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(done, spec, error)

        # A daemon, so that a download which hangs does not keep the server from stopping.
        threading.Thread(target=work, name=f"resolve {config.name}", daemon=True).start()

    def used(self, device: str) -> int:
        """Bytes that loaded models hold on `device`."""
        return sum(slot.memory for model in self._all() for slot in model.slots if slot.device == device)

    def make_room(self, newcomer: Model, info: ModelInfo | None) -> bool:
        """Before a load: if it is known what the model needs, evict until that is free.

        False while evicted models have not gone yet. Where nothing more can be evicted the
        load is tried all the same: `fits` has the last word.
        """
        budget = self.config.limits.memory.get(info.device) if info is not None else None
        if budget is None or info is None or self.closing:
            return True
        needed = info.memory_bytes * sum(not slot.is_up for slot in newcomer.slots)
        self._evict(info.device, budget - needed, newcomer)
        going = any(s.state == "stopping" and s.device == info.device for m in self._all() for s in m.slots)
        return not going

    def fits(self, newcomer: Model, info: ModelInfo) -> bool:
        """After a load: evict idle models until the device's budget holds; False if it cannot."""
        budget = self.config.limits.memory.get(info.device)
        return budget is None or self._evict(info.device, budget, newcomer)

    async def close(self) -> None:
        """Stop all workers; those that do not go are killed."""
        self.closing = True
        if self._tick is not None:
            self._tick.cancel()
        for model in self._all():
            model.unload()
            for slot in model.slots:
                if slot.info is None:
                    slot.kill("the server stops")
        until = time.monotonic() + 5
        while any(slot.worker for model in self._all() for slot in model.slots):
            if time.monotonic() > until:
                for model in self._all():
                    for slot in model.slots:
                        slot.kill("the server stops")
                until = time.monotonic() + 5
            await asyncio.sleep(0.01)

    def _all(self) -> Iterable[Model]:
        yield from self.models.values()
        yield from self._retired

    def _retire(self, model: Model) -> None:
        model.removed = True
        self._retired.append(model)

    def _evict(self, device: str, budget: int, keep: Model) -> bool:
        """Unload idle, unpinned models of `device`, least recently used first."""
        used = sum(
            s.memory for m in self._all() for s in m.slots if s.device == device and s.state != "stopping"
        )
        idle = [m for m in self._all() if m is not keep and m.is_idle and not m.pinned and m.memory()]
        for model in sorted(idle, key=lambda m: m.last_used):
            if used <= budget:
                break
            staying = [slot for slot in model.slots if slot.device == device and slot.state == "ready"]
            freed = sum(slot.memory for slot in staying)
            if freed:
                log.info("model %s is unloaded to make room on %s", model.name, device)
                used -= freed
                model.unload()
        return used <= budget

    def _watch(self) -> None:
        """Hung workers, deadlines, idle models: one timer for all of them."""
        now = time.monotonic()
        limits = self.config.limits
        for model in list(self._all()):
            model.queue.expire(now)
            for slot in model.slots:
                slot.check(now, limits.hang_s, limits.start_s)
            is_spare = model.is_idle and not model.pinned and model.state == "ready"
            if limits.idle_unload_s and is_spare and now - model.last_used > limits.idle_unload_s:
                model.unload()
            if model.removed and model.is_idle:
                model.unload()
        self._retired = [m for m in self._retired if not m.is_idle or any(s.worker for s in m.slots)]
        self._tick = self.loop.call_later(_TICK_S, self._watch)


def _as_wire(error: BaseException, name: str) -> WireError:
    if isinstance(error, WireError):
        return error
    if isinstance(error, EngineError):
        return wire_error(error)
    return WireError("load_failed", f'model "{name}" cannot be found: {error}', detail=type(error).__name__)
