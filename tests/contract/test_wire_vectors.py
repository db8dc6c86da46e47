"""The golden vectors: what the code writes is what lies in the folder, and cut bytes are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pgannex_wire import message, values
from pgannex_wire.errors import WireError
from pgannex_wire.frame import FrameReader, FrameType, frames_of

ROOT = Path(__file__).resolve().parents[2]
VECTORS = sorted((ROOT / "wire" / "pgannex_wire" / "vectors").glob("*.bin"))

DECODERS = {
    FrameType.HELLO: message.Hello.decode,
    FrameType.PART: message.Part.decode,
    FrameType.WELCOME: message.Welcome.decode,
    FrameType.ERROR: message.Failure.decode,
    FrameType.NOTICE: message.Notice.decode,
    FrameType.HEARTBEAT: message.Heartbeat.decode,
    FrameType.NEED: message.Need.decode,
    FrameType.END: message.End.decode,
    FrameType.BATCH: values.ColumnBlock.decode,
    FrameType.ROWS: values.ColumnBlock.decode,
}


def decode(type_: int, flags: int, payload: bytes) -> object:
    if type_ == FrameType.OPEN:
        return message.Open.decode(payload, flags)
    return DECODERS[FrameType(type_)](payload)


def test_the_generator_writes_what_lies_in_the_folder() -> None:
    tool = ROOT / "tools" / "make_wire_vectors.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_there_is_a_vector_for_every_frame_type() -> None:
    seen = {next(frames_of(path.read_bytes())).type for path in VECTORS}
    assert seen == set(FrameType)


@pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
def test_a_frame_may_arrive_in_any_pieces(path: Path) -> None:
    data = path.read_bytes()
    (whole,) = frames_of(data)
    reader = FrameReader()
    frames = [frame for byte in data for frame in reader.feed(bytes((byte,)))]
    assert frames == [whole]
    assert reader.pending() == 0


@pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
def test_a_payload_cut_anywhere_is_refused_or_shorter(path: Path) -> None:
    (whole,) = frames_of(path.read_bytes())
    if not whole.payload:
        return
    full = decode(whole.type, whole.flags, whole.payload)
    for end in range(len(whole.payload)):
        try:
            cut = decode(whole.type, whole.flags, whole.payload[:end])
        except WireError as error:
            assert error.code in ("protocol_violation", "invalid_text")
        else:
            assert whole.type == FrameType.PART, "only a part's bytes may end anywhere"
            assert cut != full


def test_an_oversized_length_is_refused_before_its_bytes_arrive() -> None:
    with pytest.raises(WireError, match="exceeds the limit"):
        FrameReader().feed(b"\xff\xff\xff\xff" + bytes(8))


def test_columns_come_back_as_they_were_packed() -> None:
    (whole,) = (f for f in frames_of((VECTORS[0].parent / "batch.bin").read_bytes()))
    block = values.ColumnBlock.decode(whole.payload)
    texts, flags, doubles = block.columns
    assert values.split_values(texts, block.nrows) == [b"one", None, b""]
    assert values.unpack_fixed(flags, values.BOOL, block.nrows) == [True, False, True]
    first, second, third = values.unpack_floats(doubles, block.nrows)
    assert (list(first or ()), second, list(third or (9.0,))) == ([0.5, -0.25], None, [9.0])
