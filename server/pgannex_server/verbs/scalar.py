"""One text at a time, again and again: the shortcut of embed for a repeated scalar call.

After the first call of a shape `Again` stays on it (request.Shape). It does what Embed would
do, in the order that keeps the caller waiting least: the text goes to an idle instance
first, the books are kept while it computes; the answer goes out first, the books are closed
after it. Whatever is out of the ordinary (no idle instance, a full queue, a changed
configuration, a draining server) it leaves to Embed by answering None.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgannex_wire import WireError
from pgannex_wire.message import End

from pgannex_server.pool import Answered
from pgannex_server.request import Handle, Request, Sink
from pgannex_server.verbs.embed_plan import EmbedPlan
from pgannex_server.verbs.running import Running
from pgannex_server.workers.pipe import Result, pack_embed

if TYPE_CHECKING:
    from pgannex_server.service import Service

_FIRST = (0,)
_NO_ERRORS: dict[int, WireError] = {}


class Again:
    """Left on a shape by embed; called with the next text."""

    __slots__ = ("model", "plan", "queue", "request", "service")

    def __init__(self, service: Service, request: Request, plan: EmbedPlan) -> None:
        self.service = service
        self.request = request
        self.plan = plan
        self.model = plan.model
        self.queue = plan.model.queue

    def __call__(self, text: bytes, deadline_ms: int, sink: Sink) -> Handle | None:
        service, plan, queue = self.service, self.plan, self.queue
        limits = service.config.limits
        admission = self.model.admission
        if (
            not queue.idle
            or plan.generation != service.registry.generation
            or service.state != "ready"
            or len(text) > limits.max_text_bytes
            or admission.requests >= limits.queue
        ):
            return None
        call = Scalar(self, text, deadline_ms, sink)
        instance = queue.send_alone(call)
        service.running[call] = None
        service.telemetry.in_flight += 1
        requests = service.telemetry.requests
        requests["embed"] = requests.get("embed", 0) + 1
        self.model.counters.requests += 1
        admission.requests += 1
        queue.alone[call] = None
        if len(queue.alone) == 1 and not queue.jobs:
            instance.linger()
        return call


class Scalar(Running, Answered):
    """The running call: its door's handle, and the batch that the instance computes."""

    __slots__ = ("again", "cost", "data", "ends_at", "errors", "sent", "size", "tokens", "vectors")

    columns = ()

    def __init__(self, again: Again, text: bytes, deadline_ms: int, sink: Sink) -> None:
        self.again = again
        self.service = again.service
        self.request = again.request
        self.sink = sink
        self.closed = False
        self.errors = _NO_ERRORS
        self.rows_in = 1
        self.rows_out = 0
        self.size = len(text)
        self.cost = again.queue.speed.cost(self.size)
        self.data = pack_embed(again.plan.options_raw, (text,))
        self.began = self.sent = now = time.monotonic()
        self.ends_at = now + deadline_ms / 1000 if deadline_ms else 0.0

    # -- batch.Sent ---------------------------------------------------------------------------

    def deliver(self, result: Result) -> None:
        if self.closed:
            return
        if result.failures:
            _index, code, message, detail, hint = result.failures[0]
            error = WireError(code, message, detail=detail, hint=hint)
            if self.again.plan.on_error == "raise":
                self.fail(error)
                return
            self.errors = {0: error}
            self.vectors = (None,)
        else:
            self.vectors = (result.vectors,)
        self.tokens = result.tokens
        self.rows_out = 1
        plan = self.again.plan
        info = plan.model.info
        self.sink.rows(0, plan.block(self, _FIRST), True)
        engine = info.engine if info is not None else ""
        self.end(End(1, result.tokens[0], 1, 0, result.compute_ns // 1000, engine, plan.model.name))

    def lose(self, error: WireError) -> None:
        self.fail(error)

    # -- Running --------------------------------------------------------------------------------

    def fail(self, error: WireError) -> None:
        if not self.closed:
            self.again.model.counters.errors += 1
        Running.fail(self, error)

    def release(self) -> None:
        again = self.again
        again.queue.alone.pop(self, None)
        model = again.model
        model.admission.requests -= 1
        model.last_used = now = time.monotonic()
        model.counters.latency.add(now - self.began)

    @property
    def deadline(self) -> float:
        return self.ends_at

    @property
    def model_name(self) -> str:
        return self.again.model.name
