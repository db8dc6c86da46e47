"""A request about a trained model: it waits until the model is loaded, and sends for its bytes.

predict and forecast share this: the model's `Served`, the NEED that one of several waiting
requests sends, the parts that come, and the end of it all. What they do once the model is
there is `go`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgannex_wire import WireError

from pgannex_server.predictors.served import Served
from pgannex_server.request import Request, Sink
from pgannex_server.verbs.artifact import Collector
from pgannex_server.verbs.running import Running

if TYPE_CHECKING:
    from pgannex_server.service import Service


_LARGE = 8 << 20


class ArtifactRequest(Running):
    """A Running that is also a Waiter of its model."""

    __slots__ = ("collector", "is_ready", "served")

    def __init__(self, service: Service, request: Request, sink: Sink, hash: str) -> None:
        predictors = service.predictors
        self.served: Served = predictors.served(hash)
        self.served.admission.check(service.config.limits, lambda: 1.0)
        self.collector: Collector | None = None
        self.is_ready = False
        Running.__init__(self, service, request, sink)
        predictors.requests[self] = None
        self.served.users[self] = None
        self.served.used_by(request.caller.role)
        self.served.admission.requests += 1
        self.served.counters.requests += 1

    def go(self) -> None:
        """The model is loaded; called again after it was lost and is back."""

    # -- served.Waiter --------------------------------------------------------------------------

    def ask(self) -> None:
        config = self.service.config
        limit = max(config.tabular.predictor_memory, config.limits.artifact_bytes)
        self.collector = Collector(self.served.hash, limit)
        self.sink.need(self.served.hash)

    def ready(self) -> None:
        if not self.closed:
            self.is_ready = True
            self.go()

    def unready(self) -> None:
        """The model was lost with its process: wait for it again."""
        if self.is_ready and not self.closed:
            self.is_ready = False
            self.served.join(self)

    # -- Handle -----------------------------------------------------------------------------------

    def part(self, seq: int, hash: str, data: bytes, last: bool, missing: bool) -> None:
        if self.closed:
            return
        if self.collector is None or self.collector.hash != hash:
            Running.part(self, seq, hash, data, last, missing)
            return
        try:
            complete = self.collector.take(seq, data, last, missing)
        except WireError as err:
            self.fail(err)
            return
        if complete is None:
            return
        if len(complete) < _LARGE:
            self._verified(complete, self._verify(complete))
            return
        # Half a second of hashing would delay everybody else.
        task = self.service.loop.run_in_executor(None, self._verify, complete)
        task.add_done_callback(lambda done: self._verified(complete, done.result()))

    def _verify(self, data: bytes) -> WireError | None:
        try:
            self.service.signer.verify(data)
        except WireError as err:
            return err
        return None

    def _verified(self, data: bytes, error: WireError | None) -> None:
        self.collector = None
        if error is not None:
            self.fail(error)
            return
        self.service.artifacts.put(self.served.hash, data)
        if not self.closed:
            self.served.supply(self, data)

    def fail(self, error: WireError) -> None:
        if not self.closed:
            self.served.counters.errors += 1
        Running.fail(self, error)

    def release(self) -> None:
        served, predictors = self.served, self.service.predictors
        predictors.requests.pop(self, None)
        served.users.pop(self, None)
        served.admission.requests -= 1
        served.last_used = now = time.monotonic()
        served.counters.latency.add(now - self.began)
        served.leave(self)
        predictors.forget(served)

    # -- stat_activity ------------------------------------------------------------------------------

    @property
    def model_name(self) -> str:
        return self.served.name

    @property
    def state(self) -> str:
        return self.waits_for()

    def waits_for(self) -> str:
        """The state, as far as the model goes."""
        if self.collector is not None:
            return "waiting for artifact"
        return "running" if self.is_ready else self.served.state
