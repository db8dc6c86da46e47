"""All predictors and the models in them: who is where, what has to go, what takes too long."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any, Protocol

from pgannex_wire import WireError

from pgannex_server.config import Config
from pgannex_server.predictors.process import Predictor, Task
from pgannex_server.predictors.served import Served
from pgannex_server.tabular import predict_frames as frames

_TICK_S = 0.25
_HASH = re.compile(r"[0-9a-f]{64}")


class Store(Protocol):
    """Where the bytes of artifacts are kept."""

    def get(self, hash: str) -> bytes | None: ...


class Predictors:
    """`generation` grows when a plan that was made before may not hold any more."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: Config, store: Store) -> None:
        self.loop = loop
        self.config = config
        self.store = store
        self.models: dict[str, Served] = {}
        self.processes = [Predictor(loop, config, index) for index in range(config.tabular.predictors)]
        self.requests: dict[Any, None] = {}
        self._tick: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Start the processes, so that the first prediction finds them warm."""
        for process in self.processes:
            process.start()
        self._watch()

    def reload(self, config: Config) -> None:
        """Limits at once, the number of processes at the next start; look again for a missing library."""
        self.config = config
        for process in self.processes:
            process.config = config
            if process.state == "missing":
                process.start()

    async def close(self) -> None:
        """Stop them; those that do not go are killed."""
        if self._tick is not None:
            self._tick.cancel()
        for process in self.processes:
            process.stop()
        for patience in (2.0, 2.0):
            until = time.monotonic() + patience
            while any(p.pid for p in self.processes) and time.monotonic() < until:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            for process in self.processes:
                process.kill("the server stops")

    # -- models ------------------------------------------------------------------------------------

    def served(self, hash: str) -> Served:
        """The model behind a hash, whether loaded or not."""
        model = self.models.get(hash)
        if model is None:
            if not _HASH.fullmatch(hash):
                raise WireError(
                    "bad_argument",
                    f'artifact = "{hash}" is not the hash of an artifact',
                    hint="64 hex digits: SELECT artifact FROM pgml.models",
                )
            home = min(self.processes, key=lambda process: (process.refusal is not None, process.memory))
            model = self.models[hash] = Served(self, hash, home)
        return model

    def forget(self, model: Served) -> None:
        """Of a model that nobody uses and that is not loaded nothing is kept."""
        if not model.users and model.state == "wanted":
            self.models.pop(model.hash, None)

    def make_room(self, newcomer: Served) -> None:
        """Unload what was used longest ago until the process's budget holds."""
        home, budget = newcomer.home, self.config.tabular.predictor_memory
        idle = [m for m in home.models.values() if m is not newcomer and m.state == "ready" and not m.users]
        for model in sorted(idle, key=lambda m: m.last_used):
            if home.memory <= budget:
                return
            model.state = "wanted"
            home.unload(model)
            self.forget(model)

    # -- questions ---------------------------------------------------------------------------------

    def ask(self, task: Task, name: str, arguments: dict[str, Any], hash: str = "") -> Predictor:
        """Send a question; where `hash` is given its model must be ready."""
        home = self.models[hash].home if hash else self.processes[0]
        if home.refusal is not None:
            raise home.refusal
        task.number = home.next_number()
        home.send(task, frames.pack_call(task.number, name, arguments, hash))
        return home

    def _watch(self) -> None:
        """Hung processes and deadlines: one timer for all."""
        now = time.monotonic()
        for process in self.processes:
            process.check(now)
        for request in [r for r in self.requests if 0 < r.deadline <= now]:
            request.fail(WireError("deadline", "the request was not done before its deadline"))
        self._tick = self.loop.call_later(_TICK_S, self._watch)
