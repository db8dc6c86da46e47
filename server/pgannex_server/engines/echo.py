"""The echo engine: a deterministic vector from a text's sha256, no model, no libraries.

For tests and for measuring everything around an engine. Each component is ±1/√dimensions,
its sign a bit of the hash chain, so a vector has unit length and equal texts give equal
vectors. Options of the model: dimensions, max_tokens, sleep_ms, fail_load, memory_bytes.
Options of a call (`extra`): sleep_ms, crash, hang, oom, fail and artifact: the bad days that
the tests need.
"""

from __future__ import annotations

import hashlib
import os
import signal
import struct
import time
from collections.abc import Sequence
from typing import ClassVar

from pgannex_server.engines.base import (
    EmbedOptions,
    EmbedResult,
    Engine,
    EngineError,
    ModelInfo,
    ModelSpec,
    Option,
)


class EchoEngine(Engine):
    """One instance serves any text; see the module for its options."""

    name: ClassVar[str] = "echo"

    def load(self, spec: ModelSpec) -> ModelInfo:
        options = spec.options
        if options.get("fail_load"):
            raise EngineError("load_failed", f"echo was told to fail: {options['fail_load']}")
        time.sleep(_number(options.get("load_ms")) / 1000)
        self._dimensions = int(_number(options.get("dimensions")) or 384)
        self._max_tokens = int(_number(options.get("max_tokens")) or 512)
        self._sleep_ms = _number(options.get("sleep_ms"))
        self._tables: dict[float, list[bytes]] = {}
        memory = int(_number(options.get("memory_bytes")))
        return ModelInfo(
            "echo", "cpu", "float32", self._dimensions, self._max_tokens, memory, "hash", ("query",)
        )

    def embed(self, texts: Sequence[str], options: EmbedOptions) -> EmbedResult:
        sleep_ms = self._sleep_ms
        salt = b""
        if options.extra:
            extra = dict(options.extra)
            _misbehave(extra, texts)
            sleep_ms = _number(extra.get("sleep_ms")) or sleep_ms
            salt = str(extra.get("artifact_digest") or "").encode()
        if sleep_ms:
            time.sleep(sleep_ms / 1000)
        dimensions = self._wanted(options.dimensions)
        prompt = self._prompt(options)
        length = 1.0 if options.normalize is False else dimensions**-0.5
        table = self._tables.get(length) or self._table(length)
        vectors = [_vector(salt + (prompt + text).encode(), dimensions, table) for text in texts]
        limit = self._max_tokens
        tokens = [min(len(text.split()) + 2, limit) for text in texts]
        return EmbedResult(b"".join(vectors), dimensions, tokens)

    def _wanted(self, dimensions: int | None) -> int:
        if dimensions is None:
            return self._dimensions
        if not 1 <= dimensions <= self._dimensions:
            raise EngineError(
                "bad_argument",
                f"dimensions = {dimensions} does not fit a model of {self._dimensions}",
                hint=f"from 1 to {self._dimensions}",
            )
        return dimensions

    def _prompt(self, options: EmbedOptions) -> str:
        if options.prompt_name is None or options.prompt is not None:
            return options.prompt or ""
        if options.prompt_name != "query":
            raise EngineError(
                "bad_argument", f'the model has no prompt "{options.prompt_name}"', hint='known: "query"'
            )
        return "query: "

    def _table(self, length: float) -> list[bytes]:
        """For each byte of a hash the eight floats that its bits stand for."""
        table = [
            struct.pack("<8f", *(length if byte >> bit & 1 else -length for bit in range(8)))
            for byte in range(256)
        ]
        self._tables[length] = table
        return table


def _vector(seed: bytes, dimensions: int, table: list[bytes]) -> bytes:
    digest = hashlib.sha256(seed).digest()
    chain = digest
    while len(chain) * 8 < dimensions:
        digest = hashlib.sha256(digest).digest()
        chain += digest
    return b"".join([table[byte] for byte in chain[: (dimensions + 7) // 8]])[: 4 * dimensions]


def _number(value: Option) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _misbehave(extra: dict[str, Option], texts: Sequence[str]) -> None:
    if extra.get("fail") and any(str(extra["fail"]) in text for text in texts):
        raise EngineError("internal", f"echo was told to fail on texts with {extra['fail']!r}")
    if extra.get("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if extra.get("oom"):
        # What the kernel's out-of-memory killer does, without filling the machine first.
        os.kill(os.getpid(), signal.SIGKILL)
    while extra.get("hang"):
        time.sleep(3600)
