"""One model worker as the server sees it: start, feed, watch, stop.

A `Worker` is a Link (link.py) to the process that holds a model; it turns frames into calls
of its owner and decides nothing about restarts, queues or memory: the registry does.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from pgannex_wire import WireError

from pgannex_server.engines.base import EngineError, ModelInfo, ModelSpec
from pgannex_server.workers import pipe
from pgannex_server.workers.link import Link
from pgannex_server.workers.pipe import Result

_MODULE = "pgannex_server.workers.process"
_MEMORY_HINT = "the model may need more memory than there is: see pgml.stat_models"


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


class Worker(Link):
    """Starts at construction; `send` gives it a batch's frame, `stop` and `kill` end it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, owner: Owner, spec: ModelSpec, interpreter: str
    ) -> None:
        self.spec = spec
        self.busy = False
        self.stopping = False
        self._owner = owner
        threads = {"OMP_NUM_THREADS": str(spec.threads)} if spec.threads else None
        title = f'the worker of model "{spec.name}"'
        super().__init__(loop, _MODULE, title, interpreter, threads, _MEMORY_HINT)
        self.send(pipe.pack_load(spec))

    def stop(self) -> None:
        """Let it finish its batch and go."""
        self.stopping = True
        self.send(pipe.frame(pipe.STOP, b""))

    # -- Link ---------------------------------------------------------------------------

    def received(self, type_: int, payload: bytes) -> None:
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

    def gone(self, error: WireError) -> None:
        self._owner.ended(self, error)


def wire_error(error: EngineError) -> WireError:
    """An engine's error as a caller sees it."""
    return WireError(error.code, error.message, detail=error.detail, hint=error.hint)
