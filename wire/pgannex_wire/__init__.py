"""The wire between Postgres and the pgannex server: bytes in, bytes out, no sockets.

Standard library only. `frame` cuts a byte stream into frames, `message` gives each frame
type a dataclass with `encode` and `decode`, `values` packs and unpacks column blocks, and
`errors` is the one table of error codes. PROTOCOL.md is the specification.
"""

from pgannex_wire.errors import ErrorCode, WireError, code_of
from pgannex_wire.frame import HEADER_SIZE, MAX_FRAME, Frame, FrameReader, FrameType, pack_frame

PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 0

__all__ = [
    "HEADER_SIZE",
    "MAX_FRAME",
    "PROTOCOL_MAJOR",
    "PROTOCOL_MINOR",
    "ErrorCode",
    "Frame",
    "FrameReader",
    "FrameType",
    "WireError",
    "code_of",
    "pack_frame",
]
