"""The bytes between the server and a worker process: frame types of their own and packing.

Frames are those of framing.py. One batch is under way per worker at a time, so nothing is
matched by number. Integers in payloads are in native order, texts are raw UTF-8 that only
the worker decodes, and everything that is not on the hot path is JSON. No sockets in here.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, NamedTuple

from pgannex_server.engines.base import EmbedOptions, EngineError, ModelInfo, ModelSpec
from pgannex_server.workers.framing import HEADER, HEADER_SIZE, frame, header_of

__all__ = ["HEADER_SIZE", "frame", "header_of"]

# From the server.
LOAD, EMBED, STOP = 0x10, 0x11, 0x12
# From the worker.
READY, LOAD_FAILED, RESULT, BATCH_FAILED = 0x90, 0x91, 0x92, 0x93

_EMBED_HEAD = struct.Struct("=II")
_EMBED_ONE = struct.Struct("=IIII")
_RESULT_HEAD = struct.Struct("=IIQI")
_U32 = struct.Struct("=I")
RESULT_HEAD_SIZE = _RESULT_HEAD.size

Failure = tuple[int, str, str, str, str]
"""(index in the batch, code, message, detail, hint) of one text that could not be embedded."""


def pack_load(spec: ModelSpec) -> bytes:
    return frame(LOAD, json.dumps({**asdict(spec), "options": dict(spec.options)}).encode())


def unpack_load(payload: bytes) -> ModelSpec:
    return ModelSpec(**json.loads(payload))


def pack_options(options: EmbedOptions) -> bytes:
    """The options as bytes; equal options give equal bytes, so the worker caches by them."""
    return json.dumps(asdict(options)).encode()


def unpack_options(raw: bytes) -> EmbedOptions:
    data = json.loads(raw)
    data["extra"] = tuple((key, value) for key, value in data["extra"])
    return EmbedOptions(**data)


def pack_embed(options: bytes, texts: Sequence[bytes]) -> bytes:
    """An EMBED frame: count, options, the texts' lengths, the texts."""
    n = len(texts)
    if n == 1:
        text = texts[0]
        size = _EMBED_HEAD.size + len(options) + 4 + len(text)
        return b"".join((_EMBED_ONE.pack(size, EMBED, 1, len(options)), options, _U32.pack(len(text)), text))
    lengths = struct.pack(f"={n}I", *map(len, texts))
    size = _EMBED_HEAD.size + len(options) + len(lengths) + sum(map(len, texts))
    head = HEADER.pack(size, EMBED) + _EMBED_HEAD.pack(n, len(options))
    return b"".join((head, options, lengths, *texts))


def unpack_embed(payload: bytes) -> tuple[bytes, list[bytes]]:
    """(options, texts) of an EMBED frame."""
    n, options_size = _EMBED_HEAD.unpack_from(payload)
    at = _EMBED_HEAD.size
    options = payload[at : at + options_size]
    at += options_size
    lengths = struct.unpack_from(f"={n}I", payload, at)
    at += 4 * n
    texts = []
    for length in lengths:
        texts.append(payload[at : at + length])
        at += length
    return options, texts


class Result(NamedTuple):
    """What came back for a batch. Where `failures` names an index, tokens and vector are void."""

    dimensions: int
    compute_ns: int
    tokens: Sequence[int]
    vectors: bytes
    failures: Sequence[Failure]


def pack_result(
    dimensions: int, compute_ns: int, tokens: Sequence[int], vectors: bytes, failures: Sequence[Failure]
) -> bytes:
    raw = json.dumps(failures).encode() if failures else b""
    n = len(tokens)
    head = _RESULT_HEAD.pack(n, dimensions, compute_ns, len(raw))
    size = len(head) + 4 * n + len(vectors) + len(raw)
    return b"".join((HEADER.pack(size, RESULT), head, struct.pack(f"={n}i", *tokens), vectors, raw))


def unpack_result(payload: bytes) -> Result:
    n, dimensions, compute_ns, failures_size = _RESULT_HEAD.unpack_from(payload)
    tokens = struct.unpack_from(f"={n}i", payload, RESULT_HEAD_SIZE)
    start = RESULT_HEAD_SIZE + 4 * n
    stop = start + 4 * n * dimensions
    if stop + failures_size != len(payload):
        raise ValueError(f"a result of {n} × {dimensions} has {len(payload)} bytes")
    failures = json.loads(payload[stop:]) if failures_size else ()
    return Result(dimensions, compute_ns, tokens, payload[start:stop], failures)


def pack_ready(info: ModelInfo) -> bytes:
    return frame(READY, json.dumps(asdict(info)).encode())


def unpack_ready(payload: bytes) -> ModelInfo:
    known = {f.name for f in fields(ModelInfo)}
    data = {key: value for key, value in json.loads(payload).items() if key in known}
    for key in ("prompts", "verbs"):
        data[key] = tuple(data.get(key, ()))
    return ModelInfo(**data)


def pack_error(type_: int, error: EngineError) -> bytes:
    body = {"code": error.code, "message": error.message, "detail": error.detail, "hint": error.hint}
    return frame(type_, json.dumps(body).encode())


def unpack_error(payload: bytes) -> EngineError:
    body: Mapping[str, Any] = json.loads(payload)
    return EngineError(body["code"], body["message"], detail=body["detail"], hint=body["hint"])
