"""Column blocks: the rows of BATCH and ROWS frames, column by column.

`ColumnBlock.decode` slices without parsing: a column stays raw bytes until someone asks,
so a door can forward what it does not need. The pack functions build one column each.
Oids are those of Postgres's built-in types, which never change.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pgannex_wire.errors import WireError

SEND, FIXED, FLOAT4S, FLOAT8S, TEXT = range(5)

BOOL, BYTEA, INT8, INT2, INT4, TEXT_OID = 16, 17, 20, 21, 23, 25
JSON, FLOAT4, FLOAT8, TEXT_ARRAY, FLOAT4_ARRAY, FLOAT8_ARRAY = 114, 700, 701, 1009, 1021, 1022
VARCHAR, DATE, TIMESTAMPTZ, UUID, JSONB = 1043, 1082, 1184, 2950, 3802

MAX_ROWS = 1 << 17
"""Of a block: taking more apart would keep an event loop from everybody else for too long."""

_HEAD = struct.Struct("!IH")
_COLUMN = struct.Struct("!BI")
_I32 = struct.Struct("!i")
_FIXED_CODE = {(BOOL, 1): "b", (INT2, 2): "h", (INT4, 4): "i", (INT8, 8): "q",
               (FLOAT4, 4): "f", (FLOAT8, 8): "d", (TIMESTAMPTZ, 8): "q", (DATE, 4): "i"}  # fmt: skip
_SEND_STRUCT = {INT2: struct.Struct("!h"), INT4: struct.Struct("!i"), INT8: struct.Struct("!q"),
                FLOAT4: struct.Struct("!f"), FLOAT8: struct.Struct("!d")}  # fmt: skip

Cell = str | int | float | bool | bytes | None


class RawColumn(NamedTuple):
    """One column as it travels: its encoding and its bytes."""

    encoding: int
    data: bytes


class ColumnBlock(NamedTuple):
    """`nrows` rows in `columns`."""

    nrows: int
    columns: tuple[RawColumn, ...]

    def encode(self) -> bytes:
        """The payload of a BATCH or ROWS frame."""
        parts = [_HEAD.pack(self.nrows, len(self.columns))]
        for column in self.columns:
            parts += (_COLUMN.pack(column.encoding, len(column.data)), column.data)
        return b"".join(parts)

    @classmethod
    def decode(cls, payload: bytes) -> ColumnBlock:
        """Raises WireError(protocol_violation) where a length does not fit."""
        if len(payload) < _HEAD.size:
            raise WireError("protocol_violation", "a column block is shorter than its head")
        nrows, ncols = _HEAD.unpack_from(payload)
        if nrows > MAX_ROWS:
            raise WireError("protocol_violation", f"a column block claims {nrows} rows, over {MAX_ROWS}")
        at = _HEAD.size
        columns = []
        for _ in range(ncols):
            if at + _COLUMN.size > len(payload):
                raise WireError("protocol_violation", "a column block ends inside a column's head")
            encoding, nbytes = _COLUMN.unpack_from(payload, at)
            at += _COLUMN.size
            if encoding > TEXT or at + nbytes > len(payload):
                raise WireError("protocol_violation", f"a column claims encoding {encoding}, {nbytes} bytes")
            columns.append(RawColumn(encoding, payload[at : at + nbytes]))
            at += nbytes
        return cls(nrows, tuple(columns))


def split_values(column: RawColumn, nrows: int) -> list[bytes | None]:
    """The values of a SEND or TEXT column, one per row, None for NULL."""
    if column.encoding not in (SEND, TEXT):
        raise WireError("protocol_violation", f"encoding {column.encoding} does not hold values")
    data, at, end = column.data, 0, len(column.data)
    values: list[bytes | None] = []
    for _ in range(nrows):
        if at + 4 > end:
            raise WireError("protocol_violation", "a column ends inside a value's length")
        (length,) = _I32.unpack_from(data, at)
        at += 4
        if length == -1:
            values.append(None)
            continue
        if length < 0 or at + length > end:
            raise WireError("protocol_violation", f"a value claims {length} bytes")
        values.append(data[at : at + length])
        at += length
    if at != end:
        raise WireError("protocol_violation", f"{end - at} bytes after a column's last value")
    return values


def pack_values(values: Iterable[bytes | None], encoding: int = SEND) -> RawColumn:
    """A SEND or TEXT column from ready-made bytes."""
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append(b"\xff\xff\xff\xff")
        else:
            parts += (_I32.pack(len(value)), value)
    return RawColumn(encoding, b"".join(parts))


def pack_texts(texts: Iterable[str | None], encoding: int = SEND) -> RawColumn:
    return pack_values((None if t is None else t.encode() for t in texts), encoding)


def pack_fixed(oid: int, width: int, cells: Sequence[int | float | bool | None]) -> RawColumn:
    """A FIXED column of a built-in type; None is NULL."""
    code = _FIXED_CODE[(oid, width)]
    has_nulls = any(c is None for c in cells)
    head = bytes((width, has_nulls))
    if has_nulls:
        bitmap = bytearray((len(cells) + 7) // 8)
        for i, cell in enumerate(cells):
            if cell is None:
                bitmap[i >> 3] |= 1 << (i & 7)
        head += bytes(bitmap)
    return RawColumn(FIXED, head + _native(code, [0 if c is None else c for c in cells]))


def _native(code: str, cells: Sequence[int | float]) -> bytes:
    values = array(code, cells)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def unpack_fixed(column: RawColumn, oid: int, nrows: int) -> list[Cell]:
    """The cells of a FIXED column, None for NULL."""
    data = column.data
    if column.encoding != FIXED or len(data) < 2:
        raise WireError("protocol_violation", "not a FIXED column")
    width, has_nulls = data[0], data[1]
    code = _FIXED_CODE.get((oid, width))
    start = 2 + ((nrows + 7) // 8 if has_nulls else 0)
    if code is None or has_nulls > 1 or len(data) != start + nrows * width:
        raise WireError("protocol_violation", f"a FIXED column of type {oid} has width {width}")
    values = array(code, data[start:])
    if sys.byteorder == "big":
        values.byteswap()
    cells: list[Cell] = [bool(v) for v in values] if oid == BOOL else list(values)
    if has_nulls:
        bitmap = data[2:start]
        return [None if bitmap[i >> 3] >> (i & 7) & 1 else cell for i, cell in enumerate(cells)]
    return cells


def split_fixed(column: RawColumn, nrows: int) -> list[bytes | None]:
    """The values of a FIXED column in their send form (big-endian), None for NULL."""
    data = column.data
    if len(data) < 2:
        raise WireError("protocol_violation", "not a FIXED column")
    width, has_nulls = data[0], data[1]
    start = 2 + ((nrows + 7) // 8 if has_nulls else 0)
    if width not in (1, 2, 4, 8) or has_nulls > 1 or len(data) != start + nrows * width:
        raise WireError("protocol_violation", f"a FIXED column of {nrows} rows has width {width}")
    values: list[bytes | None] = []
    for i in range(nrows):
        is_null = has_nulls and data[2 + (i >> 3)] >> (i & 7) & 1
        at = start + i * width
        values.append(None if is_null else data[at : at + width][::-1])
    return values


def pack_float4s(flat: bytes | memoryview, rows: int, dimensions: int) -> RawColumn:
    """FLOAT4S from `rows` × `dimensions` little-endian float32 values, row-major."""
    return RawColumn(FLOAT4S, _I32.pack(dimensions) * rows + bytes(flat))


def unpack_floats(column: RawColumn, nrows: int) -> list[array[float] | None]:
    """The rows of a FLOAT4S or FLOAT8S column as arrays, None for NULL."""
    code, width = {FLOAT4S: ("f", 4), FLOAT8S: ("d", 8)}.get(column.encoding, ("", 0))
    data = column.data
    if not code or len(data) < 4 * nrows:
        raise WireError("protocol_violation", "not a column of float arrays")
    counts = struct.unpack_from(f"!{nrows}i", data)
    if any(n < -1 for n in counts) or 4 * nrows + width * sum(n for n in counts if n > 0) != len(data):
        raise WireError("protocol_violation", "a column of float arrays has lengths that do not fit")
    at = 4 * nrows
    rows: list[array[float] | None] = []
    for n in counts:
        if n < 0:
            rows.append(None)
            continue
        row: array[float] = array(code, data[at : at + n * width])
        if sys.byteorder == "big":
            row.byteswap()
        rows.append(row)
        at += n * width
    return rows


def decode_value(value: bytes | None, oid: int, is_text: bool = False) -> Cell:
    """One value of a scalar built-in type from its send (or text) form.

    Text-like types and JSON give str, bytea gives bytes, other types their Python kin.
    Raises WireError: invalid_text for bad UTF-8, bad_argument where the bytes do not fit.
    """
    if value is None or (oid == BYTEA and not is_text):
        return value
    try:
        if is_text:
            return _from_text(value.decode(), oid)
        if oid == BOOL:
            return value != b"\x00"
        layout = _SEND_STRUCT.get(oid)
        if layout is not None:
            cell: int | float = layout.unpack(value)[0]
            return cell
        return (value[1:] if oid == JSONB else value).decode()
    except UnicodeDecodeError as err:
        raise WireError("invalid_text", "an argument is not valid UTF-8") from err
    except (struct.error, ValueError) as err:
        raise WireError("bad_argument", f"a value of type {oid} does not fit: {err}") from err


def _from_text(text: str, oid: int) -> Cell:
    if oid == BOOL:
        return text in ("t", "true", "on", "1")
    if oid in (INT2, INT4, INT8):
        return int(text)
    if oid in (FLOAT4, FLOAT8):
        return float(text)
    return text


def encode_value(cell: Cell, oid: int, is_text: bool = False) -> bytes | None:
    """The send (or text) form of a scalar built-in type; the inverse of `decode_value`."""
    if cell is None:
        return None
    if is_text:
        if isinstance(cell, bytes):
            return b"\\x" + cell.hex().encode()
        return (("t" if cell else "f") if isinstance(cell, bool) else str(cell)).encode()
    if isinstance(cell, bytes):
        return cell
    if oid == BOOL:
        return b"\x01" if cell else b"\x00"
    layout = _SEND_STRUCT.get(oid)
    if layout is not None:
        return layout.pack(cell)
    raw = str(cell).encode()
    return b"\x01" + raw if oid == JSONB else raw
