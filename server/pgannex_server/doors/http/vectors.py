"""How do vectors become the body of /v1/embeddings? By hand, in slices.

The generic way (lists of floats through pydantic and json) costs tens of milliseconds for
64 vectors. Here base64 is copied from the engine's own little-endian float32, and floats
are printed by one `%` per row with the nine digits that give the same float32 back.
Between slices the event loop runs, so that a large answer does not hold up a small one.
"""

from __future__ import annotations

import asyncio
import json
import struct
from array import array
from binascii import b2a_base64
from collections.abc import Iterator
from functools import lru_cache

from pgannex_wire.errors import WireError
from pgannex_wire.values import FLOAT4S, ColumnBlock

_SLICE_FLOATS = 16_384
_SLICE_BASE64 = 262_144
_LITTLE = struct.pack("<I", 1) == struct.pack("=I", 1)


async def render(
    blocks: list[ColumnBlock], model: str, tokens: int, base64: bool, notices: list[str]
) -> bytes:
    """The whole response body; the embedding is each block's first column."""
    parts = [b'{"object":"list","data":[']
    spent, index = 0, 0
    budget = _SLICE_BASE64 if base64 else _SLICE_FLOATS
    for block in blocks:
        for row in _rows(block):
            text = _base64(row) if base64 else _floats(row)
            lead = (
                b',{"object":"embedding","index":%d,"embedding":'
                if index
                else b'{"object":"embedding","index":%d,"embedding":'
            )
            parts += (lead % index, text, b"}")
            index += 1
            spent += len(row) >> 2
            if spent >= budget:
                spent = 0
                await asyncio.sleep(0)
    tail = f'],"model":{json.dumps(model)},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}'
    if notices:
        tail += f',"notices":{json.dumps(notices)}'
    parts.append((tail + "}").encode())
    return b"".join(parts)


def _rows(block: ColumnBlock) -> Iterator[memoryview]:
    """Each row's float32 values as little-endian bytes."""
    column = block.columns[0]
    if column.encoding != FLOAT4S:
        raise WireError("internal", f"an embedding came in encoding {column.encoding}")
    data = memoryview(column.data)
    at = 4 * block.nrows
    for (count,) in struct.iter_unpack("!i", data[:at]):
        if count < 0 or at + 4 * count > len(data):
            raise WireError("internal", f"an embedding came with {count} elements")
        yield data[at : at + 4 * count]
        at += 4 * count


def _base64(row: memoryview) -> bytes:
    return b'"%b"' % b2a_base64(row, newline=False)


def _floats(row: memoryview) -> bytes:
    values = array("f", bytes(row))
    if not _LITTLE:
        values.byteswap()
    text = _layout(len(values)) % tuple(values)
    if "n" in text:
        raise WireError("internal", "the model gave a vector that is not finite")
    return text.encode()


@lru_cache(maxsize=64)
def _layout(count: int) -> str:
    return f"[{','.join(['%.9g'] * count)}]"
