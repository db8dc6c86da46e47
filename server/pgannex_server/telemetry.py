"""Counters and gauges of the server, as plain numbers that cost nothing to keep.

Everything runs on one thread, so an addition is enough. The HTTP door renders them for
/metrics, the stat verbs show them in SQL; nothing in here knows either.
"""

from __future__ import annotations

import time
from bisect import bisect_left

BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
             5.0, 10.0, 30.0, 60.0)  # fmt: skip


class Histogram:
    """Counts per bucket: `counts[i]` are values up to `BUCKETS_S[i]`, the last one the rest."""

    __slots__ = ("count", "counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.count = 0
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.count += 1
        self.sum += seconds


class ModelCounters:
    """What one model did since the server started."""

    __slots__ = ("batches", "compute_seconds", "errors", "latency", "queue_seconds", "requests",
                 "restarts", "texts", "tokens")  # fmt: skip

    def __init__(self) -> None:
        self.requests = 0
        self.texts = 0
        self.tokens = 0
        self.batches = 0
        self.compute_seconds = 0.0
        self.queue_seconds = 0.0
        self.errors = 0
        self.restarts = 0
        self.latency = Histogram()

    @property
    def batch_fill(self) -> float:
        """Texts per batch, on average."""
        return self.texts / self.batches if self.batches else 0.0


class Telemetry:
    """What the whole server did. `errors` counts by code, `requests` by verb."""

    __slots__ = ("connections", "connections_total", "errors", "in_flight", "requests", "rows", "started",
                 "started_monotonic")  # fmt: skip

    def __init__(self) -> None:
        self.started = time.time()
        self.started_monotonic = time.monotonic()
        self.connections = 0
        self.connections_total = 0
        self.in_flight = 0
        self.rows = 0
        self.requests: dict[str, int] = {}
        self.errors: dict[str, int] = {}

    def failed(self, code: str) -> None:
        self.errors[code] = self.errors.get(code, 0) + 1
