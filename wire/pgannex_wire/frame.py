"""Cuts a byte stream into frames and builds frames. Knows headers, not payloads.

`FrameReader` is fed whatever a socket gave and yields whole frames; it never blocks and
never holds more than one incomplete frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from pgannex_wire.errors import WireError

HEADER = struct.Struct("!IBBHI")
HEADER_SIZE = HEADER.size
MAX_FRAME = 32 * 1024 * 1024


class FrameType(IntEnum):
    HELLO = 0x01
    OPEN = 0x02
    BATCH = 0x03
    DONE = 0x04
    PART = 0x05
    WELCOME = 0x81
    ROWS = 0x82
    ERROR = 0x83
    NOTICE = 0x84
    HEARTBEAT = 0x85
    NEED = 0x86
    END = 0x87
    ACK = 0x88


IGNORABLE = 0x40
"""Frame types with this bit set are skipped by an end that does not know them."""

# Flags of OPEN.
SINGLE = 1
BULK = 2
UNORDERED = 4
TEXT_RESULTS = 8
PUSH = 16
# Flag of BATCH, PART and ROWS.
LAST = 1
# Flag of PART.
MISSING = 2


class Frame(NamedTuple):
    """One frame: type, flags, seq and the payload's bytes."""

    type: int
    flags: int
    seq: int
    payload: bytes


def pack_frame(type_: int, payload: bytes = b"", flags: int = 0, seq: int = 0) -> bytes:
    """The frame's bytes. Raises WireError(too_large) above MAX_FRAME."""
    if len(payload) > MAX_FRAME:
        raise WireError("too_large", f"a frame of {len(payload)} bytes exceeds {MAX_FRAME}")
    return HEADER.pack(len(payload), type_, flags, 0, seq) + payload


class FrameReader:
    """Incremental reader: `feed(data)` then iterate; what is incomplete stays inside.

    Raises WireError(protocol_violation) on a header whose length exceeds `max_frame`.
    """

    __slots__ = ("_buffer", "_max_frame")

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._max_frame = max_frame

    def feed(self, data: bytes) -> list[Frame]:
        """Add `data`, return every frame that is now whole, in order."""
        if not self._buffer:
            frames, used = self._cut(data)
            if used < len(data):
                self._buffer += memoryview(data)[used:]
            return frames
        self._buffer += data
        if len(self._buffer) < HEADER_SIZE or len(self._buffer) < HEADER_SIZE + self._length():
            return []
        frames, used = self._cut(bytes(self._buffer))
        del self._buffer[:used]
        return frames

    def _length(self) -> int:
        length = int.from_bytes(self._buffer[:4], "big")
        self._check(length)
        return length

    def _check(self, length: int) -> None:
        if length > self._max_frame:
            raise WireError(
                "protocol_violation",
                f"a frame of {length} bytes exceeds the limit of {self._max_frame}",
            )

    def _cut(self, data: bytes) -> tuple[list[Frame], int]:
        frames: list[Frame] = []
        at = 0
        end = len(data)
        while end - at >= HEADER_SIZE:
            length, type_, flags, _reserved, seq = HEADER.unpack_from(data, at)
            self._check(length)
            stop = at + HEADER_SIZE + length
            if stop > end:
                break
            frames.append(Frame(type_, flags, seq, data[at + HEADER_SIZE : stop]))
            at = stop
        return frames, at

    def pending(self) -> int:
        """Bytes held of a frame that is not whole yet."""
        return len(self._buffer)


def frames_of(data: bytes) -> Iterator[Frame]:
    """Every frame in `data`, which must hold whole frames only."""
    reader = FrameReader()
    yield from reader.feed(data)
    if reader.pending():
        raise WireError("protocol_violation", f"{reader.pending()} bytes after the last whole frame")
