"""A queue with engines that answer when told to, and a clock that stands still: no process, no wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pgannex_server.batch import Batch, Sent
from pgannex_server.batching import Queue
from pgannex_server.pool import Chunk, Job, Share
from pgannex_server.workers.pipe import Result
from pgannex_wire import WireError

OPTIONS = b"{}"


class Engine:
    """Takes batches; `finish` answers the one it holds. Speed: `rate` tokens a second."""

    def __init__(self, queue: Queue, rate: float = 20_000) -> None:
        self.queue = queue
        self.rate = rate
        self.batch: Batch | None = None
        self.taken: list[Batch] = []

    def compute(self, batch: Sent) -> None:
        assert isinstance(batch, Batch)
        assert self.batch is None, "an instance got a batch while it had one"
        self.batch = batch
        self.taken.append(batch)

    def linger(self) -> None:
        pass

    def finish(self) -> Batch:
        batch, self.batch = self.batch, None
        assert batch is not None
        n = len(batch.items)
        seconds = batch.cost / self.rate
        result = Result(1, int(seconds * 1e9), [item[0] for item in batch.items], bytes(4 * n), ())
        self.queue.done(self, batch, result)
        return batch


class Request(Job):
    """Remembers what it was given."""

    share: Share

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.delivered: list[tuple[int, int]] = []
        self.error: WireError | None = None

    def deliver(self, chunk: Chunk, indexes: list[int]) -> None:
        self.delivered += [(chunk.seq, i) for i in indexes]

    def fail(self, error: WireError) -> None:
        self.error = error


class Bench:
    """A queue, its engines, and the callbacks that the loop would run."""

    def __init__(self, engines: int = 1) -> None:
        self.deferred: list[Callable[[], None]] = []
        self.wanted = 0
        self.clock = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.queue = Queue(
            50, lambda: self.clock, self.deferred.append, self._want, lambda s, f: self.timers.append((s, f))
        )
        self.engines = [Engine(self.queue) for _ in range(engines)]

    def _want(self) -> None:
        self.wanted += 1

    def up(self) -> None:
        for engine in self.engines:
            self.queue.free(engine)

    def settle(self) -> None:
        while self.deferred:
            self.deferred.pop(0)()

    def join(self, lane: int, name: str = "", options: bytes = OPTIONS, deadline: float = 0.0) -> Request:
        request = Request(name)
        self.queue.join(request, options, lane, deadline)
        return request

    def submit(self, request: Request, *texts: bytes | None, seq: int = 0) -> Chunk:
        chunk = Chunk(request, seq, texts)
        self.queue.submit(chunk)
        return chunk

    def run_dry(self) -> Iterator[Batch]:
        while any(e.batch for e in self.engines):
            for engine in self.engines:
                if engine.batch is not None:
                    yield engine.finish()
                    self.settle()
