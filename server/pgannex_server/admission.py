"""Who may enter a model's queue: a bound on requests and on bytes, and nothing waits outside.

A full queue is answered at once with `overloaded` and an estimate of when to come again;
a request that is let in counts, with its texts, while they wait for the engine.
"""

from __future__ import annotations

from collections.abc import Callable

from pgannex_server.config import LimitsConfig
from pgannex_server.errors import Overloaded


class Admission:
    """The gate of one model. `requests` and `bytes` are what is inside now."""

    __slots__ = ("bytes", "model", "refused", "requests")

    def __init__(self, model: str) -> None:
        self.model = model
        self.requests = 0
        self.bytes = 0
        self.refused = 0

    def check(self, limits: LimitsConfig, wait_s: Callable[[], float]) -> None:
        """Raises Overloaded if the queue is full."""
        if self.requests >= limits.queue or self.bytes >= limits.queue_bytes:
            self.refused += 1
            raise Overloaded(self.model, self.requests, wait_s())

    def enter(self) -> None:
        self.requests += 1

    def leave(self) -> None:
        """A request waits no more, at least for now."""
        self.requests -= 1
