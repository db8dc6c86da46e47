"""The verb predict: rows in, what a trained model says of them out.

A scalar call is one job of the predictor process, a batch is one job each. Nothing in here
looks into a row: the process decodes, computes and encodes, and its answer is passed on as it
is. Jobs of the interactive lane are sent at once, those of bulk when it is their turn.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from pgannex_wire import WireError
from pgannex_wire.frame import SINGLE
from pgannex_wire.message import End
from pgannex_wire.values import ColumnBlock

from pgannex_server.predictors.process import Task
from pgannex_server.request import Request, Sink
from pgannex_server.tabular.predict_frames import BLOCK, Result, RowError, pack_job
from pgannex_server.verbs.artifact_request import ArtifactRequest
from pgannex_server.verbs.encoded import encoded
from pgannex_server.verbs.predict_again import PredictAgain
from pgannex_server.verbs.predict_plan import PredictPlan

if TYPE_CHECKING:
    from pgannex_server.service import Service


class Chunk:
    """One job: a batch, or the value of a scalar call. `base`: the rows before it."""

    __slots__ = ("base", "nrows", "number", "request", "seq", "value")

    def __init__(self, request: Predict, seq: int, value: bytes, nrows: int) -> None:
        self.request = request
        self.seq = seq
        self.value = value
        self.nrows = nrows
        self.base = request.rows_in
        self.number = 0

    def answered(self, result: Result) -> None:
        self.request.answered(self, result)

    def lose(self, error: WireError) -> None:
        self.request.lost(self, error)


class Predict(ArtifactRequest):
    """One running predict request."""

    __slots__ = ("batches", "compute_ns", "input_done", "paused", "plan", "sent", "sent_at", "waiting")

    varying = ("features", "row")

    def __init__(self, service: Service, request: Request, sink: Sink) -> None:
        self.plan = plan = _plan_of(request)
        self.waiting: deque[Chunk] = deque()
        self.sent: dict[Chunk, None] = {}
        self.input_done = self.paused = False
        self.compute_ns = self.batches = 0
        self.sent_at = 0.0
        ArtifactRequest.__init__(self, service, request, sink, plan.hash)
        if request.flags & SINGLE:
            if request.shape is not None:
                request.shape.again = PredictAgain(service, request, plan)
            value = request.args[plan.value_at].value
            assert value is not None
            self.input_done = True
            self._add(Chunk(self, 0, value, 1))
        if not self.closed:
            self.served.join(self)

    # -- Handle ---------------------------------------------------------------------------------

    def feed(self, seq: int, block: ColumnBlock) -> None:
        if self.closed:
            return
        if self.plan.kind != BLOCK:
            ArtifactRequest.feed(self, seq, block)
            return
        self._add(Chunk(self, seq, block.encode(), block.nrows))
        if self.is_ready:
            self.go()

    def finish(self) -> None:
        self.input_done = True
        self._end_if_done()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        if self.is_ready and not self.closed:
            self.go()

    def progress(self) -> tuple[int, int]:
        return 0, self.rows_out

    def release(self) -> None:
        home = self.served.home
        home.withdraw(self)
        for chunk in self.sent:
            home.drop(chunk)
        for chunk in (*self.sent, *self.waiting):
            self.served.admission.bytes -= len(chunk.value)
        self.sent.clear()
        self.waiting.clear()
        ArtifactRequest.release(self)

    # -- jobs -----------------------------------------------------------------------------------

    def go(self) -> None:
        home = self.served.home
        if self.plan.bulk:
            home.offer(self)
            return
        while self.waiting and not self.closed:
            found = self.next_frame(home.next_number())
            if found is None:
                return
            home.send(*found)

    def next_frame(self, number: int) -> tuple[Task, bytes] | None:
        """The next job to send; None while there is none, or the caller does not fetch."""
        if not self.waiting or self.paused or not self.is_ready:
            return None
        chunk = self.waiting.popleft()
        chunk.number = number
        self.sent[chunk] = None
        self.sent_at = self.sent_at or time.monotonic()
        plan = self.plan
        return chunk, pack_job(number, self.served.raw, plan.kind, plan.bulk, plan.raw, chunk.value)

    def answered(self, chunk: Chunk, result: Result) -> None:
        """A job is done."""
        if self.closed:
            return
        del self.sent[chunk]
        self.served.admission.bytes -= len(chunk.value)
        self.rows_out += chunk.nrows
        self.compute_ns += result.compute_ns
        self.batches += 1
        self.served.count(result)
        self.sink.rows(chunk.seq, encoded(chunk.nrows, result.payload), True)
        self._end_if_done()

    def lost(self, chunk: Chunk, error: WireError) -> None:
        """A job failed, or its process died."""
        if isinstance(error, RowError):
            row = chunk.base + error.at + 1
            hint = error.hint or "on_error => 'null' or 'status' keeps the other rows"
            error = WireError(error.code, f"{error.message} (row {row})", detail=f"row {row}", hint=hint)
        self.fail(error)

    def _add(self, chunk: Chunk) -> None:
        self.rows_in += chunk.nrows
        self.waiting.append(chunk)
        self.served.admission.bytes += len(chunk.value)

    def _end_if_done(self) -> None:
        if self.input_done and not self.waiting and not self.sent and not self.closed:
            served = self.served
            queue_us = int((self.sent_at - self.began) * 1e6) if self.sent_at else 0
            engine = str(served.info.get("engine", ""))
            compute_us = self.compute_ns // 1000
            self.end(End(self.rows_out, 0, self.batches, queue_us, compute_us, engine, served.name))

    @property
    def state(self) -> str:
        if self.is_ready and self.paused:
            return "waiting for client"
        if self.is_ready and not self.waiting and not self.sent:
            return "waiting for input"
        return self.waits_for()


def _plan_of(request: Request) -> PredictPlan:
    shape = request.shape
    if shape is not None and isinstance(shape.plan, PredictPlan):
        return shape.plan
    plan = PredictPlan(request)
    if shape is not None:
        shape.plan = plan
    return plan
