"""What a connection checks about a frame before it believes it; sizes of blocks are the wire's."""

from __future__ import annotations

from pgannex_wire import WireError
from pgannex_wire.errors import clipped

MAX_HELLO = 64 << 10


def check_hello(size: int) -> None:
    """Refuse a first frame, whole or not, that is larger than any HELLO."""
    if size > MAX_HELLO:
        raise WireError("protocol_violation", f"the first frame is no HELLO of at most {MAX_HELLO} bytes")


def check_names(what: str, names: list[str]) -> None:
    """Refuse an OPEN that names an input or an output twice."""
    if len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise WireError("bad_argument", f'{what} "{clipped(twice)}" is named twice')
