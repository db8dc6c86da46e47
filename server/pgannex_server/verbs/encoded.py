"""Rows that some process of ours has encoded already: passed on without a look."""

from __future__ import annotations

from pgannex_wire.values import ColumnBlock, RawColumn


class EncodedBlock(ColumnBlock):
    """A block whose only column holds the payload of a ROWS frame."""

    __slots__ = ()

    def encode(self) -> bytes:
        return self.columns[0].data


def encoded(rows: int, payload: bytes) -> EncodedBlock:
    """`rows` rows, encoded in `payload`."""
    return EncodedBlock(rows, (RawColumn(0, payload),))
