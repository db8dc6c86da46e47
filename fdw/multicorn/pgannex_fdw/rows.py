"""Values: inputs as Postgres's text form, result columns as what Multicorn stores fastest.

Multicorn takes a ready-made text for any type and parses it with the type's own input
function; lists, dicts and numbers it spells itself, slowly or wrongly. So results are
asked for as text (TEXT_RESULTS), except vectors, which Postgres itself spells here. All
encodings are accepted, as the protocol demands.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from pgannex_wire import values
from pgannex_wire.errors import WireError
from pgannex_wire.values import ColumnBlock, RawColumn

from pgannex_fdw.backend import Backend
from pgannex_fdw.options import ColumnSpec

Text = str | bytes | None
_ASCII_ARRAYS = (values.FLOAT4_ARRAY, values.FLOAT8_ARRAY)
"""Long, and read by an input function that refuses what is not ASCII: passed on as bytes."""
_KNOWN_BINARY = frozenset({
    values.TEXT_OID, values.VARCHAR, values.JSON, values.JSONB, values.BOOL, values.BYTEA,
    values.INT2, values.INT4, values.INT8, values.FLOAT4, values.FLOAT8,
})  # fmt: skip


def input_text(value: Any, column: ColumnSpec) -> str:
    """The text form of a value that Multicorn took from a qual."""
    text = _text(value)
    if text is None:
        raise WireError(
            "bad_argument",
            f'Multicorn cannot pass the value that "{column.name}" is compared with ({type(value).__name__})',
            hint="write a constant, a parameter or a column there",
        )
    return text


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return _array_text(value)
    isoformat = getattr(value, "isoformat", None)
    return None if isoformat is None else str(isoformat())


def _array_text(items: list[Any]) -> str:
    return "{" + ",".join(_element_text(item) for item in items) + "}"


def _element_text(item: Any) -> str:
    if item is None:
        return "NULL"
    if isinstance(item, list):
        return _array_text(item)
    text = _text(item)
    escaped = (str(item) if text is None else text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def batch_texts(elements: Sequence[Any], column: ColumnSpec) -> list[bytes]:
    """The elements of a batch as text. A NULL is refused before anything is sent.

    Postgres rechecks `input = ANY (…)`, which is NULL for a NULL element: its row, with an
    error or without, would vanish behind our back.
    """
    for position, element in enumerate(elements, 1):
        if element is None:
            raise WireError(
                "null_input",
                f'element {position} of the array for "{column.name}" is NULL',
                hint="leave NULLs out with array_remove(…, NULL)",
            )
    return [input_text(element, column).encode() for element in elements]


def result_rows(
    block: ColumnBlock, wanted: Sequence[ColumnSpec], cells: Sequence[Any], host: Backend
) -> Iterator[tuple[Any, ...]]:
    """The block's rows as sequences in the order of the table's columns.

    `cells` has an iterator per column for what the host fills in; the place of a wanted
    output is overwritten. Each is asked for exactly as many values as the block has rows,
    because the next block goes on where this one ended.
    """
    if len(block.columns) != len(wanted):
        raise WireError(
            "protocol_violation", f"{len(block.columns)} columns came, {len(wanted)} were asked for"
        )
    sources: list[Any] = [islice(cell, block.nrows) for cell in cells]
    for column, raw in zip(wanted, block.columns, strict=True):
        sources[column.number] = column_texts(raw, column, block.nrows, host)
    return zip(*sources, strict=True)


def wants_text(wanted: Sequence[ColumnSpec]) -> bool:
    """Whether to ask the server for text. Vectors are spelled here, where Postgres helps.

    The server would do it in Python, on the one thread that serves every backend.
    """
    oids = {column.oid for column in wanted}
    return values.FLOAT4_ARRAY not in oids or not oids <= _KNOWN_BINARY | {values.FLOAT4_ARRAY}


def column_texts(raw: RawColumn, column: ColumnSpec, nrows: int, host: Backend) -> list[Text]:
    """One result column, a text per row; bytes where Multicorn may store them as they are."""
    if raw.encoding == values.TEXT:
        texts = values.split_values(raw, nrows)
    elif raw.encoding == values.SEND:
        texts = [_text_of_send(value, column) for value in values.split_values(raw, nrows)]
    elif raw.encoding == values.FIXED:
        texts = [
            values.encode_value(c, column.oid, True) for c in values.unpack_fixed(raw, column.oid, nrows)
        ]
    else:
        texts = [_float_array(row, host) for row in values.unpack_floats(raw, nrows)]
    if column.oid == values.BYTEA:
        return [None if t is None else bytes.fromhex(t[2:].decode("ascii")) for t in texts]
    if host.utf8 and column.oid in _ASCII_ARRAYS:
        return list(texts)
    return [None if t is None else _checked(t, column) for t in texts]


def _checked(raw: bytes, column: ColumnSpec) -> str:
    """Text that Postgres may store: Multicorn checks nothing that comes from here."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise WireError("invalid_text", f'column "{column.name}" came with invalid UTF-8') from error
    if "\0" in text:
        raise WireError("invalid_text", f'column "{column.name}" came with a NUL character')
    return text


def _text_of_send(value: bytes | None, column: ColumnSpec) -> bytes | None:
    if column.oid not in _KNOWN_BINARY:
        name, oid = column.name, column.oid
        raise WireError("protocol_violation", f'column "{name}" of type {oid} came in binary form')
    return values.encode_value(values.decode_value(value, column.oid), column.oid, True)


def _float_array(row: array[float] | None, host: Backend) -> bytes | None:
    if row is None:
        return None
    if not row:
        return b"{}"
    if row.typecode == "f":
        return host.real_array_text(row.tobytes())
    return ("{" + ",".join(map(repr, row)) + "}").encode()
