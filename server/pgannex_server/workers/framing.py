"""The frames between the server and its own processes: length, type, payload.

What the types mean is each conversation's own business (pipe.py for models). Both ends are
one host and one version, so integers are in native order and nothing is negotiated. No
sockets in here.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct("=II")
HEADER_SIZE = HEADER.size


def frame(type_: int, payload: bytes) -> bytes:
    """One frame. The wire's limit does not apply: the peer is our own process."""
    return HEADER.pack(len(payload), type_) + payload


def header_of(data: bytes | bytearray | memoryview) -> tuple[int, int]:
    """(type, length of the payload) of the frame that starts `data`."""
    length, type_ = HEADER.unpack_from(data)
    return type_, length
