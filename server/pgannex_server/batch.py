"""What an engine is given at once, and who gets what of its answer.

A `Batch` holds texts of several requests and the frame that a worker reads; `route` hands
each text its vector and tells each request. A call that travels alone is in verbs/scalar.py.
Which texts go together, and when they go, is batching's.
"""

from __future__ import annotations

from typing import Protocol

from pgannex_wire import WireError

from pgannex_server.pool import Chunk, Item
from pgannex_server.workers.pipe import Result, pack_embed


class Sent(Protocol):
    """What an instance computes: a Batch, or a call that travels alone (verbs/scalar.py)."""

    data: bytes
    cost: int
    size: int
    sent: float

    def deliver(self, result: Result) -> None:
        """It was computed."""

    def lose(self, error: WireError) -> None:
        """It was not, and will not be."""


class Alone(Sent, Protocol):
    """A call that travels alone is its own request."""

    @property
    def deadline(self) -> float: ...

    def fail(self, error: WireError) -> None: ...


class Batch:
    """What one instance is given at once; `data` is the frame, `items` who gets what."""

    __slots__ = ("cost", "data", "items", "lane", "options", "sent", "size")

    def __init__(self, lane: int, options: bytes, items: list[Item]) -> None:
        self.lane = lane
        self.options = options
        self.items = items
        self.cost = sum([item[0] for item in items])
        self.sent = 0.0
        texts = [item[2].texts[item[3]] or b"" for item in items]
        self.size = sum(map(len, texts))
        self.data = pack_embed(options, texts)

    def deliver(self, result: Result) -> None:
        route(self, result)

    def lose(self, error: WireError) -> None:
        for job in {item[2].job: None for item in self.items}:
            job.fail(error)


def route(batch: Batch, result: Result) -> None:
    """Hand each text its vector, then tell each request once per chunk."""
    if len(batch.items) == 1 and not result.failures:
        _cost, _age, chunk, index = batch.items[0]
        chunk.vectors[index] = result.vectors
        chunk.tokens[index] = result.tokens[0]
        share = chunk.job.share
        share.batches += 1
        share.compute_us += result.compute_ns // 1000
        chunk.job.deliver(chunk, [index])
        return
    width = 4 * result.dimensions
    vectors, tokens = memoryview(result.vectors), result.tokens
    touched: dict[Chunk, list[int]] = {}
    at = 0
    for i, (_cost, _age, chunk, index) in enumerate(batch.items):
        chunk.vectors[index] = vectors[at : at + width]
        chunk.tokens[index] = tokens[i]
        at += width
        indexes = touched.get(chunk)
        if indexes is None:
            touched[chunk] = [index]
        else:
            indexes.append(index)
    for i, code, message, detail, hint in result.failures:
        _cost, _age, chunk, index = batch.items[i]
        chunk.vectors[index] = None
        chunk.errors[index] = WireError(code, message, detail=detail, hint=hint)
    compute_us = result.compute_ns // 1000
    for job in {chunk.job: None for chunk in touched}:
        job.share.batches += 1
        job.share.compute_us += compute_us
    for chunk, indexes in touched.items():
        chunk.job.deliver(chunk, indexes)
