"""An artifact's container: metadata, named blobs and a signature, as one run of bytes.

Which question it answers: are these bytes a model that this server's key signed, and what is
in them. The fit builds the body, the parent signs it (`fits/artifact.py` does so in a file,
piece by piece), and whoever reads one trusts no length in it. Standard library only, because
the parent imports it. What the blobs mean is `formats.py`.

    "PGANNEX1" | u64 length, JSON metadata | u32 number of blobs
    | per blob: u16 length, name | u64 length, bytes | HMAC-SHA256 of all that is before it

Numbers are big-endian. The same metadata and blobs give the same bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from collections.abc import Mapping
from typing import Any, Final

from pgannex_wire import WireError

MAGIC: Final = b"PGANNEX1"
SIGNATURE: Final = 32
"""Bytes of the signature at the end."""

_U16 = struct.Struct("!H")
_U32 = struct.Struct("!I")
_U64 = struct.Struct("!Q")
_MAX_METADATA = 256 << 20
_MAX_BLOBS = 64
_KEY_HINT = (
    "was it trained by a server with another key? see `pgannex key export` there and "
    "`pgannex key import` here; otherwise train it again"
)
_DAMAGED_HINT = "the artifact is damaged: restore pgml.files from a backup, or train the model again"

Blob = bytes | memoryview


def build(meta: Mapping[str, Any], blobs: Mapping[str, Blob]) -> bytes:
    """The body, unsigned: metadata with sorted keys, blobs by name."""
    if len(blobs) > _MAX_BLOBS:
        raise WireError("internal", f"an artifact of {len(blobs)} blobs: {_MAX_BLOBS} are the most")
    described = json.dumps(meta, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    pieces: list[Blob] = [MAGIC, _U64.pack(len(described)), described, _U32.pack(len(blobs))]
    for name in sorted(blobs):
        encoded, blob = name.encode(), blobs[name]
        pieces += [_U16.pack(len(encoded)), encoded, _U64.pack(memoryview(blob).nbytes), blob]
    return b"".join(pieces)


def sign(body: Blob, key: bytes) -> bytes:
    """The artifact: the body and its signature."""
    return b"".join((body, hmac.digest(key, body, "sha256")))


def verify(data: Blob, key: bytes) -> None:
    """Raises artifact_invalid where `key` did not sign `data`."""
    view = memoryview(data)
    _check_magic(view)
    if len(view) < len(MAGIC) + SIGNATURE:
        raise _damaged(f"it ends after {len(view)} bytes")
    signature = bytes(view[-SIGNATURE:])
    if not hmac.compare_digest(hmac.digest(key, view[:-SIGNATURE], "sha256"), signature):
        raise WireError(
            "artifact_invalid",
            f"the artifact of {len(view)} bytes is not signed by this server's key",
            hint=_KEY_HINT,
        )


def hash_of(data: Blob) -> str:
    """The name of a signed artifact: sha256 of all of its bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def read(data: Blob) -> tuple[dict[str, Any], dict[str, memoryview]]:
    """Metadata and blobs of a signed artifact; the blobs are slices of `data`, not copies.

    Checks every length, not the signature: `verify` came before.
    """
    view = memoryview(data)
    _check_magic(view)
    if len(view) < len(MAGIC) + SIGNATURE:
        raise _damaged(f"it ends after {len(view)} bytes")
    cursor = _Cursor(view[: len(view) - SIGNATURE], len(MAGIC))
    meta = _metadata(cursor)
    count = cursor.number(_U32, "the number of blobs")
    if count > _MAX_BLOBS:
        raise _damaged(f"it says that it has {count} blobs, {_MAX_BLOBS} are the most")
    blobs: dict[str, memoryview] = {}
    for _ in range(count):
        name = _name(cursor)
        if name in blobs:
            raise _damaged(f'it has two blobs "{name}"')
        blobs[name] = cursor.take(cursor.number(_U64, f'the length of blob "{name}"'), f'blob "{name}"')
    if cursor.left:
        raise _damaged(f"{cursor.left} bytes follow its last blob")
    return meta, blobs


class _Cursor:
    """Reads forward and never past the end."""

    def __init__(self, view: memoryview, at: int) -> None:
        self._view = view
        self._at = at

    @property
    def left(self) -> int:
        return len(self._view) - self._at

    def take(self, count: int, what: str) -> memoryview:
        if count > self.left:
            raise _damaged(f"{what} has {count} bytes, {self.left} are left")
        self._at += count
        return self._view[self._at - count : self._at]

    def number(self, layout: struct.Struct, what: str) -> int:
        (value,) = layout.unpack(self.take(layout.size, what))
        return int(value)


def _check_magic(view: memoryview) -> None:
    if bytes(view[: len(MAGIC)]) != MAGIC:
        raise _damaged(f"it begins with 0x{bytes(view[: len(MAGIC)]).hex()}, not with {MAGIC.decode()}")


def _metadata(cursor: _Cursor) -> dict[str, Any]:
    size = cursor.number(_U64, "the length of the metadata")
    if size > _MAX_METADATA:
        raise _damaged(f"it says that its metadata have {size} bytes, {_MAX_METADATA} are the most")
    try:
        meta = json.loads(bytes(cursor.take(size, "the metadata")))
    except (ValueError, RecursionError) as err:
        raise _damaged(f"its metadata are no JSON: {err}") from err
    if not isinstance(meta, dict):
        raise _damaged(f"its metadata are a JSON {type(meta).__name__}, not an object")
    return meta


def _name(cursor: _Cursor) -> str:
    try:
        return bytes(cursor.take(cursor.number(_U16, "the length of a name"), "a name")).decode()
    except UnicodeDecodeError as err:
        raise _damaged(f"the name of a blob is not UTF-8: {err}") from err


def _damaged(why: str) -> WireError:
    return WireError("artifact_invalid", f"the bytes are no artifact: {why}", hint=_DAMAGED_HINT)
