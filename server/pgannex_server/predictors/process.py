"""One predictor process as the server sees it: jobs out, answers in, restarts with back-off.

Interactive jobs are sent at once: the process itself computes together what has come. Of bulk
jobs a few are under way, taken in turn from the requests that have any, so that a process is
never idle while it waits for us and no request is far ahead of another. The models in it are
`Served`s (served.py), whose home it is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pgannex_wire import WireError

from pgannex_server.config import Config
from pgannex_server.tabular import predict_frames as frames
from pgannex_server.workers.framing import frame
from pgannex_server.workers.link import Link

if TYPE_CHECKING:
    from pgannex_server.predictors.served import Served

log = logging.getLogger("pgannex.predictors")

_MODULE = "pgannex_server.tabular.process"
_MEMORY_HINT = "the models may need more memory than there is: see [tabular] predictor_memory in pgannex.toml"
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
_STEADY_S = 60.0
"""A process that lived this long starts the back-off anew."""
_FREED_S = 2.0
"""How long a process may go on with what nobody waits for any more before it is killed."""
_BULK_JOBS = 3
_UNSENT = 4 << 20
_LINGER_S = 0.00015
_QUICK_NS = 100_000
"""A process whose last answer took less than _QUICK_NS is waited for up to _LINGER_S before the
loop sleeps: going to sleep and being woken costs more than such an answer."""


class Task(Protocol):
    """A job under way, or a call. `number` is set when it is sent."""

    number: int

    def answered(self, result: frames.Result) -> None: ...

    def lose(self, error: WireError) -> None: ...


@runtime_checkable
class InParts(Protocol):
    """A task whose answer may come in parts; `answered` has the last one."""

    def answered_partly(self, payload: bytes) -> None: ...


class Source(Protocol):
    """A request with bulk jobs: the next one, None if it has none to send now."""

    def next_frame(self, number: int) -> tuple[Task, bytes] | None: ...


class _Process(Link):
    """The link; the Predictor decides."""

    def __init__(self, predictor: Predictor, interpreter: str, environment: dict[str, str]) -> None:
        self._predictor = predictor
        super().__init__(
            predictor.loop, _MODULE, "the predictor process", interpreter, environment, _MEMORY_HINT
        )

    def received(self, type_: int, payload: bytes) -> None:
        self._predictor.received(type_, payload)

    def gone(self, error: WireError) -> None:
        self._predictor.gone(error)


class Predictor:
    """`state` is starting, ready, restarting, missing (a library is) or stopped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: Config, index: int) -> None:
        self.loop = loop
        self.config = config
        self.index = index
        self.state = "stopped"
        self.models: dict[bytes, Served] = {}
        self.tasks: dict[int, Task] = {}
        self.restarts = 0
        self.refusal: WireError | None = None
        self.quick = False
        self._process: _Process | None = None
        self._number = 0
        self._late: deque[tuple[Task, bytes]] = deque()
        self._sources: deque[Source] = deque()
        self._bulk: set[int] = set()
        self._dropped: dict[int, float] = {}
        self._current = -1
        self._freed = False
        self._heard = 0.0
        self._started = 0.0
        self._crashes = 0
        self._retry: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def memory(self) -> int:
        """Bytes that its models take."""
        return sum(model.memory for model in self.models.values())

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process; models are sent to it once it is up."""
        self._retry = None
        self.refusal = None
        self.state = "starting"
        self._started = self._heard = time.monotonic()
        tabular = self.config.tabular
        threads = tabular.predictor_threads or max(1, len(os.sched_getaffinity(0)) // 4)
        # Threads that spin while they wait take the processor from the database.
        environment = {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": str(threads)}
        try:
            self._process = _Process(self, tabular.interpreter, environment)
        except OSError as err:
            self._missing(WireError("engine_missing", f"cannot start a predictor process: {err}"))

    def stop(self) -> None:
        """For ever: the server stops, or the process is not needed any more."""
        self.state = "stopped"
        if self._retry is not None:
            self._retry.cancel()
        if self._process is not None:
            self._process.send(frame(frames.STOP, b""))

    def kill(self, reason: str) -> None:
        if self._process is not None:
            self._process.kill(reason)

    def check(self, now: float) -> None:
        """Kill a process that says nothing though it should."""
        limits = self.config.limits
        if self._process is None:
            return
        loading = self.state == "starting" or any(m.state == "loading" for m in self.models.values())
        limit = limits.start_s if loading else limits.hang_s
        if (loading or self.tasks) and now - self._heard > limit:
            what = "loading" if loading else "a prediction"
            self.kill(f"{what} took longer than {limit:g} s")
        elif not loading and self._is_stuck(now):
            self._freed = True
            self.kill(f"it computed what nobody waited for any more for {_FREED_S:g} s")

    def _is_stuck(self, now: float) -> bool:
        """Whether it computes for nobody: a cancel that it has not read for long, and no task that
        it may be busy with instead."""
        if not self._dropped or now - next(iter(self._dropped.values())) <= _FREED_S:
            return False
        return not self.tasks or self._current in self._dropped

    def gone(self, error: WireError) -> None:
        """The process has ended: who waits for it hears, what it held is loaded again when wanted."""
        self._process = None
        if self.state in ("starting", "ready"):
            self._restart_later()
        tasks, self.tasks = self.tasks, {}
        late, self._late = self._late, deque()
        self._bulk.clear()
        self._dropped.clear()
        self._current = -1
        for task in (*tasks.values(), *(task for task, _data in late)):
            task.lose(error)
        models, self.models = self.models, {}
        for model in models.values():
            model.lost(error)

    def _restart_later(self) -> None:
        if time.monotonic() - self._started > _STEADY_S:
            self._crashes = 0
        delay = 0.0
        if not self._freed:
            delay = _BACKOFF_S[min(self._crashes, len(_BACKOFF_S) - 1)]
            self._crashes += 1
        self._freed = False
        self.restarts += 1
        self.state = "restarting"
        self._retry = self.loop.call_later(delay, self.start)

    def _missing(self, error: WireError) -> None:
        log.warning("no predictor: %s", error.message)
        self.state = "missing"
        self.refusal = error
        for model in list(self.models.values()):
            model.refused(error)

    # -- models ---------------------------------------------------------------------------------

    def load(self, model: Served, data: bytes) -> None:
        """Send a model; `model` hears `loaded` or `refused`."""
        self._wake(any(m.state == "loading" for m in self.models.values() if m is not model))
        self.models[model.raw] = model
        if self._process is not None:
            self._process.send(frames.pack_load(model.raw, data))

    def unload(self, model: Served) -> None:
        self.models.pop(model.raw, None)
        if self._process is not None:
            self._process.send(frame(frames.UNLOAD, model.raw))

    # -- jobs -----------------------------------------------------------------------------------

    def next_number(self) -> int:
        self._number = (self._number + 1) & 0xFFFFFFFF
        return self._number

    def send(self, task: Task, data: bytes) -> None:
        """Send the frame of a task whose number is in it."""
        process = self._process
        tasks = self.tasks
        if process is None:
            task.lose(WireError("worker_died", "the predictor process is restarting", hint="try again"))
            return
        self._wake(bool(tasks))
        if self._late or process.unsent > _UNSENT:
            self._late.append((task, data))
            return
        tasks[task.number] = task
        process.send(data)

    def _wake(self, is_busy: bool) -> None:
        """Something is sent: an idle process has from now on to answer. One that has not read a
        cancel yet is not idle, however often those who wait for it give up."""
        if not (is_busy or self.tasks or self._dropped):
            self._heard = time.monotonic()

    def linger(self) -> None:
        """Wait a moment for the answer to the only task, if answers are quick."""
        if self.quick and self._process is not None and len(self.tasks) == 1:
            self._process.linger(_LINGER_S)

    def drop(self, task: Task) -> None:
        """Nobody waits for it any more."""
        if self.tasks.pop(task.number, None) is not None and self._process is not None:
            self._dropped[task.number] = time.monotonic()
            self._process.send(frames.pack_cancel(task.number))
            self._settle(task.number)
        elif self._late:
            self._late = deque(item for item in self._late if item[0] is not task)

    def offer(self, source: Source) -> None:
        """A request has bulk jobs, or has more of them."""
        if source not in self._sources:
            self._sources.append(source)
        self._pump()

    def withdraw(self, source: Source) -> None:
        if source in self._sources:
            self._sources.remove(source)

    def _pump(self) -> None:
        while self._process is not None and self._late and self._process.unsent <= _UNSENT:
            task, data = self._late.popleft()
            self.tasks[task.number] = task
            self._process.send(data)
        while self._process is not None and self._sources and len(self._bulk) < _BULK_JOBS:
            source = self._sources.popleft()
            found = source.next_frame(self.next_number())
            if found is not None:
                self._sources.append(source)
                self._bulk.add(found[0].number)
                self.send(*found)

    def _settle(self, number: int) -> None:
        self._bulk.discard(number)
        if self._sources or self._late:
            self._pump()

    # -- what it says ---------------------------------------------------------------------------

    def received(self, type_: int, payload: bytes) -> None:
        """A frame of the process."""
        self._heard = time.monotonic()
        if type_ == frames.RESULT:
            result = frames.unpack_result(payload)
            self.quick = result.compute_ns < _QUICK_NS
            task = self.tasks.pop(result.number, None)
            if task is not None:
                if result.number in self._bulk:
                    self._settle(result.number)
                task.answered(result)
            if self._late:
                self._pump()
        elif type_ == frames.FAILED:
            number = frames.number_of(payload)
            task = self.tasks.pop(number, None)
            if task is not None:
                task.lose(frames.error_after_number(payload))
                self._settle(number)
        elif type_ == frames.BEAT:
            self._current = frames.number_of(payload)
        elif type_ == frames.DROPPED:
            self._dropped.pop(frames.number_of(payload), None)
        elif type_ == frames.PART:
            task = self.tasks.get(frames.number_of(payload))
            if isinstance(task, InParts):
                task.answered_partly(frames.part_of(payload))
        elif type_ in (frames.LOADED, frames.LOAD_FAILED):
            hash, body = frames.unpack_about(payload)
            model = self.models.get(hash)
            if model is not None and type_ == frames.LOADED:
                model.loaded(body)
            elif model is not None:
                del self.models[hash]
                model.refused(frames.error_of(body))
        elif type_ == frames.UP:
            self.state = "ready"
            for model in list(self.models.values()):
                model.up()
        elif type_ == frames.REFUSED:
            self._missing(frames.unpack_error(payload))
