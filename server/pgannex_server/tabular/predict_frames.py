"""The bytes between the server and a predictor process: frame types of their own and packing.

Frames are those of workers/framing.py. Jobs have numbers, because a predictor answers out of
order: interactive jobs overtake bulk ones. A plan is what does not change from job to job (the
outputs and how they travel, the columns of a block); it is JSON, and equal plans are equal
bytes, so the predictor parses one once. What comes back of a job is the payload of a ROWS
frame, ready to be passed on. Standard library only: both ends import it.
"""

from __future__ import annotations

import json
import struct
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from pgannex_wire import WireError
from pgannex_wire.message import Column

from pgannex_server.workers.framing import HEADER, frame

# From the server.
LOAD, UNLOAD, JOB, CALL, CANCEL, STOP = 0x20, 0x21, 0x22, 0x23, 0x24, 0x25
# From the predictor.
UP, REFUSED, LOADED, LOAD_FAILED, RESULT, FAILED, BEAT = 0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6
PART, DROPPED = 0xA7, 0xA8
# A BEAT has the number of what is being computed, DROPPED that of a CANCEL that was read.

# What the value of a job is.
FEATURES, FEATURES_TEXT, ROW, BLOCK = range(4)

HASH_SIZE = 32
_ID = struct.Struct("=I")
_JOB = struct.Struct(f"=I{HASH_SIZE}sBBI")
_JOB_FRAME = struct.Struct(f"=III{HASH_SIZE}sBBI")
_RESULT = struct.Struct("=IIQ")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request wants. `columns` are those of its blocks, the first of which is the key
    where `keyed`; `on_error` is raise, null or status; `text` asks for text forms."""

    outputs: tuple[tuple[str, int], ...]
    columns: tuple[tuple[str, int], ...] = ()
    keyed: bool = False
    on_error: str = "raise"
    text: bool = False

    def pack(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def unpack_plan(raw: bytes) -> Plan:
    body = json.loads(raw)
    for key in ("outputs", "columns"):
        body[key] = tuple((name, oid) for name, oid in body[key])
    return Plan(**body)


def pairs(columns: Sequence[Column]) -> tuple[tuple[str, int], ...]:
    """Columns as a plan holds them."""
    return tuple((column.name, column.oid) for column in columns)


class Job(NamedTuple):
    """A JOB frame. `plan` and `value` are raw."""

    number: int
    hash: bytes
    kind: int
    bulk: bool
    plan: bytes
    value: bytes


def pack_job(number: int, hash: bytes, kind: int, bulk: bool, plan: bytes, value: bytes) -> bytes:
    size = _JOB.size + len(plan) + len(value)
    return b"".join((_JOB_FRAME.pack(size, JOB, number, hash, kind, bulk, len(plan)), plan, value))


def unpack_job(payload: bytes) -> Job:
    number, hash, kind, bulk, size = _JOB.unpack_from(payload)
    start = _JOB.size + size
    return Job(number, hash, kind, bool(bulk), payload[_JOB.size : start], payload[start:])


def pack_call(number: int, name: str, arguments: Mapping[str, Any], hash: str = "") -> bytes:
    """A question that is no prediction: its name, arguments as JSON, perhaps about a model."""
    body = {"name": name, "arguments": dict(arguments), "hash": hash}
    return frame(CALL, _ID.pack(number) + json.dumps(body).encode())


def unpack_call(payload: bytes) -> tuple[int, str, dict[str, Any], bytes]:
    """(number, name, arguments, hash) of a CALL frame."""
    body = json.loads(payload[_ID.size :])
    number: int = _ID.unpack_from(payload)[0]
    return number, body["name"], body["arguments"], bytes.fromhex(body["hash"])


def pack_cancel(number: int) -> bytes:
    return frame(CANCEL, _ID.pack(number))


def pack_beat(number: int) -> bytes:
    return frame(BEAT, _ID.pack(number))


def pack_dropped(number: int) -> bytes:
    return frame(DROPPED, _ID.pack(number))


def pack_part(number: int, payload: bytes) -> bytes:
    """A part of a call's answer; the last one is its RESULT."""
    return frame(PART, _ID.pack(number) + payload)


def part_of(payload: bytes) -> bytes:
    """What a PART holds."""
    return payload[_ID.size :]


def number_of(payload: bytes) -> int:
    """The job's number, which begins the payloads that have one."""
    number: int = _ID.unpack_from(payload)[0]
    return number


def pack_result(number: int, rows: int, compute_ns: int, payload: bytes) -> bytes:
    head = _RESULT.pack(number, rows, compute_ns)
    return b"".join((HEADER.pack(len(head) + len(payload), RESULT), head, payload))


class Result(NamedTuple):
    """What came back for a job; `payload` is that of a ROWS frame, or a CALL's JSON."""

    number: int
    rows: int
    compute_ns: int
    payload: bytes


def unpack_result(payload: bytes) -> Result:
    number, rows, compute_ns = _RESULT.unpack_from(payload)
    return Result(number, rows, compute_ns, payload[_RESULT.size :])


def as_wire(err: Exception, code: str = "internal", what: str = "the prediction failed") -> WireError:
    """An error of ours as it is; a library's in its own words."""
    if isinstance(err, WireError):
        return err
    if isinstance(err, MemoryError):
        return WireError("out_of_memory", f"{what}: no memory is left")
    first = (str(err).strip().splitlines() or [type(err).__name__])[0][:500]
    if isinstance(err, ValueError) and code == "internal":
        return WireError("bad_argument", f"{what}: {first}", detail=type(err).__name__)
    traceback.print_exc()
    return WireError(code, f"{what}: {first}", detail=type(err).__name__)


class RowError(WireError):
    """An error of one row of a block, by its position there."""

    def __init__(self, error: WireError, row: int) -> None:
        super().__init__(error.code, error.message, detail=error.detail, hint=error.hint)
        self.at = row


def pack_failed(number: int, error: WireError) -> bytes:
    return frame(FAILED, _ID.pack(number) + pack_error(error))


def pack_load(hash: bytes, data: bytes) -> bytes:
    return b"".join((HEADER.pack(HASH_SIZE + len(data), LOAD), hash, data))


def pack_about(type_: int, hash: bytes, body: Mapping[str, Any] | None = None) -> bytes:
    """A frame about a model: UNLOAD, LOADED, LOAD_FAILED."""
    return frame(type_, hash + (json.dumps(body).encode() if body is not None else b""))


def unpack_about(payload: bytes) -> tuple[bytes, dict[str, Any]]:
    """(hash, body) of a frame about a model."""
    body = payload[HASH_SIZE:]
    return payload[:HASH_SIZE], json.loads(body) if body else {}


def pack_error(error: WireError) -> bytes:
    return json.dumps(error_body(error)).encode()


def error_body(error: WireError) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    body |= {"detail": error.detail, "hint": error.hint}
    if isinstance(error, RowError):
        body["row"] = error.at
    return body


def unpack_error(raw: bytes) -> WireError:
    return error_of(json.loads(raw))


def error_of(body: Mapping[str, Any]) -> WireError:
    error = WireError(body["code"], body["message"], detail=body["detail"], hint=body["hint"])
    return RowError(error, body["row"]) if "row" in body else error


def error_after_number(payload: bytes) -> WireError:
    """The error of a FAILED frame."""
    return unpack_error(payload[_ID.size :])
