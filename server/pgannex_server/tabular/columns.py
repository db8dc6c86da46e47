"""The rows of a fit, column by column, as they arrive: `Collector` and the `Table` it becomes.

Which question it answers: where a million rows are while they are on their way, without being
held twice. A column is a list of arrays, one per batch, most of them views of the bytes as they
came; `preprocessing` takes them batch by batch and lets each go. What a value means is
`cells.py`. The same rows in other batches give the same table and the same `sha256`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError
from pgannex_wire.values import FIXED, RawColumn, split_values

from pgannex_server.tabular.cells import Array, Cells, Kind, Mask, decode, kind_of, mismatched
from pgannex_server.tabular.spec import Column

Rows = NDArray[np.intp]


@dataclass(slots=True)
class Series:
    """One column. A category's values are int32 codes: positions in `categories`, -1 for NULL."""

    column: Column
    kind: Kind
    batches: list[Cells] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def size(self) -> int:
        """Numbers per row."""
        if self.kind != "array":
            return 1
        return next((int(b.values.shape[1]) for b in self.batches if b.values.shape[1]), 0)

    def values(self) -> Array:
        """All of them, in one array. Arrays: one row per row."""
        found = [batch.values for batch in self.batches]
        if self.kind == "array":
            found = [part for part in found if part.shape[1]] or [np.empty((0, 0))]
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else np.empty(0)

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

    def __getitem__(self, name: str) -> Series:
        return self.series[name]

    @property
    def features(self) -> list[Series]:
        return [found for found in self.series.values() if not found.column.label]

    @property
    def labels(self) -> list[Series]:
        return [found for found in self.series.values() if found.column.label]


class Collector:
    """Takes blocks. Without `digest` the rows' checksum is left out: prediction has no use for it."""

    def __init__(self, columns: Iterable[Column | Mapping[str, Any]], *, digest: bool = True) -> None:
        self._columns = [_Column(Column.of(found), digest) for found in columns]
        self._digest = digest
        self.sizes: list[int] = []

    def feed(self, nrows: int, raw_columns: Sequence[RawColumn]) -> None:
        """The next rows. Raises WireError where they do not fit the columns."""
        if len(raw_columns) != len(self._columns):
            raise WireError(
                "protocol_violation", f"a batch has {len(raw_columns)} columns, not {len(self._columns)}"
            )
        if not nrows:
            return
        for column, raw in zip(self._columns, raw_columns, strict=True):
            column.take(nrows, raw)
        self.sizes.append(nrows)

    def finish(self) -> Table:
        """What was collected."""
        whole = hashlib.sha256()
        for column in self._columns:
            column.finish()
            if self._digest:
                whole.update(column.digest())
        series = {column.series.name: column.series for column in self._columns}
        return Table(sum(self.sizes), self.sizes, series, whole.hexdigest() if self._digest else "")


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

    def take(self, nrows: int, raw: RawColumn) -> None:
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
        if series.column.label and cells.values.base is not None:
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
        elif series.kind == "array":
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
