"""The bytes between the server, the template and a fit: who says what, packed and cut.

Two sockets with frames as in workers/framing. The template's is its standard input: fork a
fit (its socket, its output, its file, and the file of rows that waited come beside the frame), it
was forked, take its exit status. The fit's carries the call and the rows as they came from the
database, and back lines, progress and how it ended. The artifact's bytes travel in neither: a
fit writes them into a file that the server opened. No sockets in here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pgannex_wire import WireError

from pgannex_server.workers.framing import frame

# From the server to the template.
FORK, REAP = 0x30, 0x31
# From the template.
READY, FORKED, REFUSED, ENDED = 0xB0, 0xB1, 0xB2, 0xB3

# From the server to a fit.
SPEC, BATCH, DONE = 0x20, 0x21, 0x22
# From a fit.
INFO, PROGRESS, RESULT, FAILED = 0xA0, 0xA1, 0xA2, 0xA3


@dataclass(frozen=True, slots=True)
class Order:
    """What a fit is told first: the call as JSON text, and what it may use of the machine.

    The time is the server's to watch."""

    spec: str
    threads: int
    memory: int
    time_s: float = 0.0

    def pack(self) -> bytes:
        """The payload of SPEC."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpack(cls, payload: bytes | bytearray) -> Order:
        return cls(**json.loads(payload))


def pack_facts(type_: int, **facts: int | str) -> bytes:
    """A frame of the template's socket: fit, pid, status, message by name."""
    return frame(type_, json.dumps(facts).encode())


def unpack_facts(payload: bytes) -> dict[str, int | str]:
    facts: dict[str, int | str] = json.loads(payload)
    return facts


def pack_progress(fraction: float, text: str) -> bytes:
    return frame(PROGRESS, json.dumps([fraction, text]).encode())


def unpack_progress(payload: bytes) -> tuple[float, str]:
    fraction, text = json.loads(payload)
    return min(1.0, max(0.0, float(fraction))), str(text)


def pack_failed(error: WireError) -> bytes:
    body = {"code": error.code, "message": error.message, "detail": error.detail, "hint": error.hint}
    return frame(FAILED, json.dumps(body).encode())


def unpack_failed(payload: bytes) -> WireError:
    body: Mapping[str, str] = json.loads(payload)
    return WireError(body["code"], body["message"], detail=body["detail"], hint=body["hint"])
