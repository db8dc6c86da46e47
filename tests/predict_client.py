"""A client of the verb predict that speaks frames by hand, and artifacts to speak about.

An artifact is fitted here, by the same package as the server's fits, and signed with the key of
the server under test, as its own would be.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from frames_process import Client, FramesServer
from pgannex_server import key
from pgannex_server.tabular import artifact
from pgannex_wire.frame import BULK, LAST, MISSING, SINGLE, UNORDERED, Frame, FrameType, pack_frame
from pgannex_wire.message import Arg, Column, End, Failure, Need, Open, Part
from pgannex_wire.values import (
    FIXED,
    FLOAT4,
    FLOAT4_ARRAY,
    FLOAT8,
    FLOAT8_ARRAY,
    TEXT_ARRAY,
    TEXT_OID,
    ColumnBlock,
    RawColumn,
    pack_texts,
    pack_values,
    split_values,
    unpack_fixed,
    unpack_floats,
)

OIDS = {
    "prediction": FLOAT4, "predictions": FLOAT4_ARRAY, "probabilities": FLOAT4_ARRAY, "label": TEXT_OID,
    "labels": TEXT_ARRAY, "score": FLOAT4, "scores": FLOAT4_ARRAY, "components": FLOAT4_ARRAY,
    "error": TEXT_OID, "key": TEXT_OID,
}  # fmt: skip


class Artifact:
    """Signed bytes and their hash."""

    def __init__(self, server: FramesServer, body: bytes) -> None:
        self.data = artifact.sign(body, key.read(server.folder / "state" / "artifact.key"))
        self.hash = hashlib.sha256(self.data).hexdigest()


def real_array(values: Sequence[float] | Any) -> bytes:
    """The send form of a one-dimensional real[]."""
    cells = np.asarray(values, dtype=">f4").ravel()
    item = np.zeros(len(cells), dtype=[("size", ">i4"), ("value", ">f4")])
    item["size"], item["value"] = 4, cells
    head = (
        struct.pack("!iiiii", 1, 0, FLOAT4, len(cells), 1)
        if len(cells)
        else struct.pack("!iii", 0, 0, FLOAT4)
    )
    return head + item.tobytes()


def predict_open(
    hash: str,
    features: Any = None,
    row: str | None = None,
    outputs: Sequence[str] = ("prediction",),
    deadline_ms: int = 0,
    role: str = "app",
) -> bytes:
    """A scalar call."""
    args = [Arg("artifact", TEXT_OID, hash.encode())]
    if features is not None:
        args.append(Arg("features", FLOAT4_ARRAY, real_array(features)))
    if row is not None:
        args.append(Arg("row", TEXT_OID, row.encode()))
    wanted = tuple(Column(name, OIDS[name]) for name in outputs)
    return Open("predict", SINGLE, deadline_ms, role, "", tuple(args), (), wanted).encode()


def give(
    client: Client, found: Artifact, hash: str = "", data: bytes | None = None, part: int = 1 << 20
) -> None:
    """Send the parts of an artifact."""
    whole = found.data if data is None else data
    pieces = [whole[at : at + part] for at in range(0, len(whole), part)]
    for number, piece in enumerate(pieces):
        flags = LAST if number == len(pieces) - 1 else 0
        client.send(Part(hash or found.hash, piece).encode(number, flags))


def give_nothing(client: Client, hash: str) -> None:
    """The database does not hold it."""
    client.send(Part(hash, b"").encode(0, LAST | MISSING))


def cells(frame: Frame, outputs: Sequence[str]) -> dict[str, list[Any]]:
    """A ROWS frame's columns as Python values."""
    block = ColumnBlock.decode(frame.payload)
    return {
        name: _cells(raw, OIDS[name], block.nrows) for name, raw in zip(outputs, block.columns, strict=True)
    }


def _cells(raw: RawColumn, oid: int, nrows: int) -> list[Any]:
    if raw.encoding == FIXED:
        return unpack_fixed(raw, oid, nrows)
    if oid == FLOAT4_ARRAY and raw.encoding == 2:
        return [None if row is None else row.tolist() for row in unpack_floats(raw, nrows)]
    return [None if value is None else value.decode() for value in split_values(raw, nrows)]


def answer(
    client: Client, found: Artifact | None, outputs: Sequence[str] = ("prediction",)
) -> dict[str, list[Any]]:
    """The rows of a running scalar call; a NEED is answered with `found`."""
    while True:
        frame = client.expect(FrameType.ROWS, FrameType.NEED)
        if frame.type == FrameType.ROWS:
            rows = cells(frame, outputs)
            client.expect(FrameType.END)
            return rows
        assert found is not None, "the server asked for an artifact that it has"
        assert Need.decode(frame.payload).hash == found.hash
        give(client, found)


def predict(client: Client, found: Artifact, features: Any, **how: Any) -> Any:
    """One scalar call to its end: the prediction."""
    client.send(predict_open(found.hash, features, **how))
    return answer(client, found)["prediction"][0]


def rows_open(
    hash: str,
    columns: Sequence[Column],
    outputs: Sequence[str] = ("key", "prediction"),
    on_error: str = "",
    flags: int = BULK | UNORDERED,
) -> bytes:
    """prediction_rows: batches of `columns` follow."""
    args = [Arg("artifact", TEXT_OID, hash.encode())]
    if on_error:
        args.append(Arg("on_error", TEXT_OID, on_error.encode()))
    wanted = tuple(Column(name, OIDS[name]) for name in outputs)
    return Open("predict", flags, 0, "app", "", tuple(args), tuple(columns), wanted).encode()


def float8_column(values: Any, nulls: Any = None) -> RawColumn:
    """A FIXED column of double precision."""
    array = np.asarray(values, dtype="<f8")
    if nulls is None:
        return RawColumn(FIXED, b"\x08\x00" + array.tobytes())
    mask = np.asarray(nulls, dtype=bool)
    bitmap = np.packbits(mask, bitorder="little").tobytes()
    return RawColumn(FIXED, b"\x08\x01" + bitmap + np.where(mask, 0.0, array).tobytes())


def table_columns(names: Sequence[str]) -> list[Column]:
    """key and double precision columns."""
    return [Column("key", TEXT_OID), *(Column(name, FLOAT8) for name in names)]


def table_block(matrix: Any, base: int = 0, nulls: Any = None) -> ColumnBlock:
    """Rows of a matrix under the keys base, base + 1, …"""
    data = np.asarray(matrix, dtype=np.float64)
    keys = pack_texts([str(base + i) for i in range(len(data))])
    columns = [
        float8_column(data[:, j], None if nulls is None else nulls[:, j]) for j in range(data.shape[1])
    ]
    return ColumnBlock(len(data), (keys, *columns))


def array_block(rows: Sequence[Any], base: int = 0) -> ColumnBlock:
    """Rows with one real[] each, None for NULL."""
    keys = pack_texts([str(base + i) for i in range(len(rows))])
    return ColumnBlock(len(rows), (keys, pack_values([None if r is None else real_array(r) for r in rows])))


ARRAY_COLUMNS = [Column("key", TEXT_OID), Column("features", FLOAT4_ARRAY)]
WIDE_ARRAY_COLUMNS = [Column("key", TEXT_OID), Column("features", FLOAT8_ARRAY)]


def bulk(
    client: Client,
    found: Artifact,
    columns: Sequence[Column],
    blocks: Sequence[ColumnBlock],
    outputs: Sequence[str] = ("key", "prediction"),
    **how: Any,
) -> dict[str, list[Any]]:
    """A whole bulk request with credits; the columns of all its rows. Raises AssertionError on ERROR."""
    client.send(rows_open(found.hash, columns, outputs, **how))
    gathered: dict[str, list[Any]] = {name: [] for name in outputs}
    sent = unanswered = 0
    if not blocks:
        client.send(pack_frame(FrameType.DONE))
    while True:
        while sent < len(blocks) and unanswered < client.window:
            flags = LAST if sent == len(blocks) - 1 else 0
            client.send(pack_frame(FrameType.BATCH, blocks[sent].encode(), flags, sent))
            sent += 1
            unanswered += 1
        frame = client.expect(FrameType.ROWS, FrameType.END, FrameType.NEED)
        if frame.type == FrameType.END:
            assert End.decode(frame.payload).rows == len(next(iter(gathered.values())))
            return gathered
        if frame.type == FrameType.NEED:
            give(client, found)
            continue
        for name, values in cells(frame, outputs).items():
            gathered[name] += values
        unanswered -= bool(frame.flags & LAST)


def refusal(client: Client, opened: bytes, found: Artifact | None = None) -> Failure:
    """The ERROR that a call ends in; a NEED is answered with `found`."""
    client.send(opened)
    while True:
        frame = client.next()
        if frame.type == FrameType.ERROR:
            return Failure.decode(frame.payload)
        if frame.type == FrameType.NEED and found is not None:
            give(client, found)
        assert frame.type != FrameType.END, "the request ended well"


class _Silent:
    """A reporter that nobody listens to."""

    def info(self, text: str) -> None: ...
    def progress(self, fraction: float, text: str) -> None: ...


def fitted(
    server: FramesServer, matrix: Any, target: Any, algorithm: str = "xgboost", **spec: Any
) -> Artifact:
    """A model of y by the columns f0, f1, … of a matrix."""
    from pgannex_server.tabular.columns import Collector
    from pgannex_server.tabular.fit import fit
    from pgannex_server.tabular.spec import TrainSpec

    data = np.asarray(matrix, dtype=np.float64)
    columns = [{"name": f"f{j}", "pg_type": "float8", "position": j} for j in range(data.shape[1])]
    columns.append({"name": "y", "pg_type": "float8", "label": True, "position": data.shape[1]})
    order = {"project": "test", "task": "regression", "algorithm": algorithm, "columns": columns} | spec
    found = TrainSpec.parse(json.dumps(order))
    collector = Collector(found.columns)
    collector.feed(
        len(data), [*(float8_column(data[:, j]) for j in range(data.shape[1])), float8_column(target)]
    )
    return Artifact(server, fit(found, collector.finish(), _Silent()).body)
