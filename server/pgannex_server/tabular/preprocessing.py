"""From columns to the matrix that an estimator takes, at training and at prediction alike.

Which question it answers: what number a cell becomes. An `Encoder` is what was learnt of one
column: codes of its categories, what missing values are filled with, by what it is scaled; it
goes into the artifact as JSON (`to_meta`) and comes back (`from_meta`). Order: encode, impute,
scale. How it is learnt from the training rows is `learning.py`; JSON rows become a table in
`json_rows.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pgannex_wire import WireError

from pgannex_server.tabular.cells import Array, Cells, Kind, Mask
from pgannex_server.tabular.columns import Series, Table
from pgannex_server.tabular.grid import Grid
from pgannex_server.tabular.sampling import Split
from pgannex_server.tabular.spec import Preprocessor

NULL = "__NULL__"


@dataclass(frozen=True, slots=True)
class Encoder:
    """One feature column. `values`: text to number (one_hot: to its place, from 0); `unseen`: the
    number of any other text.

    `fill`: what a missing value becomes, None where it may not be missing. A number x becomes
    (x - offset) / factor.
    """

    name: str
    pg_type: str
    kind: Kind
    array: bool
    size: int
    preprocessor: Preprocessor
    values: Mapping[str, float] | None = None
    unseen: float | None = None
    fill: float | None = None
    offset: float = 0.0
    factor: float = 1.0

    @property
    def one_hot(self) -> bool:
        return self.preprocessor.encode == "one_hot"

    @property
    def width(self) -> int:
        """Numbers per row in the matrix."""
        return len(self.values or ()) if self.one_hot else self.size

    @property
    def is_plain(self) -> bool:
        """Whether the matrix holds what the column holds."""
        return self.kind != "category" and self.offset == 0.0 and self.factor == 1.0

    def to_meta(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "pg_type": self.pg_type,
            "kind": self.kind,
            "size": self.size,
            "array": self.array,
            "preprocessor": self.preprocessor.to_json(),
            "values": None if self.values is None else dict(self.values),
            "unseen": self.unseen,
            "fill": self.fill,
            "offset": self.offset,
            "factor": self.factor,
        }

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Encoder:
        return cls(
            meta["name"],
            meta["pg_type"],
            meta["kind"],
            bool(meta["array"]),
            int(meta["size"]),
            Preprocessor.of(meta["name"], meta["preprocessor"]),
            meta["values"],
            meta["unseen"],
            meta["fill"],
            float(meta["offset"]),
            float(meta["factor"]),
        )

    # -- one batch ------------------------------------------------------------------------------

    def encode(self, cells: Cells, categories: Sequence[str], out: Array) -> None:
        """Write a batch into `out` (rows × width). Raises null_input for a missing value."""
        if self.kind == "category":
            self._encode_category(cells, categories, out)
            return
        values = cells.values
        if values.ndim == 2:
            if values.shape[1] != self.size:
                raise _other_size(self, values.shape[1])
            out[:] = values
        else:
            out[:, 0] = values
        self._impute(cells, out)
        self.scale(out)

    def finish(self, out: Array) -> None:
        """Fill and scale numbers in place; NaN is missing."""
        self._impute(Cells(out, None), out)
        self.scale(out)

    def _encode_category(self, cells: Cells, categories: Sequence[str], out: Array) -> None:
        codes = cells.values
        known = self.values or {}
        if self.one_hot:
            places = np.array([*(known.get(text, -1) for text in categories), known.get(NULL, -1)], dtype=int)
            found = places[codes]
            out[:] = 0
            rows = np.flatnonzero(found >= 0)
            out[rows, found[rows]] = 1
            return
        unseen = np.nan if self.unseen is None else self.unseen
        numbers = np.array([*(known.get(text, unseen) for text in categories), known.get(NULL, np.nan)])
        out[:, 0] = numbers[codes]
        self.finish(out)

    def _impute(self, cells: Cells, out: Array) -> None:
        missing = missing_of(cells)
        if missing is None:
            return
        if self.fill is None:
            raise missing_values(self.name, int(np.count_nonzero(missing)), code="null_input")
        out[missing] = self.fill

    def scale(self, out: Array) -> None:
        """Scale numbers in place."""
        if self.offset != 0.0:
            out -= self.offset
        if self.factor != 1.0:
            out /= self.factor


def missing_of(cells: Cells) -> Mask | None:
    """Where a number is missing: NULL, or NaN. Of arrays: element by element."""
    values, nulls = cells
    if values.dtype.kind != "f":
        return nulls
    if not len(values) or not np.isnan(values.sum()):
        return nulls
    found: Mask = np.isnan(values)
    if not found.any():
        return nulls
    if nulls is not None:
        found[nulls] = True
    return found


def missing_values(name: str, count: int, code: str = "bad_argument") -> WireError:
    return WireError(
        code,
        f"{count} missing values for {name}. You may provide a preprocessor to impute a value. "
        f'e.g: {{"{name}": {{"impute": "mean"}}}}',
        hint=f"impute with mean, median, mode, min, max or zero, or leave rows out where {name} IS NULL",
    )


def _other_size(encoder: Encoder, received: int) -> WireError:
    return WireError(
        "bad_argument",
        f"Mismatched array length for feature `{encoder.name}`. "
        f"Expected: {encoder.size} Received: {received}",
        hint="the array has as many elements as in training",
    )


# -- tables --------------------------------------------------------------------------------------


def width_of(encoders: Sequence[Encoder]) -> int:
    """Numbers per row of the matrix."""
    return sum(encoder.width for encoder in encoders)


def encoders_of(meta: Mapping[str, Any]) -> list[Encoder]:
    """The encoders in an artifact's metadata."""
    return [Encoder.from_meta(column) for column in meta["columns"]]


def matrix(encoders: Sequence[Encoder], table: Table, dtype: str = "float64") -> Array:
    """All rows of a table. Raises null_input where a value is missing and nothing fills it."""
    out = np.empty((table.nrows, width_of(encoders)), dtype=dtype)
    series = [table[encoder.name] for encoder in encoders]
    at = 0
    for batch, nrows in enumerate(table.sizes):
        _encode(encoders, series, batch, out[at : at + nrows])
        at += nrows
    return out


def split_matrix(
    encoders: Sequence[Encoder], table: Table, split: Split, dtype: str = "float64"
) -> tuple[Array, Array]:
    """(training rows, test rows). The table's columns are gone afterwards, batch by batch.

    So that at no time more than one batch is held twice. A grid, divided before, is the matrix itself.
    """
    if table.grid is not None:
        return _finished(encoders, table, table.grid, split)
    width = width_of(encoders)
    train = np.empty((split.train_rows, width), dtype=dtype)
    test = np.empty((split.test_rows, width), dtype=dtype)
    series = [table[encoder.name] for encoder in encoders]
    row = at_train = at_test = 0
    for batch, nrows in enumerate(table.sizes):
        held_out = split.test[row : row + nrows]
        count = int(np.count_nonzero(held_out))
        if count in (0, nrows):
            out, at = (test, at_test) if count else (train, at_train)
            _encode(encoders, series, batch, out[at : at + nrows])
        else:
            both = np.empty((nrows, width), dtype=dtype)
            _encode(encoders, series, batch, both)
            np.compress(held_out, both, axis=0, out=test[at_test : at_test + count])
            np.compress(~held_out, both, axis=0, out=train[at_train : at_train + nrows - count])
        row, at_test, at_train = row + nrows, at_test + count, at_train + nrows - count
        for found in series:
            found.batches[batch] = _GONE
    return train, test


def _finished(encoders: Sequence[Encoder], table: Table, grid: Grid, split: Split) -> tuple[Array, Array]:
    """Put the codes of texts into a grid, fill and scale: all in place."""
    for encoder in encoders:
        series = table[encoder.name]
        part = slice(series.at, series.at + series.width)
        if encoder.kind == "category":
            codes = series.values()
            for rows, out in ((~split.test, grid.train), (split.test, grid.test)):
                encoder.encode(Cells(codes[rows], None), series.categories, out[:, part])
            continue
        # What training rows may not lack they do not: learning has counted.
        if encoder.fill is None:
            encoder.scale(grid.train[:, part])
        else:
            encoder.finish(grid.train[:, part])
        encoder.finish(grid.test[:, part])
    return grid.train, grid.test


_GONE = Cells(np.empty(0), None)


def _encode(encoders: Sequence[Encoder], series: Sequence[Series], batch: int, out: Array) -> None:
    at = 0
    for encoder, found in zip(encoders, series, strict=True):
        encoder.encode(found.batches[batch], found.categories, out[:, at : at + encoder.width])
        at += encoder.width


def unusable(encoders: Sequence[Encoder], table: Table) -> dict[int, WireError]:
    """The rows that `matrix` would refuse, by position: a value is missing and nothing fills it."""
    found: dict[int, WireError] = {}
    for encoder in encoders:
        if encoder.fill is not None or encoder.one_hot:
            continue
        at = 0
        series = table[encoder.name]
        for cells in series.batches:
            for row in np.flatnonzero(_refused(encoder, cells, series.categories)).tolist():
                found.setdefault(at + row, missing_values(encoder.name, 1, code="null_input"))
            at += len(cells.values)
    return found


def _refused(encoder: Encoder, cells: Cells, categories: Sequence[str]) -> Mask:
    if encoder.kind == "category":
        out = np.empty((len(cells.values), 1))
        known, unseen = encoder.values or {}, np.nan if encoder.unseen is None else encoder.unseen
        numbers = np.array([*(known.get(text, unseen) for text in categories), known.get(NULL, np.nan)])
        out[:, 0] = numbers[cells.values]
        return np.isnan(out[:, 0])
    missing = missing_of(cells)
    if missing is None:
        return np.zeros(len(cells.values), dtype=bool)
    return missing if missing.ndim == 1 else np.asarray(missing.any(axis=1))
