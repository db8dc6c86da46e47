"""What is learnt of each column from the training rows: encoders, statistics, the snapshot's JSON.

Which question it answers: how categories are numbered, what fills missing values, by what a
feature is scaled. Only training rows count, so that nothing of the held-out rows leaks into
the model. What an encoder then does is `preprocessing.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from pgannex_wire import WireError

from pgannex_server.tabular import statistics
from pgannex_server.tabular.cells import Array, Cells, Mask
from pgannex_server.tabular.columns import Series, Table
from pgannex_server.tabular.preprocessing import NULL, Encoder, missing_of, missing_values
from pgannex_server.tabular.sampling import Split
from pgannex_server.tabular.spec import Preprocessor, TrainSpec
from pgannex_server.tabular.statistics import Category, Statistics

_SCALABLE = ("mean", "median", "mode", "min", "max")


@dataclass(frozen=True, slots=True)
class Learnt:
    """`encoders` of the features, `columns` for pgml.snapshots.columns."""

    encoders: list[Encoder]
    columns: list[dict[str, Any]]


def learn(spec: TrainSpec, table: Table, split: Split, target: Array | None, threads: int) -> Learnt:
    """`target`: the first label's numbers, of the training rows."""
    train = ~split.test
    learners = [_Learner(spec, series, train, target) for series in table.series.values()]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        # Sorting lets go of the interpreter, and is nearly all of the work.
        list(pool.map(_Learner.run, learners))
    return Learnt([found.encoder for found in learners if not found.label], [f.to_json() for f in learners])


class _Learner:
    """One column."""

    def __init__(self, spec: TrainSpec, series: Series, train: Mask, target: Array | None) -> None:
        self.series = series
        self.label = series.column.label
        self.how = Preprocessor() if self.label else spec.preprocess.get(series.name, Preprocessor())
        self.encoder: Encoder
        self.statistics = Statistics()
        self._train = train
        self._target = target
        if series.kind != "category" and self.how.encode != "native":
            raise _senseless(series.name, self.how.encode)

    def run(self) -> None:
        if self.series.kind == "category":
            self._learn_category()
        else:
            self._learn_numbers()

    # -- numbers --------------------------------------------------------------------------------

    def _learn_numbers(self) -> None:
        series = self.series
        nulls = series.nulls()
        if series.grid is not None:
            values = series.part_of(series.grid.train)
            values = np.ascontiguousarray(values) if values.ndim == 1 else values
        else:
            values = series.values()[self._train]
        missing = missing_of(Cells(values, None if nulls is None else nulls[self._train]))
        found = values if missing is None else values[~missing]
        self.statistics = statistics.of(found, 0 if missing is None else int(np.count_nonzero(missing)))
        if not self.label:
            self._check_finite()
            self._make({})

    def _check_finite(self) -> None:
        found = self.statistics
        if np.isfinite(found.min) and np.isfinite(found.max):
            return
        raise WireError(
            "bad_argument",
            f"the training data in `{self.series.name}` contain infinite values",
            hint=f"leave such rows out: WHERE {self.series.name} is finite, or NULL with a preprocessor",
        )

    # -- categories -----------------------------------------------------------------------------

    def _learn_category(self) -> None:
        series, how = self.series, self.how
        codes = series.values()[self._train]
        members = np.bincount(codes + 1, minlength=len(series.categories) + 1)
        numbers = self._numbers(codes, members)
        described = {NULL: Category(numbers[NULL], int(members[0]))} if NULL in numbers else {}
        described |= {
            text: Category(numbers[text], int(members[at + 1]))
            for at, text in enumerate(series.categories)
            if text in numbers
        }
        table = np.array([*(numbers.get(t, np.nan) for t in series.categories), numbers.get(NULL, np.nan)])
        self.statistics = statistics.of(table[codes], 0, described)
        if not self.label:
            if how.encode in ("native", "one_hot", "ordinal") and how.impute == "mean":
                raise _no_mean(series.name)
            self._make(numbers)

    def _numbers(self, codes: Array, members: Array) -> dict[str, float]:
        """What each text becomes, of those that the training rows hold."""
        series, how = self.series, self.how
        there = [text for at, text in enumerate(series.categories) if members[at + 1]]
        if how.encode == "ordinal":
            return self._ordinal(there)
        if how.encode == "target" and self._target is not None:
            sums = np.bincount(codes + 1, weights=self._target, minlength=len(members))
            means = {
                text: float(sums[at + 1] / members[at + 1])
                for at, text in enumerate(series.categories)
                if members[at + 1]
            }
            return {NULL: float(self._target.mean()), **means}
        if how.encode == "target":
            raise WireError(
                "bad_argument",
                f'column "{series.name}" cannot be target-encoded: there is no label',
                hint="encode it as native or one_hot",
            )
        if how.encode == "one_hot":
            return {text: float(at) for at, text in enumerate([NULL, *there] if members[0] else there)}
        return {NULL: 0.0, **{text: float(at) for at, text in enumerate(there, 1)}}

    def _ordinal(self, there: Sequence[str]) -> dict[str, float]:
        places = {text: float(at) for at, text in enumerate(self.how.ordinal, 1)}
        unknown = [text for text in there if text not in places]
        if unknown:
            raise WireError(
                "bad_argument",
                f'value is not present in ordinal: "{unknown[0]}". Valid values: {list(self.how.ordinal)}',
                hint=f'list every value of column "{self.series.name}" in preprocess, in its order',
            )
        return places

    # -- the encoder ----------------------------------------------------------------------------

    def _make(self, numbers: Mapping[str, float]) -> None:
        series, how, found = self.series, self.how, self.statistics
        is_category = series.kind == "category"
        if found.missing and how.impute == "error" and how.encode != "one_hot":
            raise missing_values(series.name, found.missing)
        fill = None
        if how.impute == "zero":
            fill = 0.0
        elif how.impute != "error":
            fill = float(getattr(found, how.impute))
        scaled = how.encode != "one_hot"
        offset, factor = _scale(how.scale, found) if scaled else (0.0, 1.0)
        unseen = None
        if is_category and how.encode in ("native", "target"):
            unseen = numbers[NULL]
        self.encoder = Encoder(
            series.name,
            series.column.pg_type,
            series.kind,
            series.column.array,
            series.size,
            how,
            dict(numbers) if is_category else None,
            unseen,
            fill,
            offset,
            factor,
        )

    def to_json(self) -> dict[str, Any]:
        """An element of pgml.snapshots.columns."""
        column = self.series.column
        return {
            "name": column.name,
            "pg_type": column.pg_type,
            "nullable": column.nullable,
            "label": column.label,
            "position": column.position,
            "size": self.series.size,
            "array": column.array,
            "preprocessor": self.how.to_json(),
            "statistics": self.statistics.to_json(),
        }


def _scale(how: str, found: Statistics) -> tuple[float, float]:
    """(offset, factor); a column that does not vary is only moved."""
    if how == "standard":
        return found.mean, found.std_dev or 1.0
    if how == "min_max":
        return found.min, (found.max - found.min) or 1.0
    if how == "max_abs":
        return 0.0, found.max_abs or 1.0
    if how == "robust":
        return found.median, (found.ventiles[14] - found.ventiles[4]) or 1.0
    return 0.0, 1.0


def _senseless(name: str, encode: str) -> WireError:
    return WireError(
        "bad_argument",
        f"It does not make sense to {encode} encode a continuous variable: `{name}`",
        hint="leave encode out for columns of numbers, or cast the column to text",
    )


def _no_mean(name: str) -> WireError:
    return WireError(
        "bad_argument",
        f"the mean of the categories of `{name}` means nothing",
        hint='impute with mode, or encode it as {"encode": "target"}',
    )
