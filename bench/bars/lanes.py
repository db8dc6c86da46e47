"""Interactive before bulk: the p99 of one embed while a bulk embed runs, and what the bulk embed keeps."""

from __future__ import annotations

import threading
import time

from bench.bars.bulk import ROWS
from bench.measure import Measurement, median, percentile
from bench.target import Target

PAUSE = 0.02
"""Seconds between two single calls: a person or an application, not a load generator."""


def lanes(target: Target) -> list[Measurement]:
    model = target.models.get("openvino") or target.models["torch"]
    idle = _singles(target, model, seconds=5)
    undisturbed = median([_bulk(target, model) for _ in range(3)])
    done = threading.Event()
    rates: list[float] = []

    def bulk() -> None:
        try:
            rates.extend(_bulk(target, model) for _ in range(8))
        finally:
            done.set()

    worker = threading.Thread(target=bulk)
    worker.start()
    busy = _singles(target, model, until=done)
    worker.join()
    p50, p99 = percentile(idle, 0.5), percentile(busy, 0.99)
    note = f"idle p50 {p50:.1f} ms, p99 under bulk {p99:.1f} ms, {len(busy)} calls"
    kept = median(rates) / undisturbed
    return [
        Measurement(
            "p99 of a single embed under bulk, over idle p50", p99 - p50, "ms", "at most", 75.0, note
        ),
        Measurement(
            "bulk keeps of its undisturbed speed", kept, "×", "at least", 0.85, f"{undisturbed:.0f}/s alone"
        ),
    ]


def _bulk(target: Target, model: str) -> float:
    with target.connect() as db:
        start = time.perf_counter()
        row = db.execute(ROWS, (model,)).fetchone()
        assert row is not None and row[0] == row[1]
        return int(str(row[0])) / (time.perf_counter() - start)


def _singles(
    target: Target, model: str, *, seconds: float = 600.0, until: threading.Event | None = None
) -> list[float]:
    times: list[float] = []
    stop = time.monotonic() + seconds
    with target.connect() as db:
        while time.monotonic() < stop and not (until and until.is_set()):
            start = time.perf_counter()
            db.execute(
                "SELECT pgml.embed(%s, 'how do I cancel a query?')", (model,), binary=True, prepare=True
            ).fetchall()
            times.append((time.perf_counter() - start) * 1e3)
            time.sleep(PAUSE)
    return times[5:]
