"""The verb embed: texts in, vectors out, in one request or over many batches.

It is a Job of the model's queue and the Handle of the door. Rows go out in input order
unless the caller said UNORDERED; a bad row fails the request or comes back as NULL, as
on_error says. How rows become columns is embed_plan's; what is computed when is batching's.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from pgannex_wire import WireError
from pgannex_wire.frame import SINGLE
from pgannex_wire.message import End
from pgannex_wire.values import FIXED, ColumnBlock, RawColumn, split_fixed, split_values

from pgannex_server.pool import Chunk, Share
from pgannex_server.request import Request, Sink
from pgannex_server.verbs.artifact import Collector
from pgannex_server.verbs.embed_plan import EmbedPlan, Rows
from pgannex_server.verbs.running import Running
from pgannex_server.verbs.scalar import Again

if TYPE_CHECKING:
    from pgannex_server.service import Service

_FIRST = (0,)


class Embed(Running):
    """One running embed request."""

    __slots__ = (
        "admission",
        "artifact",
        "chunks",
        "held",
        "input_done",
        "plan",
        "queue",
        "queued_bytes",
        "share",
        "tokens",
        "waits",
        "weighed",
    )

    varying = ("input",)
    share: Share

    def __init__(self, service: Service, request: Request, sink: Sink) -> None:
        self.plan = plan = _plan_of(service, request)
        model = plan.model
        model.admit()
        Running.__init__(self, service, request, sink)
        self.queue = model.queue
        self.admission = model.admission
        self.waits = False
        self.weighed = 0
        self.tokens = 0
        self.queued_bytes = 0
        self.input_done = False
        self.chunks: deque[Rows] = deque()
        self.artifact: Collector | None = None
        self.held: list[Rows] = []
        model.counters.requests += 1
        options = plan.options_raw
        if plan.artifact:
            options = self._ask_for_artifact(plan.artifact)
        self.queue.join(self, options, plan.lane, request.deadline)
        if request.flags & SINGLE:
            if request.shape is not None and not plan.artifact:
                request.shape.again = Again(service, request, plan)
            self.input_done = True
            self._take(0, (request.args[plan.input_arg].value,), ())

    # -- Handle ---------------------------------------------------------------------------

    def feed(self, seq: int, block: ColumnBlock) -> None:
        if self.closed:
            return
        try:
            columns = [_values_of(column, block.nrows) for column in block.columns]
            if len(columns) != len(self.request.columns):
                raise WireError("protocol_violation", f"a batch has {len(columns)} columns")
        except WireError as err:
            self.fail(err)
            return
        self._take(seq, columns[self.plan.input_column], columns)

    def finish(self) -> None:
        self.input_done = True
        self._end_if_done()

    def part(self, seq: int, hash: str, data: bytes, last: bool, missing: bool) -> None:
        if self.closed:
            return
        if self.artifact is None or self.artifact.hash != hash:
            Running.part(self, seq, hash, data, last, missing)
            return
        try:
            complete = self.artifact.take(seq, data, last, missing)
        except WireError as err:
            self.fail(err)
            return
        if complete is not None:
            self.service.artifacts.put(hash, complete)
            self.artifact = None
            self.queue.rejoin(self, self._options_with(complete))
            held, self.held = self.held, []
            for rows in held:
                if not self.closed:
                    self.queue.submit(rows)

    def pause(self) -> None:
        if not self.closed:
            self.share.paused = True
            self._count()

    def resume(self) -> None:
        if not self.closed:
            self.share.paused = False
            self._count()
            self.queue.wake()

    def progress(self) -> tuple[int, int]:
        return self.queue.ahead(self), self.rows_out

    def release(self) -> None:
        self.queue.leave(self)
        self._count()
        model = self.plan.model
        now = time.monotonic()
        model.last_used = now
        share = self.share
        if share.started:
            model.counters.queue_seconds += max(0.0, share.started - self.began)
        model.counters.latency.add(now - self.began)

    def fail(self, error: WireError) -> None:
        if not self.closed:
            self.plan.model.counters.errors += 1
        Running.fail(self, error)

    # -- Job --------------------------------------------------------------------------------

    def deliver(self, chunk: Chunk, indexes: list[int]) -> None:
        if self.closed:
            return
        assert isinstance(chunk, Rows)
        if chunk.errors and self.plan.on_error == "raise":
            for i in indexes:
                if i in chunk.errors:
                    self.fail(_at_position(chunk.errors[i], chunk.base + i, self.request))
                    return
        if self.request.flags & SINGLE:
            self.rows_out = 1
            self.tokens = chunk.tokens[0]
            self.chunks.clear()
            self._count()
            self.sink.rows(0, self.plan.block(chunk, _FIRST), True)
            self._end_if_done()
        else:
            self._answer(chunk, indexes)

    # -- inside -------------------------------------------------------------------------------

    def _count(self) -> None:
        """Only who waits for the engine fills the queue, with its texts, not who sends nothing or does
        not fetch: a few hundred idle cursors would else shut everybody out. What those keep here is
        bounded by their doors: each connection has a window, and a limit on the bytes in it."""
        waits = bool(self.chunks) and not self.share.paused and not self.closed
        if waits != self.waits:
            self.waits = waits
            if waits:
                self.admission.enter()
            else:
                self.admission.leave()
        weight = self.queued_bytes if waits else 0
        self.admission.bytes += weight - self.weighed
        self.weighed = weight

    def _take(
        self,
        seq: int,
        texts: tuple[bytes | None, ...] | list[bytes | None],
        columns: list[list[bytes | None]] | tuple[()],
    ) -> None:
        rows = Rows(self, seq, texts, columns, self.rows_in)
        self.rows_in += len(texts)
        bad = self._refuse(rows)
        if self.closed:
            return
        self.chunks.append(rows)
        self.queued_bytes += rows.size
        self._count()
        if self.artifact is not None:
            self.held.append(rows)
        elif len(bad) < len(texts):
            self.queue.submit(rows)
        if bad or not texts:
            self._answer(rows, bad)

    def _refuse(self, rows: Rows) -> list[int]:
        """Texts that need no engine to be wrong: NULL and too long ones."""
        limit = self.service.config.limits.max_text_bytes
        bad: list[int] = []
        size = 0
        for i, text in enumerate(rows.texts):
            if text is None:
                rows.errors[i] = WireError("null_input", "the input is NULL")
            elif len(text) > limit:
                rows.errors[i] = WireError(
                    "too_large",
                    f"a text of {len(text)} bytes is longer than {limit}",
                    hint="split it (pgml.chunk), or raise [limits] max_text_bytes in pgannex.toml",
                )
            else:
                size += len(text)
                continue
            bad.append(i)
            if self.plan.on_error == "raise":
                self.fail(_at_position(rows.errors[i], rows.base + i, self.request))
                return bad
        rows.size = size
        if bad:
            rows.texts = [None if i in rows.errors else text for i, text in enumerate(rows.texts)]
        return bad

    def _answer(self, rows: Rows, indexes: list[int]) -> None:
        """Send what can be sent now."""
        if self.plan.ordered:
            self._answer_in_order()
        else:
            rows.left -= len(indexes)
            self._send(rows, indexes)
            if rows.left == 0:
                self._retire(rows)
        self._end_if_done()

    def _answer_in_order(self) -> None:
        while self.chunks:
            rows = self.chunks[0]
            start = at = rows.cursor
            n = len(rows.texts)
            vectors, errors = rows.vectors, rows.errors
            while at < n and (vectors[at] is not None or at in errors):
                at += 1
            if at == start and n:
                return
            rows.cursor = at
            rows.left = n - at
            self._send(rows, range(start, at))
            if at < n:
                return
            self._retire(rows)

    def _send(self, rows: Rows, indexes: list[int] | range) -> None:
        self.rows_out += len(indexes)
        for i in indexes:
            self.tokens += rows.tokens[i]
        step = self.plan.rows_per_block()
        last = len(indexes) - step
        for start in range(0, max(1, len(indexes)), step):
            block = self.plan.block(rows, indexes[start : start + step])
            self.sink.rows(rows.seq, block, rows.left == 0 and start >= last)

    def _retire(self, rows: Rows) -> None:
        self.queued_bytes -= rows.size
        self.chunks.remove(rows)
        self._count()

    def _end_if_done(self) -> None:
        if self.input_done and not self.chunks and not self.closed:
            share = self.share
            queue_us = int((share.started - self.began) * 1e6) if share.started else 0
            info = self.plan.model.info
            self.end(
                End(
                    self.rows_out,
                    self.tokens,
                    share.batches,
                    max(0, queue_us),
                    share.compute_us,
                    info.engine if info else "",
                    self.plan.model.name,
                )
            )

    # -- artifacts ------------------------------------------------------------------------------

    def _ask_for_artifact(self, hash: str) -> bytes:
        known = self.service.artifacts.get(hash)
        if known is not None:
            return self._options_with(known)
        self.artifact = Collector(hash)
        self.sink.need(hash)
        return self.plan.options_raw

    def _options_with(self, artifact: bytes) -> bytes:
        return self.plan.with_artifact(artifact)

    # -- stat_activity ----------------------------------------------------------------------------

    @property
    def model_name(self) -> str:
        return self.plan.model.name

    @property
    def state(self) -> str:
        if self.artifact is not None:
            return "waiting for artifact"
        if self.share.paused:
            return "waiting for client"
        if not self.chunks:
            return "waiting for input"
        if self.share.started == 0.0:
            return "queued" if self.plan.model.state == "ready" else self.plan.model.state
        return "running"


def _plan_of(service: Service, request: Request) -> EmbedPlan:
    shape = request.shape
    if shape is not None:
        plan = shape.plan
        if isinstance(plan, EmbedPlan) and plan.generation == service.registry.generation:
            return plan
    plan = EmbedPlan(request, service.registry)
    if shape is not None:
        shape.plan = plan
    return plan


def _values_of(column: RawColumn, nrows: int) -> list[bytes | None]:
    if column.encoding == FIXED:
        return split_fixed(column, nrows)
    return split_values(column, nrows)


def _at_position(error: WireError, index: int, request: Request) -> WireError:
    """The error with the 1-based position of its row, where there are several."""
    if request.flags & SINGLE:
        return error
    detail = f"element {index + 1}" + (f": {error.detail}" if error.detail else "")
    hint = error.hint or "on_error => 'null' or 'status' keeps the other rows"
    return WireError(error.code, f"{error.message} (element {index + 1})", detail=detail, hint=hint)
