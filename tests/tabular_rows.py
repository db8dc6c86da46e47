"""Rows for the tests of fitting: column blocks from numpy arrays, specifications, a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgannex_server.tabular.columns import Collector, Table, for_fit
from pgannex_server.tabular.spec import TrainSpec
from pgannex_wire.values import FIXED, RawColumn, pack_texts

Array = NDArray[Any]

_TYPES = {"f8": "float8", "f4": "float4", "i8": "int8", "i4": "int4", "i2": "int2", "b1": "bool"}


class Told:
    """A report that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[float, str]] = []

    def info(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, fraction: float, text: str) -> None:
        self.steps.append((fraction, text))


def type_of(values: Array | Sequence[str | None]) -> str:
    if not isinstance(values, np.ndarray):
        return "text"
    return _TYPES[values.dtype.kind + str(values.dtype.itemsize)]


def raw_of(values: Array | Sequence[str | None], nulls: Array | None = None) -> RawColumn:
    """As the database would send it."""
    if not isinstance(values, np.ndarray):
        return pack_texts(values)
    cells = values.astype(values.dtype.newbyteorder("<"))
    bitmap = b"" if nulls is None else np.packbits(nulls, bitorder="little").tobytes()
    if nulls is not None:
        cells = np.where(nulls, np.zeros(1, cells.dtype), cells)
    return RawColumn(FIXED, bytes((values.dtype.itemsize, nulls is not None)) + bitmap + cells.tobytes())


def features_of(matrix: Array) -> dict[str, Array]:
    return {f"x{at}": np.ascontiguousarray(matrix[:, at]) for at in range(matrix.shape[1])}


def described(columns: Mapping[str, Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "pg_type": type_of(values),
            "nullable": True,
            "label": name in labels,
            "position": at,
            "array": False,
        }
        for at, (name, values) in enumerate(columns.items(), 1)
    ]


def table_of(
    columns: Mapping[str, Any],
    labels: Sequence[str] = (),
    batch: int = 1000,
    nulls: Mapping[str, Array] | None = None,
    spec: TrainSpec | None = None,
) -> Table:
    """With `spec` as a fit would collect them, in a grid where it would."""
    collector = Collector(described(columns, labels)) if spec is None else for_fit(spec)
    nrows = len(next(iter(columns.values())))
    for at in range(0, nrows, batch):
        part = slice(at, at + batch)
        collector.feed(
            min(batch, nrows - at),
            [
                raw_of(values[part], nulls[name][part] if nulls and name in nulls else None)
                for name, values in columns.items()
            ],
        )
    return collector.finish()


def spec_of(
    columns: Mapping[str, Any], labels: Sequence[str], task: str, algorithm: str = "linear", **more: Any
) -> TrainSpec:
    call = {
        "project": "p",
        "task": task,
        "algorithm": algorithm,
        "columns": described(columns, labels),
        "joint": len(labels) > 1,
        **more,
    }
    return TrainSpec.parse(json.dumps(call))
