"""Which texts go to the engine next: two lanes, fair shares, batches cut by compute time.

One `Queue` per model, in front of its instances. Requests hand in chunks of texts; each
keeps a window of its oldest texts in a pool that is sorted by length. A batch is anchored at
the oldest text of the request that was served least, and widened to its neighbours in length
until it would take about `batch_ms` of compute, as measured. Interactive goes before bulk;
while the engines compute, the next bulk batch is made ready, but it is not sent before one
of them is free, so that an interactive text can still go first. Nothing here knows sockets,
verbs or how a worker is kept alive.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from pgannex_wire import WireError

from pgannex_server.workers.pipe import Result, pack_embed

INTERACTIVE, BULK = 0, 1
LANES = ("interactive", "bulk")

_WINDOW = 8
"""The pool holds texts for about this many batches: enough to find neighbours in length."""
_FIRST_BUDGET = 1024
_MIN_BUDGET = 64
_MAX_TEXTS = 4096
_MAX_BYTES = 16 << 20
_MAX_GROUPS = 64
_DECAY = 0.8

Item = tuple[int, int, "Chunk", int]
"""(estimated tokens, age, chunk, index in the chunk); ages are unique, so items sort."""


class Job(Protocol):
    """A request as the queue sees it: `Share` keeps the queue's own notes about it."""

    share: Share

    def deliver(self, chunk: Chunk, indexes: list[int]) -> None:
        """These texts of the chunk now have vectors or errors."""

    def fail(self, error: WireError) -> None:
        """The request is lost."""


class Share:
    """The queue's notes on one request."""

    __slots__ = ("age", "batches", "compute_us", "deadline", "group", "lane", "oldest", "paused", "pending",
                 "pooled", "served", "started")  # fmt: skip

    def __init__(self, lane: int, deadline: float, age: int) -> None:
        self.lane = lane
        self.deadline = deadline
        self.age = age
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


class Chunk:
    """Texts that came together (one BATCH frame, or the one text of a scalar call).

    `vectors[i]` is the text's vector once it is there; `errors` says why there is none.
    """

    __slots__ = ("errors", "job", "left", "seq", "taken", "texts", "tokens", "vectors")

    def __init__(self, job: Job, seq: int, texts: Sequence[bytes | None]) -> None:
        self.job = job
        self.seq = seq
        self.texts = texts
        n = len(texts)
        self.vectors: list[memoryview | bytes | None] = [None] * n
        self.tokens = [0] * n
        self.errors: dict[int, WireError] = {}
        self.taken = bytearray(n)
        self.left = n


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


class Instance(Protocol):
    """Something that computes one batch at a time and then calls `Queue.done` or `Queue.lost`."""

    def compute(self, batch: Batch) -> None: ...

    def linger(self) -> None:
        """Wait for the result for some microseconds, if it is likely to come that soon."""


class Speed:
    """How fast the engine is, and how many tokens a byte of text is: both learnt as it works."""

    def __init__(self, batch_ms: float) -> None:
        self.target_s = batch_ms / 1000
        self.tokens_per_byte = 0.25
        self.max_tokens = 512
        self._cost = 0.0
        self._seconds = 0.0
        self.budget = _FIRST_BUDGET

    def cost(self, size: int) -> int:
        """The estimated tokens of a text of `size` bytes, special tokens included."""
        estimate = 2 + int(size * self.tokens_per_byte)
        return estimate if estimate < self.max_tokens else self.max_tokens

    def learn(self, cost: int, seconds: float, tokens: int, size: int) -> None:
        """A batch took `seconds`. Large batches weigh more: they show the engine's real pace."""
        self._cost = self._cost * _DECAY + cost
        self._seconds = self._seconds * _DECAY + seconds
        if self._seconds > 0:
            self.budget = max(_MIN_BUDGET, min(1 << 20, int(self.target_s * self._cost / self._seconds)))
        if size >= 256:
            seen = min(2.0, max(0.02, tokens / size))
            self.tokens_per_byte += 0.1 * (seen - self.tokens_per_byte)

    def seconds_for(self, cost: int) -> float:
        """How long `cost` tokens would take, 0.1 s where nothing was measured yet."""
        return cost * self._seconds / self._cost if self._cost > 0 else 0.1


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
    while share.pending and share.pooled < quota:
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
            if share.pooled >= quota:
                share.pending.appendleft((chunk, i + 1))
                break


class Queue:
    """All requests that wait for one model. `wanted()` is called when work comes and no
    instance is free, `defer(callback)` runs a callback soon, `now()` is time.monotonic."""

    def __init__(
        self,
        batch_ms: float,
        now: Callable[[], float],
        defer: Callable[[Callable[[], None]], object],
        wanted: Callable[[], None],
    ) -> None:
        self.speed = Speed(batch_ms)
        self.idle: list[Instance] = []
        self.jobs: dict[Job, None] = {}
        self._now = now
        self._defer = defer
        self._wanted = wanted
        self._lanes: tuple[dict[bytes, Group], dict[bytes, Group]] = ({}, {})
        self._requests = [0, 0]
        self._clock = [0.0, 0.0]
        self._prepared: Batch | None = None
        self._preparing = False
        self._age = 0

    # -- requests ---------------------------------------------------------------------

    def join(self, job: Job, options: bytes, lane: int, deadline: float) -> Share:
        """A request enters; `submit` brings its texts."""
        self._age += 1
        share = Share(lane, deadline, self._age)
        share.group = group = self._lanes[lane].get(options) or self._new_group(lane, options)
        self._requests[lane] += 1
        share.served = self._clock[lane]
        job.share = share
        group.jobs[job] = None
        self.jobs[job] = None
        return share

    def leave(self, job: Job) -> None:
        """The request is done, lost or cancelled: forget all that is not computing yet."""
        if job not in self.jobs:
            return
        del self.jobs[job]
        share = job.share
        group = share.group
        assert group is not None
        del group.jobs[job]
        if share.pooled:
            group.pool = [item for item in group.pool if item[2].job is not job]
        if self._prepared is not None and any(item[2].job is job for item in self._prepared.items):
            self._unprepare(job)
        share.pending.clear()
        share.oldest.clear()
        self._requests[share.lane] -= 1

    def rejoin(self, job: Job, options: bytes) -> None:
        """The request's options became known later than the request: nothing was submitted yet."""
        share = job.share
        self.leave(job)
        age = self.join(job, options, share.lane, share.deadline)
        age.age = share.age

    def submit(self, chunk: Chunk) -> None:
        """Texts of a request that has joined. May call `deliver` of others, never of its own."""
        share = chunk.job.share
        if self.idle and self._send_whole(share, chunk):
            return
        share.pending.append((chunk, 0))
        if self.idle:
            self.pump()
        else:
            self._wanted()
            if share.lane == BULK:
                self._prepare_soon()

    def ahead(self, job: Job) -> int:
        """Requests that entered the same or a faster lane before this one."""
        age, lane = job.share.age, job.share.lane
        return sum(1 for other in self.jobs if other.share.lane <= lane and other.share.age < age)

    def wait_s(self) -> float:
        """An estimate of how long what waits now will take."""
        cost = sum(item[0] for groups in self._lanes for group in groups.values() for item in group.pool)
        return max(0.1, self.speed.seconds_for(cost))

    def expire(self, now: float) -> None:
        """Fail the requests whose deadline has passed; what is queued of them is dropped."""
        late = [job for job in self.jobs if 0 < job.share.deadline <= now]
        for job in late:
            job.fail(WireError("deadline", "the request was not done before its deadline"))

    def wake(self) -> None:
        """Something changed (a resumed request, a new instance): look for work."""
        if self.idle:
            self.pump()
        else:
            self._prepare_soon()

    # -- instances --------------------------------------------------------------------

    def free(self, instance: Instance) -> None:
        """An instance is ready for work."""
        self.idle.append(instance)
        self.pump()

    def gone(self, instance: Instance) -> None:
        """An instance takes no work any more."""
        if instance in self.idle:
            self.idle.remove(instance)

    def pump(self) -> None:
        """Give every idle instance a batch, as long as there is work."""
        while self.idle:
            batch = self._next()
            if batch is None:
                return
            self._send(self.idle.pop(), batch)

    def done(self, instance: Instance, batch: Batch, result: Result, more: bool = True) -> None:
        """The instance computed `batch`: it gets its next one before anything else is done.

        Without `more` the instance is about to leave and gets none.
        """
        following = self._next() if more else None
        if following is not None:
            self._send(instance, following)
        elif more:
            self.idle.append(instance)
        self._learn(batch, result)
        route(batch, result)

    def lost(self, batch: Batch, error: WireError) -> None:
        """The batch failed as a whole: so do the requests that have texts in it."""
        for job in {item[2].job: None for item in batch.items}:
            if job in self.jobs:
                job.fail(error)

    # -- inside -----------------------------------------------------------------------

    def _new_group(self, lane: int, options: bytes) -> Group:
        groups = self._lanes[lane]
        if len(groups) >= _MAX_GROUPS:
            for empty in [key for key, group in groups.items() if not group.jobs]:
                del groups[empty]
        group = groups[options] = Group(options)
        return group

    def _send(self, instance: Instance, batch: Batch) -> None:
        batch.sent = self._now()
        instance.compute(batch)
        if self._requests[BULK]:
            self._prepare_soon()

    def _send_whole(self, share: Share, chunk: Chunk) -> bool:
        """An instance is idle, so nothing waits: a chunk that fits one batch goes at once."""
        texts = chunk.texts
        if len(texts) != 1 or texts[0] is None or share.paused or share.group is None:
            return False
        cost = self.speed.cost(len(texts[0]))
        self._age += 1
        chunk.taken[0] = 1
        share.served += cost
        batch = Batch(share.lane, share.group.options, [(cost, self._age, chunk, 0)])
        instance = self.idle.pop()
        batch.sent = now = self._now()
        if share.started == 0.0:
            share.started = now
        instance.compute(batch)
        if len(self.jobs) == 1:
            # Nobody else waits: a quick engine's answer may be awaited here and now.
            instance.linger()
        return True

    def _next(self) -> Batch | None:
        batch = self._cut(INTERACTIVE) if self._requests[INTERACTIVE] else None
        if batch is not None:
            return batch
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            return prepared
        return self._cut(BULK) if self._requests[BULK] else None

    def _cut(self, lane: int) -> Batch | None:
        best: Share | None = None
        for group in self._lanes[lane].values():
            if not group.jobs:
                continue
            group.fill(self.speed.budget, self.speed.cost, self._next_age)
            share = group.anchor() if group.pool else None
            if share is not None and (best is None or share.turn() < best.turn()):
                best = share
        if best is None or best.group is None:
            return None
        self._clock[lane] = max(self._clock[lane], best.served)
        group = best.group
        items = group.cut(best.oldest[0], self.speed.budget)
        now = 0.0
        for item in items:
            share = item[2].job.share
            if share.started == 0.0:
                now = now or self._now()
                share.started = now
        return Batch(lane, group.options, items)

    def _next_age(self) -> int:
        self._age += 1
        return self._age

    def _prepare_soon(self) -> None:
        if not self._preparing and self._prepared is None:
            self._preparing = True
            self._defer(self._prepare)

    def _prepare(self) -> None:
        self._preparing = False
        if self._prepared is None and not self.idle and self._requests[BULK]:
            self._prepared = self._cut(BULK)

    def _unprepare(self, leaver: Job) -> None:
        """Put a prepared batch's other texts back."""
        batch, self._prepared = self._prepared, None
        assert batch is not None
        for item in batch.items:
            chunk = item[2]
            job = chunk.job
            if job is leaver or job not in self.jobs:
                continue
            share = job.share
            assert share.group is not None
            chunk.taken[item[3]] = 0
            share.pooled += item[0]
            share.served -= item[0]
            share.oldest.appendleft(item)
            share.group.put_back((item,))
        self._prepare_soon()

    def _learn(self, batch: Batch, result: Result) -> None:
        tokens = result.tokens
        total = tokens[0] if len(tokens) == 1 else sum(tokens)
        self.speed.learn(batch.cost, result.compute_ns / 1e9, total, batch.size)


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
