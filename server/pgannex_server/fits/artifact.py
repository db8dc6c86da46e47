"""What a fit leaves: a file with the artifact's bytes, signed here, handed out in parts.

The fit writes the unsigned body into a file that the server opened for it: memory without a
name for a caller that waits, a file of the state folder for a background job. The signature is
computed and appended in this process, whose key the fit never sees, in pieces and on a thread
of its own, so that a large forest delays nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

PART = 16 << 20
_PIECE = 1 << 20


@dataclass(slots=True)
class Artifact:
    """A signed artifact in an open file. `result` is what the fit said of it."""

    fd: int
    size: int
    hash: str
    result: Mapping[str, object] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        return max(1, -(-self.size // PART))

    def part(self, number: int) -> bytes:
        """The bytes of one part, counted from 0."""
        return os.pread(self.fd, min(PART, self.size - number * PART), number * PART)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def memory_file() -> int:
    """A file that is memory and goes with its last descriptor."""
    return os.memfd_create("pgannex-artifact")


def seal(fd: int, mac: hmac.HMAC) -> tuple[int, str]:
    """Append the signature to the body in `fd`; (size, hash) of the whole, which is on the disk then."""
    digest = hashlib.sha256()
    at = 0
    while piece := os.pread(fd, _PIECE, at):
        mac.update(piece)
        digest.update(piece)
        at += len(piece)
    signature = mac.digest()
    os.pwrite(fd, signature, at)
    os.fsync(fd)
    digest.update(signature)
    return at + len(signature), digest.hexdigest()
