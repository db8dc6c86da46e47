"""Verbs that answer with a small table: rows of named cells to the columns that are wanted.

A verb gives its rows as mappings from output names to Python values; times are `Moment`s.
The wanted columns' oids say how a value travels: in its send form where the type is one
that we know, in text form otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pgannex_wire import WireError
from pgannex_wire.frame import TEXT_RESULTS
from pgannex_wire.values import (
    BOOL,
    FLOAT4,
    FLOAT8,
    INT2,
    INT4,
    INT8,
    SEND,
    TEXT,
    TEXT_OID,
    TIMESTAMPTZ,
    VARCHAR,
    ColumnBlock,
    RawColumn,
    encode_value,
    pack_values,
)

from pgannex_server.request import Request

_OID = 26
_SENDABLE = frozenset({BOOL, FLOAT4, FLOAT8, INT2, INT4, INT8, TEXT_OID, VARCHAR})
_POSTGRES_EPOCH = 946_684_800
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time, in seconds since 1970."""

    unix: float

    def send(self) -> bytes:
        """timestamptz as Postgres sends it."""
        return round((self.unix - _POSTGRES_EPOCH) * _MICRO).to_bytes(8, "big", signed=True)

    def text(self) -> bytes:
        return datetime.fromtimestamp(self.unix, UTC).isoformat(sep=" ").encode()


TableCell = str | int | float | bool | Moment | None
Row = Mapping[str, TableCell]


def moment(unix: float) -> Moment | None:
    """A Moment, or None for 0: it has not happened."""
    return Moment(unix) if unix else None


def block_of(request: Request, rows: Sequence[Row], known: Sequence[str]) -> ColumnBlock:
    """The rows as the outputs that the request wants; `known` are the names there are."""
    as_text = bool(request.flags & TEXT_RESULTS)
    columns = []
    for output in request.outputs:
        if output.name not in known:
            raise WireError(
                "bad_argument",
                f'{request.verb} has no output "{output.name}"',
                hint=f"known: {', '.join(known)}",
            )
        columns.append(_column([row[output.name] for row in rows], output.oid, as_text))
    return ColumnBlock(len(rows), tuple(columns))


def _column(cells: Sequence[TableCell], oid: int, as_text: bool) -> RawColumn:
    if as_text or (oid not in _SENDABLE and oid not in (TIMESTAMPTZ, _OID)):
        return pack_values([_text(cell) for cell in cells], TEXT)
    return pack_values([_send(cell, oid) for cell in cells], SEND)


def _text(cell: TableCell) -> bytes | None:
    if isinstance(cell, Moment):
        return cell.text()
    return encode_value(cell, TEXT_OID, is_text=True)


def _send(cell: TableCell, oid: int) -> bytes | None:
    if isinstance(cell, Moment):
        return cell.send() if oid == TIMESTAMPTZ else cell.text()
    if oid == _OID and isinstance(cell, int):
        return cell.to_bytes(4, "big")
    return encode_value(cell, oid)
