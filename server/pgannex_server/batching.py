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

from collections.abc import Callable
from typing import Protocol

from pgannex_wire import WireError

from pgannex_server.batch import Alone, Batch, Sent
from pgannex_server.gather import Gather
from pgannex_server.pool import Chunk, Group, Job, Share
from pgannex_server.speed import Speed
from pgannex_server.workers.pipe import Result

INTERACTIVE, BULK = 0, 1
LANES = ("interactive", "bulk")

_MAX_GROUPS = 64
_BULK_TURN_S = 0.5
_TELLING_COST = 64
"""A single short text says nothing about an engine's pace in batches."""


class Instance(Protocol):
    """Something that computes one batch at a time and then calls `Queue.done` or `Queue.lost`."""

    def compute(self, batch: Sent) -> None: ...

    def linger(self) -> None:
        """Wait for the result for some microseconds, if it is likely to come that soon."""


class Queue:
    """All requests that wait for one model. `wanted()` is called when work comes and no
    instance is free, `defer(callback)` runs a callback soon, `later(seconds, callback)` then,
    `now()` is time.monotonic."""

    def __init__(
        self,
        batch_ms: float,
        now: Callable[[], float],
        defer: Callable[[Callable[[], None]], object],
        wanted: Callable[[], None],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self.speed = Speed(batch_ms)
        self.idle: list[Instance] = []
        self.jobs: dict[Job, None] = {}
        self.alone: dict[Alone, None] = {}
        self._now = now
        self._defer = defer
        self._wanted = wanted
        self._later = later
        self._gather = Gather()
        self._held: Instance | None = None
        self._holds = 0
        self._lanes: tuple[dict[bytes, Group], dict[bytes, Group]] = ({}, {})
        self._backlog = [0, 0]
        self._clock = [0.0, 0.0]
        self._bulk_since = 0.0
        self._prepared: Batch | None = None
        self._preparing = False
        self._age = 0

    # -- requests ---------------------------------------------------------------------

    def join(self, job: Job, options: bytes, lane: int, deadline: float) -> Share:
        """A request enters; `submit` brings its texts."""
        self._age += 1
        share = Share(lane, deadline, self._age)
        share.group = group = self._lanes[lane].get(options) or self._new_group(lane, options)
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
        self._backlog[share.lane] -= share.backlog
        share.backlog = 0

    def rejoin(self, job: Job, options: bytes) -> None:
        """The request's options became known later than the request: nothing was submitted yet."""
        before = job.share
        self.leave(job)
        share = self.join(job, options, before.lane, before.deadline)
        share.age, share.paused = before.age, before.paused

    def submit(self, chunk: Chunk) -> None:
        """Texts of a request that has joined. May call `deliver` of others, never of its own."""
        share = chunk.job.share
        if self.idle and self._send_whole(share, chunk):
            return
        share.pending.append((chunk, 0))
        count = len(chunk.texts) - chunk.texts.count(None)
        if share.lane == BULK and not self._backlog[BULK] and self._prepared is None:
            self._bulk_since = self._now()
        share.backlog += count
        self._backlog[share.lane] += count
        if self.idle:
            self.pump()
        elif self._held is not None:
            if self._backlog[INTERACTIVE] >= self._gather.target:
                self._release()
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
        late: list[Job | Alone] = [job for job in self.jobs if 0 < job.share.deadline <= now]
        late += [call for call in self.alone if 0 < call.deadline <= now]
        for request in late:
            request.fail(WireError("deadline", "the request was not done before its deadline"))

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
        elif instance is self._held:
            self._held = None

    def pump(self) -> None:
        """Give every idle instance a batch, as long as there is work."""
        while self.idle:
            batch = self._next()
            if batch is None:
                return
            self._send(self.idle.pop(), batch)

    def done(self, instance: Instance, batch: Sent, result: Result, more: bool = True) -> None:
        """The instance computed `batch`: it gets its next one before anything else is done.

        Without `more` the instance is about to leave and gets none.
        """
        if not (more and self._hold(instance, batch, result.compute_ns / 1e9)):
            following = self._next() if more else None
            if following is not None:
                self._send(instance, following)
            elif more:
                self.idle.append(instance)
        batch.deliver(result)
        if batch.cost >= _TELLING_COST:
            self.speed.learn(batch.cost, result.compute_ns / 1e9, result.tokens, batch.size)

    def send_alone(self, call: Alone) -> Instance:
        """An idle instance computes one text; there must be one. It is told to linger, or not,
        by the caller, who has books to keep while it computes."""
        instance = self.idle.pop()
        instance.compute(call)
        return instance

    # -- inside -----------------------------------------------------------------------

    def _hold(self, instance: Instance, batch: Sent, compute_s: float) -> bool:
        """Whether the instance waits for the callers of this batch to come back (gather.py)."""
        if self._held is not None or (isinstance(batch, Batch) and batch.lane == BULK):
            return False
        callers = len({item[2].job for item in batch.items}) if isinstance(batch, Batch) else 1
        seconds = self._gather.wish(callers, self._backlog[INTERACTIVE], compute_s)
        if not seconds or self._bulk_is_due():
            return False
        self._held = instance
        self._holds += 1
        hold = self._holds
        self._later(seconds, lambda: self._release() if hold == self._holds else None)
        return True

    def _release(self) -> None:
        """The hold is over: enough callers are back, or the time is up."""
        instance, self._held = self._held, None
        if instance is not None:
            self._gather.ended(self._backlog[INTERACTIVE])
            self.idle.append(instance)
            self.pump()

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
        if self._backlog[BULK]:
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
        if self._backlog[INTERACTIVE] and not self._bulk_is_due():
            batch = self._cut(INTERACTIVE)
            if batch is not None:
                return batch
        batch, self._prepared = self._prepared, None
        if self._backlog[BULK] or batch is not None:
            self._bulk_since = self._now()
            batch = batch or self._cut(BULK)
        if batch is None and self._backlog[INTERACTIVE]:
            batch = self._cut(INTERACTIVE)
        return batch

    def _bulk_is_due(self) -> bool:
        """Whether bulk work has been passed over for so long that interactive work waits once."""
        if not self._backlog[BULK] and self._prepared is None:
            return False
        return self._now() - self._bulk_since > _BULK_TURN_S

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
        self._backlog[lane] -= len(items)
        now = 0.0
        for item in items:
            share = item[2].job.share
            share.backlog -= 1
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
        if self._prepared is None and not self.idle and self._backlog[BULK]:
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
            share.backlog += 1
            self._backlog[batch.lane] += 1
            share.oldest.appendleft(item)
            share.group.put_back((item,))
        self._prepare_soon()
