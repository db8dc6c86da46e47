"""The verb digest: what arrived, column by column. Training will receive its rows like this.

Rows are pushed to the end and acknowledged batch by batch; then one row per column says how
many values and NULLs came and what the sha256 over them is. The hash does not depend on the
encoding that the sender chose: each value counts as its send form, preceded by its length
as a big-endian int32 (-1 for NULL), which is what the encoding SEND is anyway.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from pgannex_wire import WireError
from pgannex_wire.message import Column, End
from pgannex_wire.values import (
    FIXED,
    FLOAT4,
    FLOAT4S,
    FLOAT8,
    FLOAT8S,
    SEND,
    TEXT,
    ColumnBlock,
    RawColumn,
    pack_values,
    split_fixed,
    split_values,
    unpack_floats,
)

from pgannex_server.request import Request, Sink
from pgannex_server.verbs.running import Running
from pgannex_server.verbs.table import Row, block_of

if TYPE_CHECKING:
    from pgannex_server.service import Service

NAMES = ("column_name", "type_oid", "row_count", "null_count", "sha256")
_ARRAY_HEAD = struct.Struct("!iiiii")


class Tally:
    """One column's hash and counts."""

    __slots__ = ("column", "digest", "nulls")

    def __init__(self, column: Column) -> None:
        self.column = column
        self.nulls = 0
        self.digest = hashlib.sha256()

    def add(self, raw: RawColumn, nrows: int) -> None:
        values = _values(raw, nrows)
        self.nulls += sum(value is None for value in values)
        self.digest.update(raw.data if raw.encoding in (SEND, TEXT) else pack_values(values).data)


class Digest(Running):
    """Takes blocks, acknowledges them, answers at the end of the input."""

    __slots__ = ("done", "tallies")

    def __init__(self, service: Service, request: Request, sink: Sink) -> None:
        block_of(request, [], NAMES)
        if not request.columns:
            raise WireError("bad_argument", "digest needs rows", hint="push a query's rows: pgml.row_digest")
        self.tallies = [Tally(column) for column in request.columns]
        self.done = False
        Running.__init__(self, service, request, sink)

    def feed(self, seq: int, block: ColumnBlock) -> None:
        if self.closed:
            return
        try:
            if len(block.columns) != len(self.tallies):
                raise WireError("protocol_violation", f"a batch has {len(block.columns)} columns")
            for tally, raw in zip(self.tallies, block.columns, strict=True):
                tally.add(raw, block.nrows)
        except WireError as err:
            self.fail(err)
            return
        self.rows_in += block.nrows
        self.sink.ack(seq)

    def finish(self) -> None:
        if self.closed:
            return
        rows: list[Row] = [
            {
                "column_name": tally.column.name,
                "type_oid": tally.column.oid,
                "row_count": self.rows_in,
                "null_count": tally.nulls,
                "sha256": tally.digest.hexdigest(),
            }
            for tally in self.tallies
        ]
        self.rows_out = len(rows)
        self.sink.rows(0, block_of(self.request, rows, NAMES), True)
        self.end(End(rows=len(rows)))

    def progress(self) -> tuple[int, int]:
        return 0, self.rows_in


def _values(raw: RawColumn, nrows: int) -> list[bytes | None]:
    """The send form of each value."""
    if raw.encoding == FIXED:
        return split_fixed(raw, nrows)
    if raw.encoding in (FLOAT4S, FLOAT8S):
        oid, code = (FLOAT4, "f") if raw.encoding == FLOAT4S else (FLOAT8, "d")
        return [None if row is None else _array(row.tolist(), oid, code) for row in unpack_floats(raw, nrows)]
    return split_values(raw, nrows)


def _array(cells: list[float], oid: int, code: str) -> bytes:
    """What array_send makes of a one-dimensional array without NULLs."""
    n = len(cells)
    if n == 0:
        return struct.pack("!iii", 0, 0, oid)
    item = struct.Struct(f"!i{code}")
    return _ARRAY_HEAD.pack(1, 0, oid, n, 1) + b"".join([item.pack(item.size - 4, cell) for cell in cells])
