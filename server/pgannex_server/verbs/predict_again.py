"""One row at a time, again and again: the shortcut of predict for a repeated scalar call.

As verbs/scalar.py for embed: the row goes to the predictor first, the books are kept while it
computes; the answer goes out first, the books are closed after it. Whatever is out of the
ordinary (the model is not loaded, a full queue, a draining server) it leaves to Predict by
answering None.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgannex_wire import WireError
from pgannex_wire.message import End

from pgannex_server.predictors.served import Served
from pgannex_server.request import Handle, Request, Sink
from pgannex_server.tabular.predict_frames import Result, pack_job
from pgannex_server.verbs.encoded import encoded
from pgannex_server.verbs.predict_plan import PredictPlan
from pgannex_server.verbs.running import Running

if TYPE_CHECKING:
    from pgannex_server.service import Service


class PredictAgain:
    """Left on a shape by predict; called with the next row."""

    __slots__ = ("plan", "predictors", "request", "served", "service")

    def __init__(self, service: Service, request: Request, plan: PredictPlan) -> None:
        self.service = service
        self.predictors = service.predictors
        self.request = request
        self.plan = plan
        self.served: Served | None = None

    def __call__(self, value: bytes, deadline_ms: int, sink: Sink) -> Handle | None:
        service, plan = self.service, self.plan
        served = self.served
        if served is None or served.state != "ready":
            served = self.served = self.predictors.models.get(plan.hash)
            if served is None or served.state != "ready":
                return None
            served.used_by(self.request.caller.role)
        admission = served.admission
        if service.state != "ready" or admission.requests >= service.config.limits.queue:
            return None
        home = served.home
        call = PredictOne(self, served, deadline_ms, sink)
        call.number = number = home.next_number()
        home.send(call, pack_job(number, served.raw, plan.kind, plan.bulk, plan.raw, value))
        service.running[call] = None
        self.predictors.requests[call] = None
        served.users[call] = None
        service.telemetry.in_flight += 1
        requests = service.telemetry.requests
        requests["predict"] = requests.get("predict", 0) + 1
        served.counters.requests += 1
        admission.requests += 1
        home.linger()
        return call


class PredictOne(Running):
    """The running call: its door's handle, and the job that the predictor computes."""

    __slots__ = ("ends_at", "number", "predictors", "served")

    def __init__(self, again: PredictAgain, served: Served, deadline_ms: int, sink: Sink) -> None:
        self.service = again.service
        self.predictors = again.predictors
        self.request = again.request
        self.served = served
        self.sink = sink
        self.closed = False
        self.rows_in = 1
        self.rows_out = 0
        self.number = 0
        self.began = now = time.monotonic()
        self.ends_at = now + deadline_ms / 1000 if deadline_ms else 0.0

    # -- predictors.process.Task ------------------------------------------------------------------

    def answered(self, result: Result) -> None:
        if self.closed:
            return
        served = self.served
        self.rows_out = 1
        self.sink.rows(0, encoded(1, result.payload), True)
        compute_us = result.compute_ns // 1000
        self.end(End(1, 0, 1, 0, compute_us, served.info["engine"], served.name))
        served.count(result)

    def lose(self, error: WireError) -> None:
        self.fail(error)

    def unready(self) -> None:
        """The process died: `lose` has told already."""

    # -- Running ------------------------------------------------------------------------------------

    def fail(self, error: WireError) -> None:
        if not self.closed:
            self.served.counters.errors += 1
        Running.fail(self, error)

    def release(self) -> None:
        served = self.served
        served.home.drop(self)
        self.predictors.requests.pop(self, None)
        served.users.pop(self, None)
        served.admission.requests -= 1
        served.last_used = now = time.monotonic()
        served.counters.latency.add(now - self.began)

    @property
    def deadline(self) -> float:
        return self.ends_at

    @property
    def model_name(self) -> str:
        return self.served.name
