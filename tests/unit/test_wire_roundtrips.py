"""The wire with whatever hypothesis thinks of: what is written is read back, broken bytes are refused.

Refused means WireError and nothing else: no decoder may let an IndexError or a struct.error
out, or believe a length that the bytes do not hold. The golden vectors are in tests/contract.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pgannex_wire import message, values
from pgannex_wire.errors import TABLE, WireError
from pgannex_wire.frame import HEADER_SIZE, MAX_FRAME, FrameReader, FrameType, frames_of, pack_frame
from pgannex_wire.values import ColumnBlock, RawColumn

pytest.importorskip("hypothesis", reason="hypothesis is not installed: it comes with the extra dev")

from hypothesis import given, settings
from hypothesis import strategies as st

VECTORS = sorted((Path(__file__).resolve().parents[2] / "wire" / "pgannex_wire" / "vectors").glob("*.bin"))
BLOCKS = [path for path in VECTORS if path.stem.startswith(("batch", "rows"))]

u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
texts = st.text(max_size=40)
binary = st.binary(max_size=60)
columns = st.tuples(*[st.builds(message.Column, texts, u32)] * 2) | st.just(())
args = st.builds(message.Arg, texts, u32, st.none() | binary, st.sampled_from([0, 1]))
opens = st.builds(
    message.Open, texts, st.integers(0, 31), u32, texts, texts, st.tuples(args, args), columns, columns
)
MESSAGES: dict[FrameType, st.SearchStrategy[Any]] = {
    FrameType.HELLO: st.builds(message.Hello, u16, u16, u32, texts, texts, texts),
    FrameType.WELCOME: st.builds(message.Welcome, u16, u16, u32, u32, texts, texts),
    FrameType.ERROR: st.builds(
        message.Failure, st.sampled_from(sorted(TABLE)), texts, texts, texts, texts, st.booleans()
    ),
    FrameType.NOTICE: st.builds(message.Notice, st.integers(0, 255), texts, texts, texts),
    FrameType.HEARTBEAT: st.builds(message.Heartbeat, u32, u64),
    FrameType.NEED: st.builds(message.Need, texts),
    FrameType.END: st.builds(message.End, u64, u64, u32, u64, u64, texts, texts),
}
DECODERS: dict[FrameType, Any] = {
    FrameType.HELLO: message.Hello.decode,
    FrameType.WELCOME: message.Welcome.decode,
    FrameType.ERROR: message.Failure.decode,
    FrameType.NOTICE: message.Notice.decode,
    FrameType.HEARTBEAT: message.Heartbeat.decode,
    FrameType.NEED: message.Need.decode,
    FrameType.END: message.End.decode,
    FrameType.PART: message.Part.decode,
    FrameType.BATCH: ColumnBlock.decode,
    FrameType.ROWS: ColumnBlock.decode,
}


def decode(type_: int, flags: int, payload: bytes) -> object:
    """A frame's payload by its type; DONE and ACK have none."""
    if type_ == FrameType.OPEN:
        return message.Open.decode(payload, flags)
    decoder = DECODERS.get(FrameType(type_))
    return None if decoder is None else decoder(payload)


READERS: dict[int, Callable[[RawColumn, int], object]] = {
    values.SEND: values.split_values,
    values.TEXT: values.split_values,
    values.FIXED: lambda column, nrows: values.unpack_fixed(column, values.INT4, nrows),
    values.FLOAT4S: values.unpack_floats,
    values.FLOAT8S: values.unpack_floats,
}


def read_all(block: ColumnBlock) -> None:
    """Every cell of a block, by the reader of each column's encoding."""
    for column in block.columns:
        READERS[column.encoding](column, block.nrows)


@pytest.mark.parametrize("type_", MESSAGES, ids=lambda t: t.name)
@settings(deadline=None)
@given(data=st.data())
def test_a_message_comes_back_as_it_was(type_: FrameType, data: st.DataObject) -> None:
    sent = data.draw(MESSAGES[type_])
    (frame,) = frames_of(sent.encode())
    assert frame.type == type_
    assert decode(frame.type, frame.flags, frame.payload) == sent


@settings(deadline=None)
@given(opens)
def test_an_open_comes_back_as_it_was(sent: message.Open) -> None:
    (frame,) = frames_of(sent.encode())
    assert message.Open.decode(frame.payload, frame.flags) == sent


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), binary, u32), max_size=6), st.lists(st.integers(1, 30)))
def test_frames_survive_any_cutting(frames: list[tuple[int, bytes, int]], cuts: list[int]) -> None:
    stream = b"".join(pack_frame(type_, payload, 0, seq) for type_, payload, seq in frames)
    reader, found, at = FrameReader(), [], 0
    for size in [*cuts, len(stream)]:
        found += reader.feed(stream[at : at + size])
        at += size
    assert [(f.type, f.payload, f.seq) for f in found] == frames
    assert reader.pending() == 0


@given(st.lists(st.none() | binary), st.sampled_from([values.SEND, values.TEXT]))
def test_values_come_back(cells: list[bytes | None], encoding: int) -> None:
    assert values.split_values(values.pack_values(cells, encoding), len(cells)) == cells


@pytest.mark.parametrize(("oid", "width"), [(values.INT2, 2), (values.INT4, 4), (values.INT8, 8)])
@given(data=st.data())
def test_integers_come_back(oid: int, width: int, data: st.DataObject) -> None:
    bound = 2 ** (8 * width - 1)
    cells = data.draw(st.lists(st.none() | st.integers(-bound, bound - 1), max_size=20))
    assert values.unpack_fixed(values.pack_fixed(oid, width, cells), oid, len(cells)) == cells


@given(st.lists(st.none() | st.booleans(), max_size=20))
def test_booleans_come_back(cells: list[bool | None]) -> None:
    assert values.unpack_fixed(values.pack_fixed(values.BOOL, 1, cells), values.BOOL, len(cells)) == cells


@given(st.integers(0, 6), st.integers(0, 6), st.data())
def test_vectors_come_back(rows: int, dimensions: int, data: st.DataObject) -> None:
    count = rows * dimensions
    flat = data.draw(st.lists(st.floats(width=32, allow_nan=False), min_size=count, max_size=count))
    column = values.pack_float4s(array("f", flat).tobytes(), rows, dimensions)
    found = values.unpack_floats(column, rows)
    assert [x for row in found if row is not None for x in row] == flat


SCALARS = [
    (values.INT2, st.integers(-(2**15), 2**15 - 1)), (values.INT4, st.integers(-(2**31), 2**31 - 1)),
    (values.INT8, st.integers(-(2**63), 2**63 - 1)), (values.FLOAT8, st.floats(allow_nan=False)),
    (values.BOOL, st.booleans()), (values.TEXT_OID, st.text()), (values.JSONB, st.text()),
    (values.VARCHAR, st.text()),
]  # fmt: skip


@pytest.mark.parametrize(("oid", "cells"), SCALARS, ids=[str(oid) for oid, _ in SCALARS])
@pytest.mark.parametrize("is_text", [False, True], ids=["send", "text"])
@given(data=st.data())
def test_scalars_come_back(
    oid: int, cells: st.SearchStrategy[Any], is_text: bool, data: st.DataObject
) -> None:
    cell = data.draw(cells)
    assert values.decode_value(values.encode_value(cell, oid, is_text), oid, is_text) == cell


@given(st.floats(width=32, allow_nan=False))
def test_a_float4_comes_back(cell: float) -> None:
    raw = values.encode_value(cell, values.FLOAT4)
    found = values.decode_value(raw, values.FLOAT4)
    assert isinstance(found, float)
    assert math.copysign(1.0, found) == math.copysign(1.0, cell)
    assert found == cell


@given(st.binary(max_size=12), st.sampled_from([oid for oid, _ in SCALARS]), st.booleans())
def test_a_value_that_does_not_fit_its_type_is_refused(raw: bytes, oid: int, is_text: bool) -> None:
    try:
        values.decode_value(raw, oid, is_text)
    except WireError as error:
        assert error.code in ("bad_argument", "invalid_text")


@pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_a_damaged_payload_is_refused_or_read_within_its_bytes(path: Path, data: st.DataObject) -> None:
    (frame,) = frames_of(path.read_bytes())
    damaged = bytearray(frame.payload)
    for at in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), min_size=1, max_size=4)):
        if damaged:
            damaged[at] = data.draw(st.integers(0, 255))
    keep = data.draw(st.integers(0, len(damaged)))
    try:
        found = decode(frame.type, frame.flags, bytes(damaged[:keep]))
        if isinstance(found, ColumnBlock):
            read_all(found)
    except WireError as error:
        assert error.code in ("protocol_violation", "invalid_text")


@pytest.mark.parametrize("path", BLOCKS, ids=lambda p: p.stem)
def test_every_column_of_a_vector_cut_anywhere_is_refused(path: Path) -> None:
    (frame,) = frames_of(path.read_bytes())
    block = ColumnBlock.decode(frame.payload)
    read_all(ColumnBlock(block.nrows, tuple(c for c in block.columns if c.encoding != values.FIXED)))
    for column in block.columns:
        for end in range(len(column.data)):
            with pytest.raises(WireError):
                read_all(ColumnBlock(block.nrows, (RawColumn(column.encoding, column.data[:end]),)))


@given(binary)
def test_noise_is_no_reason_to_crash(noise: bytes) -> None:
    reader = FrameReader(1 << 16)
    try:
        for frame in reader.feed(noise):
            if frame.type in set(FrameType):
                decode(frame.type, frame.flags, frame.payload)
    except WireError:
        return
    assert reader.pending() <= len(noise)


@given(st.integers(MAX_FRAME + 1, 2**32 - 1), st.integers(0, 255))
def test_a_length_over_the_limit_is_refused_at_the_header(length: int, type_: int) -> None:
    header = struct.pack("!IBBHI", length, type_, 0, 0, 0)
    assert len(header) == HEADER_SIZE
    with pytest.raises(WireError, match="exceeds"):
        FrameReader().feed(header)


@pytest.mark.parametrize("nrows", [1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("encoding", range(5))
def test_a_row_count_that_no_bytes_back_is_refused_at_once(nrows: int, encoding: int) -> None:
    """Without the memory that so many rows would take."""
    payload = struct.pack("!IHBI", nrows, 1, encoding, 0)
    with pytest.raises(WireError):
        read_all(ColumnBlock.decode(payload))
