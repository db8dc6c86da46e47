"""Texts that wait for one engine: requests' shares, and a pool sorted by length.

Requests of one lane with equal options form a `Group`. Each keeps a window of its oldest
texts in the group's pool. A batch is cut round an anchor, the oldest text of the request
that was served least, and takes the anchor's neighbours in length: so texts of one length
travel together, nothing starves, and a large request does not push a small one aside.
Which group is next, and who computes, is batching's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from pgannex_wire import WireError

_WINDOW = 8
"""The pool holds texts for about this many batches: enough to find neighbours in length."""
_MAX_TEXTS = 4096
_MAX_BYTES = 16 << 20
_MAX_POOLED = 2 * _MAX_TEXTS

Item = tuple[int, int, "Chunk", int]
"""(estimated tokens, age, chunk, index in the chunk); ages are unique, so items sort."""


class Answered:
    """Texts that have their answers, as whoever makes columns of them sees it.

    `vectors[i]` is the text's vector, None where `errors` says why there is none.
    """

    __slots__ = ()

    vectors: Sequence[memoryview | bytes | None]
    tokens: Sequence[int]
    errors: dict[int, WireError]
    columns: Sequence[Sequence[bytes | None]]


class Job(Protocol):
    """A request as the queue sees it: `Share` keeps the queue's own notes about it."""

    share: Share

    def deliver(self, chunk: Chunk, indexes: list[int]) -> None:
        """These texts of the chunk now have vectors or errors."""

    def fail(self, error: WireError) -> None:
        """The request is lost."""


class Share:
    """The queue's notes on one request. `backlog` counts its texts that no batch has taken."""

    __slots__ = ("age", "backlog", "batches", "compute_us", "deadline", "group", "lane", "oldest", "paused",
                 "pending", "pooled", "served", "started")  # fmt: skip

    def __init__(self, lane: int, deadline: float, age: int) -> None:
        self.lane = lane
        self.deadline = deadline
        self.age = age
        self.backlog = 0
        self.group: Group | None = None
        self.pending: deque[tuple[Chunk, int]] = deque()
        self.oldest: deque[Item] = deque()
        self.pooled = 0
        self.served = 0.0
        self.paused = False
        self.started = 0.0
        self.batches = 0
        self.compute_us = 0

    def turn(self) -> tuple[float, int]:
        """Who is next: least served first, then oldest first."""
        return self.served, self.age


class Chunk(Answered):
    """Texts that came together (one BATCH frame, or the one text of a scalar call).

    `vectors[i]` is the text's vector once it is there; `errors` says why there is none.
    """

    __slots__ = ("columns", "errors", "job", "left", "seq", "taken", "texts", "tokens", "vectors")

    vectors: list[memoryview | bytes | None]
    tokens: list[int]

    def __init__(self, job: Job, seq: int, texts: Sequence[bytes | None]) -> None:
        self.job = job
        self.seq = seq
        self.texts = texts
        n = len(texts)
        self.vectors = [None] * n
        self.tokens = [0] * n
        self.errors = {}
        self.columns: Sequence[Sequence[bytes | None]] = ()
        self.taken = bytearray(n)
        self.left = n


class Group:
    """The requests of one lane with equal options: only these may share a batch."""

    __slots__ = ("jobs", "options", "pool")

    def __init__(self, options: bytes) -> None:
        self.options = options
        self.jobs: dict[Job, None] = {}
        self.pool: list[Item] = []

    def fill(self, budget: int, cost_of: Callable[[int], int], next_age: Callable[[], int]) -> None:
        """Let each request have up to its quota in the pool."""
        quota = max(budget, _WINDOW * budget // len(self.jobs))
        added: list[Item] = []
        for job in self.jobs:
            share = job.share
            if share.pending and share.pooled < quota and not share.paused:
                _pool(share, quota, cost_of, next_age, added)
        if added:
            self.pool += added
            self.pool.sort()

    def anchor(self) -> Share | None:
        """The request that has been served least, of those with texts in the pool."""
        best: Share | None = None
        for job in self.jobs:
            share = job.share
            oldest = share.oldest
            while oldest and oldest[0][2].taken[oldest[0][3]]:
                oldest.popleft()
            if oldest and not share.paused and (best is None or share.turn() < best.turn()):
                best = share
        return best

    def cut(self, anchor: Item, budget: int) -> list[Item]:
        """Take the anchor and its nearest neighbours in length out of the pool."""
        pool = self.pool
        low = bisect_left(pool, anchor)
        high = low + 1
        cost = anchor[0]
        size = _size(anchor)
        n = len(pool)
        while high - low < _MAX_TEXTS:
            below = pool[low - 1] if low else None
            above = pool[high] if high < n else None
            if above is not None and (below is None or above[0] - anchor[0] <= anchor[0] - below[0]):
                item, down = above, False
            elif below is not None:
                item, down = below, True
            else:
                break
            cost += item[0]
            size += _size(item)
            if cost > budget or size > _MAX_BYTES:
                break
            low, high = (low - 1, high) if down else (low, high + 1)
        taken = pool[low:high]
        del pool[low:high]
        return self._without_paused(taken)

    def _without_paused(self, taken: list[Item]) -> list[Item]:
        items = []
        for item in taken:
            chunk = item[2]
            share = chunk.job.share
            if share.paused:
                self.put_back((item,))
                continue
            chunk.taken[item[3]] = 1
            share.pooled -= item[0]
            share.served += item[0]
            items.append(item)
        return items

    def put_back(self, items: Iterable[Item]) -> None:
        self.pool += items
        self.pool.sort()


def _size(item: Item) -> int:
    text = item[2].texts[item[3]]
    return len(text) if text is not None else 0


def _pool(
    share: Share, quota: int, cost_of: Callable[[int], int], next_age: Callable[[], int], added: list[Item]
) -> None:
    """Move texts from `pending` to `added` until the quota is reached."""
    while share.pending and share.pooled < quota and len(share.oldest) < _MAX_POOLED:
        chunk, start = share.pending.popleft()
        texts = chunk.texts
        for i in range(start, len(texts)):
            text = texts[i]
            if text is None:
                continue
            item = (cost_of(len(text)), next_age(), chunk, i)
            added.append(item)
            share.oldest.append(item)
            share.pooled += item[0]
            if share.pooled >= quota or len(share.oldest) >= _MAX_POOLED:
                share.pending.appendleft((chunk, i + 1))
                break
