"""One column of one block, from the bytes that travelled to a numpy array: `decode`.

Which question it answers: what a type's values mean as numbers. Booleans are 0 and 1; dates and
timestamps are days since 1970-01-01, fractions kept; texts stay texts (bytes); arrays are one
row of a matrix per row. Where the sender chose a plain encoding, the array is a view of the
bytes, without a copy. NULL is told apart by a mask, and its value is 0 (NaN in an array).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError
from pgannex_wire.values import FIXED, FLOAT4S, FLOAT8S, TEXT, RawColumn, split_values

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Kind = Literal["number", "time", "category", "array"]

DAYS_TO_2000: Final = 10957
_DAY_US: Final = 86_400_000_000
_INFINITY: Final = {4: 2**31 - 1, 8: 2**63 - 1}

_NUMBERS: Final = {
    "bool": "u1", "int2": "i2", "int4": "i4", "int8": "i8", "float4": "f4", "float8": "f8", "numeric": "f8",
    "oid": "u4",
}  # fmt: skip
_TIMES: Final = {"date": "i4", "timestamp": "i8", "timestamptz": "i8"}
_ELEMENT_OIDS: Final = {16: "i1", 20: ">i8", 21: ">i2", 23: ">i4", 700: ">f4", 701: ">f8"}
_NUMERIC_OID: Final = 1700
_I32: Final = struct.Struct("!i")


class Cells(NamedTuple):
    """`values`: numbers, or a matrix of them; for a category an array of int32 codes (see columns).
    `nulls`: where NULL was, or None where it was nowhere."""

    values: Array
    nulls: Mask | None


def kind_of(pg_type: str, array: bool) -> Kind:
    """What a type is for a model. Whatever is none of the known is a text: enums are."""
    if array:
        return "array"
    if pg_type in _NUMBERS:
        return "number"
    return "time" if pg_type in _TIMES else "category"


def decode(name: str, pg_type: str, kind: Kind, nrows: int, raw: RawColumn) -> Cells:
    """A column that is no category. Raises WireError: protocol_violation, bad_argument."""
    if kind == "array":
        return _arrays(name, pg_type, nrows, raw)
    if raw.encoding == FIXED:
        cells = _fixed(pg_type, nrows, raw.data)
    elif raw.encoding == TEXT:
        cells = _parsed(name, split_values(raw, nrows), _reader_of_text(pg_type))
    else:
        cells = _sent(name, pg_type, nrows, raw)
    return Cells(_days(cells.values, pg_type), cells.nulls) if kind == "time" else cells


def _wrong(name: str, why: str) -> WireError:
    return WireError("protocol_violation", f'column "{name}": {why}')


# -- scalars -----------------------------------------------------------------------------------


def _layout(pg_type: str, width: int) -> str:
    found = _NUMBERS.get(pg_type) or _TIMES.get(pg_type, "")
    if found and np.dtype(found).itemsize == width:
        return found
    raise WireError(
        "protocol_violation",
        f"a column of type {pg_type} has width {width}",
        hint="the rows have another type than is said of them: cast the column in the query",
    )


def _fixed(pg_type: str, nrows: int, data: bytes) -> Cells:
    if len(data) < 2:
        raise WireError("protocol_violation", "not a FIXED column")
    width, has_nulls = data[0], data[1]
    start = 2 + ((nrows + 7) // 8 if has_nulls else 0)
    if has_nulls > 1 or len(data) != start + nrows * width:
        raise WireError("protocol_violation", f"a FIXED column of {nrows} rows has {len(data)} bytes")
    values: Array = np.frombuffer(data, "<" + _layout(pg_type, width), nrows, start)
    if not has_nulls:
        return Cells(values, None)
    bits = np.frombuffer(data, np.uint8, start - 2, 2)
    nulls = np.unpackbits(bits, bitorder="little", count=nrows).astype(bool)
    return Cells(values, nulls if nulls.any() else None)


def _sent(name: str, pg_type: str, nrows: int, raw: RawColumn) -> Cells:
    """The types' send form; without NULL and of one width, all values at once."""
    layout = _NUMBERS.get(pg_type) or _TIMES[pg_type]
    width = np.dtype(layout).itemsize
    item = np.dtype([("size", ">i4"), ("value", ">" + layout)])
    if pg_type != "numeric" and nrows and len(raw.data) == nrows * item.itemsize:
        found = np.frombuffer(raw.data, item, nrows)
        if (found["size"] == width).all():
            return Cells(found["value"].astype(layout), None)
    return _parsed(name, split_values(raw, nrows), _reader_of_sent(pg_type, layout), layout)


def _parsed(
    name: str, found: Sequence[bytes | None], read: Callable[[bytes], float], layout: str = "f8"
) -> Cells:
    values = np.zeros(len(found), dtype=layout)
    nulls = np.zeros(len(found), dtype=bool)
    try:
        for at, value in enumerate(found):
            if value is None:
                nulls[at] = True
            else:
                values[at] = read(value)
    except (ValueError, struct.error, OverflowError) as err:
        raise _wrong(name, f"a value cannot be read: {err}") from err
    return Cells(values, nulls if nulls.any() else None)


def _reader_of_sent(pg_type: str, layout: str) -> Callable[[bytes], float]:
    if pg_type == "numeric":
        return numeric
    dtype = np.dtype(">" + layout)

    def read(value: bytes) -> float:
        if len(value) != dtype.itemsize:
            raise ValueError(f"{len(value)} bytes of {pg_type}")
        return np.frombuffer(value, dtype)[0]  # type: ignore[no-any-return]

    return read


def _reader_of_text(pg_type: str) -> Callable[[bytes], float]:
    if pg_type == "bool":
        return lambda value: float(bytes(value) in (b"t", b"true"))
    if pg_type == "date":
        return lambda value: days_of_text(bytes(value).decode()) - DAYS_TO_2000
    if pg_type in _TIMES:
        return lambda value: (days_of_text(bytes(value).decode()) - DAYS_TO_2000) * _DAY_US
    return lambda value: float(bytes(value))


def numeric(value: bytes) -> float:
    """A numeric in its send form."""
    count, weight, sign, _scale = struct.unpack_from("!hhHH", value)
    if sign in (0xC000, 0xD000, 0xF000):
        return {0xC000: float("nan"), 0xD000: float("inf"), 0xF000: float("-inf")}[sign]
    digits = struct.unpack_from(f"!{count}h", value, 8)
    whole = 0
    for digit in digits:
        whole = whole * 10000 + digit
    shift = weight + 1 - count
    found = float(whole * 10000**shift) if shift >= 0 else whole / 10000**-shift
    return -found if sign else found


# -- time --------------------------------------------------------------------------------------


def _days(values: Array, pg_type: str) -> Array:
    """Days since 1970, from days or microseconds since 2000; infinities stay such."""
    if values.dtype.kind == "f":
        return np.asarray(values / (1 if pg_type == "date" else _DAY_US) + DAYS_TO_2000)
    limit = _INFINITY[values.dtype.itemsize]
    days: Array = values / (1.0 if pg_type == "date" else float(_DAY_US)) + DAYS_TO_2000
    if len(values) and (values.max() == limit or values.min() == -limit - 1):
        days = np.where(values == limit, np.inf, np.where(values == -limit - 1, -np.inf, days))
    return days


def days_of_text(text: str) -> float:
    """Days since 1970 of a date or timestamp in ISO form, with or without a zone."""
    from datetime import UTC, datetime

    if text in ("infinity", "-infinity"):
        return float(text.replace("infinity", "inf"))
    found = datetime.fromisoformat(text.strip())
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return (found - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() / 86400


# -- arrays ------------------------------------------------------------------------------------


def mismatched(name: str, expected: int, received: int) -> WireError:
    return WireError(
        "bad_argument",
        f"Mismatched array length for feature `{name}`. Expected: {expected} Received: {received}",
        hint="every row's array has the same number of elements",
    )


def _arrays(name: str, pg_type: str, nrows: int, raw: RawColumn) -> Cells:
    if raw.encoding in (FLOAT4S, FLOAT8S):
        return _float_arrays(name, nrows, raw)
    if raw.encoding == TEXT:
        return _stacked(name, [_array_of_text(name, value) for value in split_values(raw, nrows)])
    if raw.encoding == FIXED:
        raise _wrong(name, f"encoding FIXED does not hold {pg_type}")
    return _uniform_arrays(nrows, raw.data) or _stacked(
        name, [_array_of_sent(name, value) for value in split_values(raw, nrows)]
    )


def _float_arrays(name: str, nrows: int, raw: RawColumn) -> Cells:
    kind, width = ("<f4", 4) if raw.encoding == FLOAT4S else ("<f8", 8)
    if len(raw.data) < 4 * nrows:
        raise _wrong(name, "it ends inside its lengths")
    counts = np.frombuffer(raw.data, ">i4", nrows)
    nulls = counts == -1
    there = counts[~nulls]
    size = int(there[0]) if len(there) else 0
    if len(raw.data) != 4 * nrows + width * int(there.sum(dtype=np.int64)) or (there < 0).any():
        raise _wrong(name, "a column of float arrays has lengths that do not fit")
    odd = there[there != size]
    if len(odd):
        raise mismatched(name, size, int(odd[0]))
    found: Array = np.frombuffer(raw.data, kind, offset=4 * nrows).reshape(len(there), size)
    return _with_nulls(found, nulls)


def _with_nulls(found: Array, nulls: Mask) -> Cells:
    if not nulls.any():
        return Cells(found, None)
    whole = np.full((len(nulls), found.shape[1]), np.nan, dtype=np.result_type(found.dtype, np.float32))
    whole[~nulls] = found
    return Cells(whole, nulls)


def _uniform_arrays(nrows: int, data: bytes) -> Cells | None:
    """Arrays in their send form that are all alike but for their values: all at once."""
    if not nrows or len(data) % nrows:
        return None
    rows = np.frombuffer(data, np.uint8).reshape(nrows, -1)
    if rows.shape[1] < 24:
        return None
    first = rows[0].tobytes()
    size, ndim, has_null, oid = struct.unpack_from("!4i", first)
    head = 16 + 8 * ndim
    layout = _ELEMENT_OIDS.get(oid)
    if layout is None or ndim < 1 or has_null or size != rows.shape[1] - 4:
        return None
    if not (rows[:, :head] == rows[0, :head]).all():
        return None
    item = np.dtype([("size", ">i4"), ("value", layout)])
    if (rows.shape[1] - head) % item.itemsize:
        return None
    found = np.frombuffer(np.ascontiguousarray(rows[:, head:]).data, item).reshape(nrows, -1)
    if not (found["size"] == item["value"].itemsize).all():
        return None
    return Cells(found["value"].astype(item["value"].newbyteorder("=")), None)


def _array_of_sent(name: str, value: bytes | None) -> Array | None:
    if value is None:
        return None
    data = bytes(value)
    ndim, _has_null, oid = struct.unpack_from("!3i", data)
    layout = _ELEMENT_OIDS.get(oid)
    if layout is None and oid != _NUMERIC_OID:
        raise WireError("bad_argument", f'Unhandled type for quantitative array column: {name} "{oid}"')
    found = []
    at = 12 + 8 * ndim
    while at < len(data):
        (size,) = _I32.unpack_from(data, at)
        at += 4
        if size < 0:
            raise null_in_array(name)
        item = data[at : at + size]
        found.append(numeric(item) if layout is None else np.frombuffer(item, layout)[0])
        at += size
    return np.array(found, dtype=np.float64 if layout is None else np.dtype(layout).newbyteorder("="))


def _array_of_text(name: str, value: bytes | None) -> Array | None:
    if value is None:
        return None
    text = bytes(value).decode("ascii", "replace").replace("{", "").replace("}", "")
    items = [item.strip() for item in text.split(",") if item.strip()]
    if "NULL" in items:
        raise null_in_array(name)
    booleans = {"t": 1.0, "f": 0.0}
    try:
        return np.array(
            [booleans.get(item) if item in booleans else float(item) for item in items], np.float64
        )
    except ValueError as err:
        raise _wrong(name, f"an array cannot be read: {err}") from err


def null_in_array(name: str) -> WireError:
    return WireError(
        "bad_argument",
        f"an array of feature `{name}` holds NULL",
        hint="give every element a number: array_replace(column, NULL, 0), or leave such rows out",
    )


def _stacked(name: str, rows: Sequence[Array | None]) -> Cells:
    there = [row for row in rows if row is not None]
    size = len(there[0]) if there else 0
    for row in there:
        if len(row) != size:
            raise mismatched(name, size, len(row))
    nulls = np.array([row is None for row in rows], dtype=bool)
    return _with_nulls(np.stack(there) if there else np.empty((0, 0), dtype=np.float32), nulls)
