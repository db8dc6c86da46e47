"""What EXPLAIN says about a scan: verb and model, and after ANALYZE what it cost.

Multicorn calls one hook for both and does not say which it is. The figures are there only
while a scan of the statement has run and not ended, which is the case under ANALYZE alone.
"""

from __future__ import annotations

from pgannex_wire.message import End

from pgannex_fdw.options import TableSpec
from pgannex_fdw.plan import ScanPlan


class Figures:
    """Sums over the finished requests of the running statement on one table."""

    __slots__ = ("batches", "compute_us", "engine", "queue_us", "requests", "rows", "tokens")

    def __init__(self) -> None:
        self.requests = self.rows = self.tokens = self.batches = self.queue_us = self.compute_us = 0
        self.engine = ""

    def add(self, end: End | None) -> None:
        if end is None:
            return
        self.requests += 1
        self.rows += end.rows
        self.tokens += end.tokens
        self.batches += end.batches
        self.queue_us += end.queue_us
        self.compute_us += end.compute_us
        self.engine = end.engine


def lines(spec: TableSpec, scan: ScanPlan | None, figures: Figures) -> list[str]:
    """The lines for one scan; `scan` is None where the quals could not be read."""
    text = [f"Verb: {spec.verb}"]
    if scan is not None:
        text += _inputs(spec, scan)
    if figures.requests:
        text += [
            f"Engine: {figures.engine}",
            f"Requests: {figures.requests}  Rows: {figures.rows}",
            f"Batches: {figures.batches}  Tokens: {figures.tokens}",
            f"Queue Time: {figures.queue_us / 1000:.3f} ms",
            f"Compute Time: {figures.compute_us / 1000:.3f} ms",
        ]
    return text


def _inputs(spec: TableSpec, scan: ScanPlan) -> list[str]:
    text = []
    if spec.model_column:
        text.append(f"Model: {scan.model or '(none)'}")
    if scan.batch is not None:
        text.append(f"Batch: {scan.batch.name} ({len(scan.elements)} elements)")
    if scan.missing:
        text.append(f"Missing: {', '.join(scan.missing)}")
    return text
