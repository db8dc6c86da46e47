"""What is remembered of a column: the `statistics` of pgml.snapshots.columns.

Which question it answers: what do the training rows hold, and with what are missing values
filled and features scaled. Missing are NULL and NaN. The population's variance; the median is
the upper middle element; ventile k is the element k/20 of the way up. Everything comes from
one sort per column; of very many numbers the order is that of a sample. Numbers are those
that the algorithm gets: of one that computes in float32, rounded to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from pgannex_server.tabular.cells import Array

BINS: Final = 20
_SAMPLE: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Category:
    """`value`: what the text is encoded as; `members`: rows with it."""

    value: float
    members: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of the values that are not missing; 0 where there are none."""

    min: float = 0.0
    max: float = 0.0
    max_abs: float = 0.0
    mean: float = 0.0
    median: float = 0.0
    mode: float = 0.0
    variance: float = 0.0
    std_dev: float = 0.0
    missing: int = 0
    distinct: int = 0
    histogram: tuple[int, ...] = (0,) * BINS
    ventiles: tuple[float, ...] = (0.0,) * (BINS - 1)
    categories: Mapping[str, Category] | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__ if name != "categories"}
        found["histogram"], found["ventiles"] = list(self.histogram), list(self.ventiles)
        found["categories"] = self.categories and {
            text: {"value": c.value, "members": c.members} for text, c in self.categories.items()
        }
        return found


def of(values: Array, missing: int = 0, categories: Mapping[str, Category] | None = None) -> Statistics:
    """Of numbers, NULL left out already and counted in `missing`; NaN is left out here.

    Infinite values give infinite statistics: who trains refuses them.
    """
    is_whole = values.size <= _SAMPLE
    there = np.ascontiguousarray(values).reshape(-1) if is_whole else values
    if there.dtype == np.uint8:
        there = there.astype(np.int8)
    ordered = np.sort((there if is_whole else there[:: -(-there.size // _SAMPLE)]).reshape(-1))
    nans = 0
    if there.dtype.kind == "f":
        ordered = ordered[: int(np.searchsorted(ordered, np.nan, side="left"))]
        nans = there.size - ordered.size if is_whole else int(np.isnan(there).sum())
    if not ordered.size:
        return Statistics(missing=missing + nans, categories=categories)
    if nans:
        there = there[~np.isnan(there)]
    lowest, highest = float(there.min()), float(there.max())
    if not np.isfinite(lowest) or not np.isfinite(highest):
        largest = max(abs(lowest), abs(highest))
        return Statistics(lowest, highest, largest, missing=missing + nans, categories=categories)
    size = ordered.size
    distinct, mode = _runs(ordered)
    variance = float(there.var(dtype=np.float64))
    return Statistics(
        min=lowest,
        max=highest,
        max_abs=max(abs(lowest), abs(highest)),
        mean=float(there.mean(dtype=np.float64)),
        median=float(ordered[size // 2]),
        mode=mode,
        variance=variance,
        std_dev=variance**0.5,
        missing=missing + nans,
        distinct=distinct,
        histogram=_histogram(ordered, lowest, highest),
        ventiles=tuple(float(ordered[min(size - 1, size * k // BINS)]) for k in range(1, BINS)),
        categories=categories,
    )


def _runs(ordered: Array) -> tuple[int, float]:
    """(how many distinct values, the most frequent and of these the smallest)."""
    same = ordered[1:] == ordered[:-1]
    repeated = int(np.count_nonzero(same))
    distinct = len(ordered) - repeated
    if repeated in (0, len(ordered) - 1):
        return distinct, float(ordered[0])
    if repeated < distinct:
        # Few are repeated: a run of n equal values is one of n - 1 consecutive places.
        places = np.flatnonzero(same)
        starts = np.flatnonzero(np.diff(places, prepend=-2) != 1)
        at = int(np.diff(starts, append=len(places)).argmax())
        return distinct, float(ordered[places[starts[at]]])
    ends = np.flatnonzero(~same)
    lengths = np.diff(ends, prepend=-1, append=len(ordered) - 1)
    at = int(lengths.argmax())
    return len(ends) + 1, float(ordered[0] if at == 0 else ordered[ends[at - 1] + 1])


def _histogram(ordered: Array, lowest: float, highest: float) -> tuple[int, ...]:
    """Rows in each of 20 bins of one width; the last holds its upper end."""
    if lowest == highest:
        return (len(ordered),) + (0,) * (BINS - 1)
    edges = np.linspace(lowest, highest, BINS + 1)[1:-1]
    cuts = np.searchsorted(ordered, edges, side="left")
    counts = np.diff(cuts, prepend=0, append=len(ordered))
    return tuple(int(count) for count in counts)
