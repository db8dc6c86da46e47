"""From what travelled to the matrix that a model takes: one array, one JSON text, a block of rows.

A block either holds the model's own columns, by name (decoded as in training, then preprocessed),
or one array of features per row, which is taken as it is. Rows that cannot be taken (NULL, an
array of another width) are told apart from the others, by their position in the block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError
from pgannex_wire.values import FLOAT4S, FLOAT8S, ColumnBlock, RawColumn, split_values

from pgannex_server.tabular import columns
from pgannex_server.tabular.predict_frames import Plan

Matrix = NDArray[Any]
Bad = dict[int, WireError]

_ELEMENTS = {16: "i1", 20: ">i8", 21: ">i2", 23: ">i4", 700: ">f4", 701: ">f8"}
_TYPES = {
    16: "bool", 20: "int8", 21: "int2", 23: "int4", 25: "text", 700: "float4", 701: "float8", 1042: "bpchar",
    1043: "varchar", 1082: "date", 1114: "timestamp", 1184: "timestamptz", 1700: "numeric",
    1000: "_bool", 1005: "_int2", 1007: "_int4", 1016: "_int8", 1021: "_float4", 1022: "_float8",
    1231: "_numeric",
}  # fmt: skip
_LARGEST = float(np.finfo(np.float32).max)
_ARRAYS = frozenset({1000, 1005, 1007, 1016, 1021, 1022})


class Model(Protocol):
    """What is used of a predictor here."""

    def features(self, flat: Matrix, n: int) -> Matrix: ...
    def columns_matrix(self, table: columns.Table) -> Matrix: ...
    def rows(self, texts: Sequence[str]) -> Matrix: ...
    def unusable(self, table: columns.Table) -> dict[int, WireError]: ...


def array_of(value: bytes) -> Matrix:
    """The numbers of an array in its send form, flattened."""
    if len(value) < 12:
        raise WireError("protocol_violation", f"an array has {len(value)} bytes")
    ndim, has_null, oid = np.frombuffer(value, ">i4", 3).tolist()
    if ndim == 0:
        return np.empty(0, dtype=np.float32)
    kind = _ELEMENTS.get(oid)
    start = 12 + 8 * ndim
    if kind is None:
        raise WireError("bad_argument", f"features of type {oid} cannot be taken", hint="cast them to real[]")
    if has_null and -1 in _lengths(value, start):
        raise WireError("null_input", "the features hold NULL", hint="give every feature a number, or NaN")
    item = np.dtype([("size", ">i4"), ("value", kind)])
    if (len(value) - start) % item.itemsize:
        raise WireError("protocol_violation", f"an array of type {oid} has {len(value)} bytes")
    found: Matrix = np.frombuffer(value, item, offset=start)["value"]
    return found.astype(np.float64 if kind in (">f8", ">i8", ">i4") else np.float32)


def _lengths(value: bytes, at: int) -> list[int]:
    lengths = []
    while at + 4 <= len(value):
        size = int.from_bytes(value[at : at + 4], "big", signed=True)
        lengths.append(size)
        at += 4 + max(0, size)
    return lengths


def array_of_text(value: bytes) -> Matrix:
    """The numbers of an array in its text form."""
    items = value.decode("ascii", "replace").replace("{", "").replace("}", "").split(",")
    if any(item.strip() == "NULL" for item in items):
        raise WireError("null_input", "the features hold NULL", hint="give every feature a number, or NaN")
    try:
        return np.array([float(item) for item in items if item.strip()], dtype=np.float64)
    except ValueError as err:
        raise WireError("bad_argument", f"the features are no array of numbers: {err}") from err


def text_of(value: bytes) -> str:
    """A row's JSON text."""
    try:
        return value.decode()
    except UnicodeDecodeError as err:
        raise WireError("invalid_text", f"a row is not valid UTF-8 at byte {err.start}") from err


def wrong_width(width: int, got: int) -> WireError:
    """The error of an array that does not fit the model."""
    return WireError(
        "bad_argument",
        f"the model has {width} features, the array {got}",
        hint=f"pass {width} numbers for one row, or a multiple of {width} for several",
    )


def out_of_range(value: float, what: str = "the feature") -> WireError:
    """The error of a number that real cannot hold."""
    return WireError("out_of_range", f"{what} {value:g} is out of range for type real")


# -- blocks ------------------------------------------------------------------------------------


def matrix_of(model: Model, meta: Mapping[str, Any], plan: Plan, block: ColumnBlock) -> tuple[Matrix, Bad]:
    """(the rows that can be taken, why the others cannot)."""
    given = list(zip(plan.columns, block.columns, strict=True))[1 if plan.keyed else 0 :]
    names = [name for (name, _oid), _raw in given]
    if not plan.keyed and names == ["row"]:
        return _json_rows(model, split_values(given[0][1], block.nrows))
    wanted = [str(column["name"]) for column in meta["columns"]]
    if not set(wanted) <= set(names) and len(given) == 1 and given[0][0][1] in _ARRAYS:
        return _arrays(model, int(meta["raw_width"]), given[0][1], block.nrows)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise WireError(
            "bad_argument",
            f"the query lacks the columns {', '.join(missing)} of the model",
            detail=f"the query gives, after the key: {', '.join(names) or 'nothing'}",
            hint=f"name them as in training: {', '.join(wanted)}; or give one array of features",
        )
    by_name = {name: (oid, raw) for (name, oid), raw in given}
    return _table(model, [(name, *by_name[name]) for name in wanted], block.nrows)


def _json_rows(model: Model, values: Sequence[bytes | None]) -> tuple[Matrix, Bad]:
    bad = {at: WireError("null_input", "the row is NULL") for at, value in enumerate(values) if value is None}
    texts = [text_of(value) for value in values if value is not None]
    return model.rows(texts) if texts else np.empty((0, 0)), bad


def _table(model: Model, found: Sequence[tuple[str, int, RawColumn]], nrows: int) -> tuple[Matrix, Bad]:
    described = [
        {"name": name, "pg_type": _TYPES.get(oid, "text"), "array": oid in _ARRAYS}
        for name, oid, _raw in found
    ]
    collector = columns.Collector(described, digest=False)
    collector.feed(nrows, [raw for _name, _oid, raw in found])
    table = collector.finish()
    try:
        return model.columns_matrix(table), {}
    except WireError:
        bad = model.unusable(table)
        if not bad:
            raise
    good = np.ones(nrows, dtype=bool)
    good[list(bad)] = False
    return model.columns_matrix(_part(table, good)) if good.any() else np.empty((0, 0)), bad


def _part(table: columns.Table, keep: NDArray[np.bool_]) -> columns.Table:
    """Some rows of a table of one batch."""
    series = {}
    for name, whole in table.series.items():
        cells = whole.batches[0]
        nulls = None if cells.nulls is None else cells.nulls[keep]
        some = nulls is not None and nulls.any()
        part = cells._replace(values=cells.values[keep], nulls=nulls if some else None)
        series[name] = columns.Series(whole.column, whole.kind, [part], whole.categories)
    count = int(keep.sum())
    return columns.Table(count, [count], series)


def _arrays(model: Model, width: int, raw: RawColumn, nrows: int) -> tuple[Matrix, Bad]:
    if raw.encoding not in (FLOAT4S, FLOAT8S):
        return _sent_arrays(model, width, split_values(raw, nrows))
    kind = "<f4" if raw.encoding == FLOAT4S else "<f8"
    counts = np.frombuffer(raw.data, ">i4", nrows)
    flat: Matrix = np.frombuffer(raw.data, kind, offset=4 * nrows)
    if flat.size != counts[counts > 0].sum():
        raise WireError("protocol_violation", "a column of float arrays has lengths that do not fit")
    fits = counts == width
    bad = {int(at): _bad_array(width, int(counts[at])) for at in np.flatnonzero(~fits)}
    if bad:
        flat = flat[np.repeat(fits, np.maximum(counts, 0))]
    return _taken(model, width, flat, np.flatnonzero(fits), bad)


def _sent_arrays(model: Model, width: int, values: Sequence[bytes | None]) -> tuple[Matrix, Bad]:
    bad: Bad = {}
    rows = []
    good = []
    for at, value in enumerate(values):
        try:
            row = array_of(value) if value is not None else None
            if row is not None and len(row) == width:
                rows.append(row)
                good.append(at)
            else:
                bad[at] = _bad_array(width, -1 if row is None else len(row))
        except WireError as err:
            bad[at] = err
    flat = np.concatenate(rows) if rows else np.empty(0, dtype=np.float32)
    return _taken(model, width, flat, np.array(good, dtype=np.intp), bad)


def _taken(model: Model, width: int, flat: Matrix, good: NDArray[np.intp], bad: Bad) -> tuple[Matrix, Bad]:
    """The matrix of the arrays of the rows `good`, but for numbers that no real[] can hold: a scalar
    call's features are a real[], and one that does not fit is an error there too."""
    if len(good) and flat.dtype == np.float64:
        rows = flat.reshape(-1, width)
        beyond = np.isfinite(rows) & (np.abs(rows) > _LARGEST)
        if beyond.any():
            large = beyond.any(axis=1)
            bad |= {
                int(good[at]): out_of_range(float(rows[at][beyond[at]][0])) for at in np.flatnonzero(large)
            }
            good, flat = good[~large], rows[~large].reshape(-1)
    return model.features(flat, len(good)) if len(good) else np.empty((0, width), flat.dtype), bad


def _bad_array(width: int, count: int) -> WireError:
    return WireError("null_input", "the features are NULL") if count < 0 else wrong_width(width, count)
