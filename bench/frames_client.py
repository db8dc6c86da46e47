"""A client of the frames door without Postgres: what the server alone can do.

It speaks the same batches (512 rows), credits and flags as the native host's pull form,
so that the difference to embed_rows is Postgres and nothing else.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from pgannex_wire import PROTOCOL_MAJOR, PROTOCOL_MINOR, frame, message, values
from pgannex_wire.frame import FrameReader, FrameType

BATCH_ROWS = 512


def embed_over_frames(path: Path, model: str, texts: Sequence[str]) -> float:
    """Texts per second for all `texts` through one bulk request. Raises WireError as the server says."""
    batches = [_batch(texts, at) for at in range(0, len(texts), BATCH_ROWS)]
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        start = time.perf_counter()
        sock.sendall(_hello() + _open(model))
        received = _exchange(sock, batches)
        seconds = time.perf_counter() - start
    assert received == len(texts), f"{received} vectors for {len(texts)} texts"
    return len(texts) / seconds


def _hello() -> bytes:
    return message.Hello(PROTOCOL_MAJOR, PROTOCOL_MINOR, os.getpid(), "bench", "", "bench").encode()


def _open(model: str) -> bytes:
    columns = (message.Column("key", values.TEXT_OID), message.Column("input", values.TEXT_OID))
    outputs = (message.Column("key", values.TEXT_OID), message.Column("embedding", values.FLOAT4_ARRAY))
    args = (message.Arg("model", values.TEXT_OID, model.encode()),)
    flags = frame.BULK | frame.UNORDERED
    return message.Open("embed", flags, args=args, columns=columns, outputs=outputs).encode()


def _batch(texts: Sequence[str], at: int) -> bytes:
    part = texts[at : at + BATCH_ROWS]
    keys = values.pack_texts(str(i) for i in range(at, at + len(part)))
    block = values.ColumnBlock(len(part), (keys, values.pack_texts(part)))
    last = frame.LAST if at + BATCH_ROWS >= len(texts) else 0
    return frame.pack_frame(FrameType.BATCH, block.encode(), last, at // BATCH_ROWS)


def _exchange(sock: socket.socket, batches: Sequence[bytes]) -> int:
    reader, window, unanswered, sent, received = FrameReader(), 2, 0, 0, 0
    while True:
        while sent < len(batches) and unanswered < window:
            sock.sendall(batches[sent])
            sent, unanswered = sent + 1, unanswered + 1
        data = sock.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed the connection")
        for got in reader.feed(data):
            if got.type == FrameType.WELCOME:
                window = message.Welcome.decode(got.payload).window
            elif got.type == FrameType.ROWS:
                received += int.from_bytes(got.payload[:4], "big")
                unanswered -= bool(got.flags & frame.LAST)
            elif got.type == FrameType.ERROR:
                raise message.Failure.decode(got.payload).error()
            elif got.type == FrameType.END:
                return received
