"""Rows as row_to_json writes them, as a table like that of a training: `table_of`.

Which question it answers: which value of a row belongs to which feature. A row that has every
feature's name is taken by name, whatever else it has; any other, such as ROW(…), by position.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pgannex_wire import WireError

from pgannex_server.tabular.cells import Array, Cells, days_of_text, mismatched, null_in_array
from pgannex_server.tabular.columns import Series, Table
from pgannex_server.tabular.preprocessing import Encoder
from pgannex_server.tabular.spec import Column


def table_of(encoders: Sequence[Encoder], texts: Sequence[str]) -> Table:
    """A table of one batch. Raises bad_argument where a row does not fit the features."""
    rows = [_values(encoders, text) for text in texts]
    series = {
        encoder.name: _series(encoder, [row[at] for row in rows]) for at, encoder in enumerate(encoders)
    }
    return Table(len(rows), [len(rows)], series)


def _values(encoders: Sequence[Encoder], text: str) -> list[Any]:
    try:
        row = json.loads(text)
    except ValueError as err:
        raise WireError("bad_argument", f"a row is no JSON: {err}", hint="pass a row: ROW(…)") from err
    if isinstance(row, Mapping):
        if all(encoder.name in row for encoder in encoders):
            return [row[encoder.name] for encoder in encoders]
        row = list(row.values())
    elif not isinstance(row, list):
        row = [row]
    if len(row) != len(encoders):
        raise WireError(
            "bad_argument",
            f"the model has {len(encoders)} columns, the row {len(row)}",
            hint=f"a row with these columns, by name or in this order: {', '.join(e.name for e in encoders)}",
        )
    return row


def _series(encoder: Encoder, found: Sequence[Any]) -> Series:
    column = Column(encoder.name, encoder.pg_type, array=encoder.array)
    series = Series(column, encoder.kind)
    nulls = np.array([value is None for value in found], dtype=bool)
    try:
        if encoder.kind == "category":
            values: Array = _codes(series, found)
        elif encoder.kind == "array":
            values = np.stack([_array(encoder, value) for value in found])
        else:
            values = np.array([_number(encoder, value) for value in found], dtype=np.float64)
    except (TypeError, ValueError) as err:
        raise WireError(
            "bad_argument",
            f"column {encoder.name} is a {encoder.pg_type}, and its value in the row is not: {err}",
            hint="rows are matched by name, or by position where names differ",
        ) from err
    series.batches.append(Cells(values, nulls if nulls.any() else None))
    return series


def _codes(series: Series, found: Sequence[Any]) -> Array:
    texts = [value if isinstance(value, str) or value is None else json.dumps(value) for value in found]
    series.categories = sorted({text for text in texts if text is not None})
    places = {text: at for at, text in enumerate(series.categories)}
    return np.array([-1 if text is None else places[text] for text in texts], dtype=np.int32)


def _number(encoder: Encoder, value: Any) -> float:
    if value is None:
        return 0.0
    if encoder.kind == "time" and isinstance(value, str):
        return days_of_text(value)
    return float(value)


def _array(encoder: Encoder, value: Any) -> Array:
    if value is None:
        return np.full(encoder.size, np.nan)
    if isinstance(value, str):
        # A type of arrays that JSON does not know, such as a vector, is its text.
        value = json.loads(value)
    flat = _flat(value)
    if any(item is None for item in flat):
        raise null_in_array(encoder.name)
    if len(flat) != encoder.size:
        raise mismatched(encoder.name, encoder.size, len(flat))
    return np.array([float(item) for item in flat], dtype=np.float64)


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    return [item for inner in value for item in _flat(inner)]
