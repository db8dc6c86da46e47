"""Artifacts that a database sends: collecting the parts, checking them, keeping them.

A hash is the sha256 of the artifact's bytes, in hex. What does not match is refused. The
store keeps what was sent last within a budget of memory; whoever finds nothing there asks
the caller again with NEED, so losing one is never an error.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from pgannex_wire import WireError


class Store:
    """Artifacts by hash, least recently used ones first to go."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.used = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def get(self, hash: str) -> bytes | None:
        data = self._kept.get(hash)
        if data is not None:
            self._kept.move_to_end(hash)
        return data

    def put(self, hash: str, data: bytes) -> None:
        if hash in self._kept or len(data) > self.budget:
            return
        self._kept[hash] = data
        self.used += len(data)
        while self.used > self.budget:
            _hash, dropped = self._kept.popitem(last=False)
            self.used -= len(dropped)


class Collector:
    """The parts of one artifact, in order. `limit`: more bytes are refused, 0 for none."""

    __slots__ = ("_digest", "_limit", "_parts", "_size", "hash")

    def __init__(self, hash: str, limit: int = 0) -> None:
        self.hash = hash
        self._limit = limit
        self._size = 0
        self._parts: list[bytes] = []
        self._digest = hashlib.sha256()

    def take(self, seq: int, data: bytes, last: bool, missing: bool) -> bytes | None:
        """The whole artifact once its last part is there, None before."""
        if missing:
            raise WireError(
                "artifact_missing",
                f"the database does not hold the artifact {self.hash}",
                hint="was the transaction that wrote it committed, and may the role read pgml.files?",
            )
        if seq != len(self._parts):
            raise WireError("protocol_violation", f"part {seq} came where {len(self._parts)} was due")
        self._size += len(data)
        if self._limit and self._size > self._limit:
            raise WireError(
                "too_large",
                f"the artifact {self.hash} is larger than {self._limit >> 20} MiB",
                hint="raise [tabular] predictor_memory in pgannex.toml, or train a smaller model",
            )
        self._parts.append(data)
        self._digest.update(data)
        if not last:
            return None
        found = self._digest.hexdigest()
        if found != self.hash.lower():
            raise WireError(
                "artifact_invalid",
                f"the artifact {self.hash} does not match its hash",
                detail=f"the bytes that came have sha256 {found}",
            )
        return b"".join(self._parts)
