"""A frozen class per frame type that has a payload, with `encode` and `decode`.

`encode()` gives a whole frame's bytes, `decode(payload)` takes a frame's payload. Column
blocks (BATCH, ROWS) are in `values`. A short or overlong length raises
WireError(protocol_violation); nothing is read past the payload's end. Those of the hot path
are named tuples, which cost a third of a frozen dataclass.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from pgannex_wire.errors import WireError, sqlstate_for
from pgannex_wire.frame import FrameType, pack_frame

_U32 = struct.Struct("!I")
_I32 = struct.Struct("!i")
_U16 = struct.Struct("!H")
_OPEN_HEAD = struct.Struct("!I")
_HELLO_HEAD = struct.Struct("!HHI")
_WELCOME_HEAD = struct.Struct("!HHII")
_HEARTBEAT = struct.Struct("!IQ")
_END_HEAD = struct.Struct("!QQIQQ")
_NULL = 0xFFFFFFFF

SEND_FORMAT = 0
TEXT_FORMAT = 1


class Reader:
    """Reads a payload from left to right, checking each length before it is trusted."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def take(self, count: int) -> bytes:
        at = self._at
        stop = at + count
        if count < 0 or stop > len(self._data):
            raise WireError("protocol_violation", f"payload ends {stop - len(self._data)} bytes early")
        self._at = stop
        return self._data[at:stop]

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int(_U16.unpack(self.take(2))[0])

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))

    def text(self) -> str:
        """A `str` that must not be NULL; NULL reads as the empty string."""
        length = self.u32()
        if length == _NULL:
            return ""
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as err:
            raise WireError("invalid_text", "a text in a frame is not valid UTF-8") from err

    def value(self) -> bytes | None:
        length = int(_I32.unpack(self.take(4))[0])
        if length < -1:
            raise WireError("protocol_violation", f"a value has length {length}")
        return None if length == -1 else self.take(length)

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)


def pack_text(text: str) -> bytes:
    raw = text.encode()
    return _U32.pack(len(raw)) + raw


_pack_name = lru_cache(256)(pack_text)
"""For the few names that every END carries."""


def pack_value(value: bytes | None) -> bytes:
    return _I32.pack(-1) if value is None else _I32.pack(len(value)) + value


class Arg(NamedTuple):
    """One input that holds for every row. `value` is None for NULL."""

    name: str
    oid: int
    value: bytes | None
    format: int = SEND_FORMAT


@dataclass(frozen=True, slots=True)
class Column:
    """Name and type oid of a batch column or of a wanted output."""

    name: str
    oid: int


@dataclass(frozen=True, slots=True)
class Hello:
    major: int
    minor: int
    pid: int
    client: str
    database: str
    application_name: str

    def encode(self) -> bytes:
        head = _HELLO_HEAD.pack(self.major, self.minor, self.pid)
        tail = map(pack_text, (self.client, self.database, self.application_name))
        return pack_frame(FrameType.HELLO, head + b"".join(tail))

    @classmethod
    def decode(cls, payload: bytes) -> Hello:
        r = Reader(payload)
        major, minor, pid = r.unpack(_HELLO_HEAD)
        return cls(major, minor, pid, r.text(), r.text(), r.text())


@dataclass(frozen=True, slots=True)
class Open:
    """Starts a request. `flags` are those of OPEN in frame.py; `deadline_ms` 0 is none."""

    verb: str
    flags: int = 0
    deadline_ms: int = 0
    role: str = ""
    grant: str = ""
    args: tuple[Arg, ...] = ()
    columns: tuple[Column, ...] = ()
    outputs: tuple[Column, ...] = ()

    def encode(self) -> bytes:
        parts = [_OPEN_HEAD.pack(self.deadline_ms)]
        parts += map(pack_text, (self.verb, self.role, self.grant))
        parts.append(_U16.pack(len(self.args)))
        for arg in self.args:
            parts += (pack_text(arg.name), _U32.pack(arg.oid), bytes((arg.format,)), pack_value(arg.value))
        for columns in (self.columns, self.outputs):
            parts.append(_U16.pack(len(columns)))
            for column in columns:
                parts += (pack_text(column.name), _U32.pack(column.oid))
        return pack_frame(FrameType.OPEN, b"".join(parts), self.flags)

    @classmethod
    def decode(cls, payload: bytes, flags: int) -> Open:
        r = Reader(payload)
        deadline_ms = r.u32()
        verb, role, grant = r.text(), r.text(), r.text()
        args = tuple(_read_arg(r) for _ in range(r.u16()))
        columns = tuple(Column(r.text(), r.u32()) for _ in range(r.u16()))
        outputs = tuple(Column(r.text(), r.u32()) for _ in range(r.u16()))
        return cls(verb, flags, deadline_ms, role, grant, args, columns, outputs)


def _read_arg(r: Reader) -> Arg:
    name, oid, format_ = r.text(), r.u32(), r.u8()
    if format_ not in (SEND_FORMAT, TEXT_FORMAT):
        raise WireError("protocol_violation", f"argument {name} has format {format_}")
    return Arg(name, oid, r.value(), format_)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an artifact. Flags LAST and MISSING travel in the frame's header."""

    hash: str
    data: bytes

    def encode(self, seq: int, flags: int) -> bytes:
        return pack_frame(FrameType.PART, pack_text(self.hash) + self.data, flags, seq)

    @classmethod
    def decode(cls, payload: bytes) -> Part:
        r = Reader(payload)
        return cls(r.text(), r.rest())


@dataclass(frozen=True, slots=True)
class Welcome:
    major: int
    minor: int
    window: int
    max_frame: int
    server: str
    instance: str

    def encode(self) -> bytes:
        head = _WELCOME_HEAD.pack(self.major, self.minor, self.window, self.max_frame)
        return pack_frame(FrameType.WELCOME, head + pack_text(self.server) + pack_text(self.instance))

    @classmethod
    def decode(cls, payload: bytes) -> Welcome:
        r = Reader(payload)
        major, minor, window, max_frame = r.unpack(_WELCOME_HEAD)
        return cls(major, minor, window, max_frame, r.text(), r.text())


@dataclass(frozen=True, slots=True)
class Failure:
    """The payload of ERROR."""

    code: str
    sqlstate: str
    message: str
    detail: str = ""
    hint: str = ""
    retryable: bool = False

    @classmethod
    def of(cls, error: WireError, verb: str = "") -> Failure:
        """The frame for `error`; the SQLSTATE may depend on the verb."""
        state = sqlstate_for(error.code, verb)
        return cls(error.code, state, error.message, error.detail, error.hint, error.row.retryable)

    def encode(self) -> bytes:
        texts = (self.code, self.sqlstate, self.message, self.detail, self.hint)
        return pack_frame(FrameType.ERROR, b"".join(map(pack_text, texts)) + bytes((self.retryable,)))

    @classmethod
    def decode(cls, payload: bytes) -> Failure:
        r = Reader(payload)
        return cls(r.text(), r.text(), r.text(), r.text(), r.text(), bool(r.u8()))

    def error(self) -> WireError:
        return WireError(self.code, self.message, detail=self.detail, hint=self.hint)


@dataclass(frozen=True, slots=True)
class Notice:
    """Level: 0 debug, 1 info, 2 notice, 3 warning."""

    level: int
    message: str
    detail: str = ""
    hint: str = ""

    def encode(self) -> bytes:
        texts = b"".join(map(pack_text, (self.message, self.detail, self.hint)))
        return pack_frame(FrameType.NOTICE, bytes((self.level,)) + texts)

    @classmethod
    def decode(cls, payload: bytes) -> Notice:
        r = Reader(payload)
        return cls(r.u8(), r.text(), r.text(), r.text())


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Requests ahead in the queue, and rows done so far."""

    ahead: int
    rows: int

    def encode(self) -> bytes:
        return pack_frame(FrameType.HEARTBEAT, _HEARTBEAT.pack(self.ahead, self.rows))

    @classmethod
    def decode(cls, payload: bytes) -> Heartbeat:
        ahead, rows = Reader(payload).unpack(_HEARTBEAT)
        return cls(ahead, rows)


@dataclass(frozen=True, slots=True)
class Need:
    hash: str

    def encode(self) -> bytes:
        return pack_frame(FrameType.NEED, pack_text(self.hash))

    @classmethod
    def decode(cls, payload: bytes) -> Need:
        return cls(Reader(payload).text())


class End(NamedTuple):
    """What the request cost: rows, tokens, engine batches, microseconds queued and computed."""

    rows: int = 0
    tokens: int = 0
    batches: int = 0
    queue_us: int = 0
    compute_us: int = 0
    engine: str = ""
    model: str = ""

    def encode(self) -> bytes:
        head = _END_HEAD.pack(self.rows, self.tokens, self.batches, self.queue_us, self.compute_us)
        return pack_frame(FrameType.END, head + _pack_name(self.engine) + _pack_name(self.model))

    @classmethod
    def decode(cls, payload: bytes) -> End:
        r = Reader(payload)
        rows, tokens, batches, queue_us, compute_us = r.unpack(_END_HEAD)
        return cls(rows, tokens, batches, queue_us, compute_us, r.text(), r.text())
