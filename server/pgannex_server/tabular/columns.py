"""The rows of a fit, column by column, as they arrive: `Collector` and the `Table` it becomes.

Which question it answers: where a million rows are while they are on their way, without being
held twice. For a fit, features go into a grid (`grid.py`) batch by batch, and only labels and the
codes of texts stay series: lists of arrays, one per batch. Without a grid all columns are series,
most of them views of the bytes as they came. What a value means is `cells.py`. The same rows in
other batches give the same table and the same `sha256`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pgannex_wire import WireError
from pgannex_wire.values import FIXED, RawColumn, split_values

from pgannex_server.tabular.cells import Array, Cells, Kind, Mask, decode, kind_of, mismatched
from pgannex_server.tabular.grid import Grid
from pgannex_server.tabular.spec import Column, TrainSpec

_GRIDDED = ("regression", "classification", "clustering", "decomposition")


@dataclass(slots=True)
class Series:
    """One column. A category's values are int32 codes: positions in `categories`, -1 for NULL.

    Where `grid` is set, the numbers are the `width` columns of it from `at` on, NaN for NULL.
    """

    column: Column
    kind: Kind
    batches: list[Cells] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    grid: Grid | None = None
    at: int = 0
    width: int = 0

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def size(self) -> int:
        """Numbers per row."""
        if self.kind != "array":
            return 1
        if self.grid is not None:
            return self.width
        return next((int(b.values.shape[1]) for b in self.batches if b.values.shape[1]), 0)

    def values(self) -> Array:
        """All of them, in one array. Arrays: one row per row."""
        if self.grid is not None:
            return self.part_of(self.grid.rows())
        found = [batch.values for batch in self.batches]
        if self.kind == "array":
            found = [part for part in found if part.shape[1]] or [np.empty((0, 0))]
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else np.empty(0)

    def part_of(self, matrix: Array) -> Array:
        """This column's numbers in rows of the grid."""
        return matrix[:, self.at : self.at + self.width] if self.kind == "array" else matrix[:, self.at]

    def nulls(self) -> Mask | None:
        """Where NULL is, or None."""
        if all(batch.nulls is None for batch in self.batches):
            return None
        return np.concatenate(
            [np.zeros(len(b.values), dtype=bool) if b.nulls is None else b.nulls for b in self.batches]
        )


@dataclass(slots=True)
class Table:
    """Rows, as series of the same batches. `sizes`: rows per batch."""

    nrows: int
    sizes: list[int]
    series: dict[str, Series]
    sha256: str = ""
    grid: Grid | None = None

    def __getitem__(self, name: str) -> Series:
        return self.series[name]

    @property
    def features(self) -> list[Series]:
        return [found for found in self.series.values() if not found.column.label]

    @property
    def labels(self) -> list[Series]:
        return [found for found in self.series.values() if found.column.label]


def for_fit(spec: TrainSpec) -> Collector:
    """Features in a grid of what the algorithm computes in, where each has its place from the start."""
    widens = any(how.encode == "one_hot" for how in spec.preprocess.values())
    return Collector(spec.columns, grid="" if widens or spec.task not in _GRIDDED else spec.row.numbers)


class Collector:
    """Takes blocks. Without `digest` the rows' checksum is left out: prediction has no use for it.

    `grid`: the type of the features' numbers, which then go into a grid.
    """

    def __init__(
        self, columns: Iterable[Column | Mapping[str, Any]], *, digest: bool = True, grid: str = ""
    ) -> None:
        self._columns = [_Column(Column.of(found), digest) for found in columns]
        self._digest = digest
        self._dtype = grid
        self._grid: Grid | None = None
        self.sizes: list[int] = []

    def feed(self, nrows: int, raw_columns: Sequence[RawColumn]) -> None:
        """The next rows. Raises WireError where they do not fit the columns."""
        if len(raw_columns) != len(self._columns):
            raise WireError(
                "protocol_violation", f"a batch has {len(raw_columns)} columns, not {len(self._columns)}"
            )
        if not nrows:
            return
        cells = [column.take(nrows, raw) for column, raw in zip(self._columns, raw_columns, strict=True)]
        if self._dtype and not self.sizes:
            self._lay_out(cells)
        room = None if self._grid is None else self._grid.room(nrows)
        for column, found in zip(self._columns, cells, strict=True):
            column.keep(found, room)
        self.sizes.append(nrows)

    def _lay_out(self, cells: Sequence[Cells]) -> None:
        """Give each feature its place in the grid; no grid where an array's size is not known yet."""
        places: list[tuple[Series, int]] = []
        for column, found in zip(self._columns, cells, strict=True):
            if not column.series.column.label:
                places.append((column.series, found.values.shape[1] if found.values.ndim == 2 else 1))
        if not places or not all(width for _series, width in places):
            return
        self._grid = Grid(sum(width for _series, width in places), self._dtype)
        at = 0
        for series, width in places:
            series.at, series.width = at, width
            if series.kind != "category":
                series.grid = self._grid
            at += width

    def finish(self) -> Table:
        """What was collected."""
        whole = hashlib.sha256()
        for column in self._columns:
            column.finish()
            if self._digest:
                whole.update(column.digest())
        series = {column.series.name: column.series for column in self._columns}
        digest = whole.hexdigest() if self._digest else ""
        return Table(sum(self.sizes), self.sizes, series, digest, self._grid)


class _Column:
    """A series on its way."""

    def __init__(self, column: Column, digest: bool) -> None:
        pg_type = column.pg_type.removesuffix("[]").removeprefix("_")
        self.series = Series(column, kind_of(pg_type, column.array))
        self._pg_type = pg_type
        self._codes: dict[bytes, int] = {}
        self._sha = hashlib.sha256() if digest else None
        self._nulls_sha = hashlib.sha256()
        self._rows = 0

    def take(self, nrows: int, raw: RawColumn) -> Cells:
        """The next cells, checked and counted into the checksum."""
        series = self.series
        if series.kind == "category":
            cells = self._category(nrows, raw)
        else:
            cells = decode(series.name, self._pg_type, series.kind, nrows, raw)
            if series.kind == "array":
                self._check_size(cells)
            if self._sha is not None:
                self._sha.update(np.ascontiguousarray(cells.values).data)
        if self._sha is not None and cells.nulls is not None:
            self._nulls_sha.update((np.flatnonzero(cells.nulls) + self._rows).data)
        self._rows += nrows
        return cells

    def keep(self, cells: Cells, room: Array | None) -> None:
        """Put them where they stay; `room`: their rows of the grid."""
        series = self.series
        if room is not None and series.grid is not None:
            part = series.part_of(room)
            part[:] = cells.values
            if cells.nulls is not None:
                part[cells.nulls] = np.nan
            return
        if (room is not None or series.column.label) and cells.values.base is not None:
            # A view would keep the whole batch when the features are gone.
            cells = Cells(cells.values.copy(), cells.nulls)
        series.batches.append(cells)

    def _check_size(self, cells: Cells) -> None:
        known, size = self.series.size, int(cells.values.shape[1])
        if size and known and size != known:
            raise mismatched(self.series.name, known, size)

    def _category(self, nrows: int, raw: RawColumn) -> Cells:
        if raw.encoding == FIXED:
            raise WireError(
                "bad_argument",
                f'Unhandled type for quantitative scalar column: {self.series.name} "{self._pg_type}"',
                hint="cast it to a number or to text",
            )
        codes = self._codes
        values = np.empty(nrows, dtype=np.int32)
        data = RawColumn(raw.encoding, bytes(raw.data))
        for at, text in enumerate(split_values(data, nrows)):
            values[at] = -1 if text is None else codes.setdefault(text, len(codes))
        if self._sha is not None:
            self._sha.update(data.data)
        nulls = values < 0
        return Cells(values, nulls if nulls.any() else None)

    def finish(self) -> None:
        """Codes by first sight become codes by order: other batches, and other rows first, change nothing."""
        series = self.series
        if series.kind == "category":
            try:
                texts = [text.decode() for text in self._codes]
            except UnicodeDecodeError as err:
                raise WireError("invalid_text", f'column "{series.name}" is not valid UTF-8') from err
            order = sorted(range(len(texts)), key=texts.__getitem__)
            series.categories = [texts[at] for at in order]
            ranks = np.empty(len(texts) + 1, dtype=np.int32)
            ranks[order] = np.arange(len(texts), dtype=np.int32)
            ranks[-1] = -1
            series.batches = [Cells(ranks[cells.values], cells.nulls) for cells in series.batches]
        elif series.kind == "array" and series.grid is None:
            size = series.size
            series.batches = [
                cells if cells.values.shape[1] == size else _missing(len(cells.values), size)
                for cells in series.batches
            ]

    def digest(self) -> bytes:
        column = self.series.column
        head = f"{column.name}\0{column.pg_type}\0{self._rows}\0".encode()
        values = self._sha.digest() if self._sha else b""
        return hashlib.sha256(head + values + self._nulls_sha.digest()).digest()


def _missing(nrows: int, size: int) -> Cells:
    """A batch of arrays that were all NULL."""
    return Cells(np.full((nrows, size), np.nan, dtype=np.float32), np.ones(nrows, dtype=bool))
