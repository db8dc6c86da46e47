"""Writes the golden vectors of the wire: `wire/pgannex_wire/vectors/NAME.bin` and `index.json`.

Each vector is one whole frame. `index.json` says what is in it, for whoever reads the
bytes in another language. `--check` compares instead of writing and exits 1 on a
difference: a change of the protocol must be a decision, never an accident.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "wire"))

from pgannex_wire import frame, message, values
from pgannex_wire.values import ColumnBlock

FOLDER = Path(__file__).resolve().parents[1] / "wire" / "pgannex_wire" / "vectors"


def _floats(*cells: float) -> bytes:
    return struct.pack(f"<{len(cells)}f", *cells)


def _open_single() -> bytes:
    args = (
        message.Arg("model", values.TEXT_OID, b"echo"),
        message.Arg("input", values.TEXT_OID, "naïve café 🐘".encode()),
        message.Arg("kwargs", values.JSONB, b'\x01{"normalize": true}'),
        message.Arg("on_error", values.TEXT_OID, None),
    )
    outputs = (message.Column("embedding", values.FLOAT4_ARRAY),)
    return message.Open(
        "embed", frame.SINGLE, 60_000, "alice", '{"see_all": false}', args, (), outputs
    ).encode()


def _open_stream() -> bytes:
    args = (message.Arg("model", values.TEXT_OID, b"echo", message.TEXT_FORMAT),)
    columns = (message.Column("key", values.TEXT_OID), message.Column("input", values.TEXT_OID))
    outputs = (message.Column("key", values.TEXT_OID), message.Column("embedding", values.FLOAT4_ARRAY))
    flags = frame.BULK | frame.UNORDERED
    return message.Open("embed", flags, 0, "bulk role", "", args, columns, outputs).encode()


def _block(*columns: values.RawColumn, nrows: int) -> bytes:
    return ColumnBlock(nrows, columns).encode()


def vectors() -> dict[str, bytes]:
    """Name to whole frame."""
    texts = values.pack_texts(["one", None, ""])
    numbers = values.pack_fixed(values.INT4, 4, [1, None, -3])
    flags = values.pack_fixed(values.BOOL, 1, [True, False, True])
    doubles = values.RawColumn(values.FLOAT8S, struct.pack("!3i", 2, -1, 0) + struct.pack("<2d", 0.5, -0.25))
    rows = _block(texts, values.pack_float4s(_floats(1, 2, 3, 4, 5, 6), 3, 2), numbers, nrows=3)
    return {
        "hello": message.Hello(1, 0, 4711, "pgml/0.1.0 native postgres/180001", "db", "psql").encode(),
        "open_single": _open_single(),
        "open_stream": _open_stream(),
        "batch": frame.pack_frame(
            frame.FrameType.BATCH, _block(texts, flags, doubles, nrows=3), frame.LAST, 7
        ),
        "batch_text": frame.pack_frame(
            frame.FrameType.BATCH, _block(values.pack_texts(["{1,2}", None], values.TEXT), nrows=2), 0, 8
        ),
        "done": frame.pack_frame(frame.FrameType.DONE),
        "part": message.Part("00ff", b"\x00\x01bytes").encode(1, frame.LAST),
        "part_missing": message.Part("00ff", b"").encode(0, frame.LAST | frame.MISSING),
        "welcome": message.Welcome(1, 0, 16, frame.MAX_FRAME, "pgannex/0.1.0", "a1b2").encode(),
        "rows": frame.pack_frame(frame.FrameType.ROWS, rows, frame.LAST, 7),
        "rows_none": frame.pack_frame(frame.FrameType.ROWS, _block(nrows=0), frame.LAST, 9),
        "error": message.Failure(
            "unknown_model", "XX000", 'model "x" is unknown', "asked by embed", "known models: echo", False
        ).encode(),
        "notice": message.Notice(2, "loading", "first use", "pin it").encode(),
        "heartbeat": message.Heartbeat(3, 12345678901).encode(),
        "need": message.Need("00ff").encode(),
        "end": message.End(3, 12, 1, 150, 900, "torch cpu bfloat16", "echo@1").encode(),
        "ack": frame.pack_frame(frame.FrameType.ACK, b"", 0, 7),
    }


def _index(frames: dict[str, bytes]) -> str:
    rows = {}
    for name, data in frames.items():
        whole = next(frame.frames_of(data))
        rows[name] = {
            "type": whole.type,
            "flags": whole.flags,
            "seq": whole.seq,
            "payload": len(whole.payload),
        }
    return json.dumps(rows, indent=1) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the files, write nothing")
    check = parser.parse_args().check
    frames = vectors()
    files = {f"{name}.bin": data for name, data in frames.items()}
    files["index.json"] = _index(frames).encode()
    stale = [n for n, data in files.items() if not (FOLDER / n).exists() or (FOLDER / n).read_bytes() != data]
    stale += [p.name for p in FOLDER.iterdir() if p.name not in files]
    if check:
        if stale:
            print(f"golden vectors differ: {', '.join(sorted(stale))}", file=sys.stderr)
        return 1 if stale else 0
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
    print(f"{len(frames)} vectors in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
