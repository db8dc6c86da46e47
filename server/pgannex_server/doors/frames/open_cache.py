"""OPEN frames that repeat: the same call again with another value of one argument.

A backend that calls a scalar function row by row sends the same OPEN over and over; only
one argument's value, and the deadline, differ. After the first of them this cache compares
the bytes before and after that value and answers with the same Shape, so that neither the
door nor the verb parses anything again.
"""

from __future__ import annotations

import struct
import time

from pgannex_wire.message import Arg, Column, Open, pack_text, pack_value

from pgannex_server.request import Caller, Request, Shape

_U32 = struct.Struct("!I")
_DEADLINE = 4
_LARGEST = 64 * 1024


class Cached:
    """One remembered OPEN, split round the value that varies."""

    __slots__ = ("args", "at", "caller", "columns", "flags", "index", "outputs", "prefix", "shape", "size",
                 "suffix", "verb")  # fmt: skip

    def __init__(self, message: Open, payload: bytes, index: int, caller: Caller) -> None:
        self.verb = message.verb
        self.flags = message.flags
        self.args = message.args
        self.columns: tuple[Column, ...] = message.columns
        self.outputs: tuple[Column, ...] = message.outputs
        self.caller = caller
        self.index = index
        self.shape = Shape()
        start = _value_start(message, index)
        value = message.args[index].value
        assert value is not None
        self.prefix = payload[_DEADLINE:start]
        self.at = start
        self.suffix = payload[start + 4 + len(value) :]
        self.size = start + 4 + len(self.suffix)

    def value_of(self, payload: bytes, flags: int) -> bytes | None:
        """The value that varies, if `payload` is the same OPEN but for it; else None."""
        size = len(payload) - self.size
        at = self.at
        if (
            size < 0
            or flags != self.flags
            or not payload.startswith(self.prefix, _DEADLINE)
            or _U32.unpack_from(payload, at)[0] != size
            or not payload.endswith(self.suffix)
        ):
            return None
        return payload[at + 4 : at + 4 + size]

    def request(self, value: bytes, payload: bytes, flags: int) -> Request:
        """The same request again, with that value."""
        deadline = _deadline(deadline_ms(payload))
        args = self.args_with(value)
        return Request(self.verb, args, self.columns, self.outputs, flags, deadline, self.caller, self.shape)

    def args_with(self, value: bytes) -> tuple[Arg, ...]:
        """The args with that value."""
        index = self.index
        old = self.args[index]
        arg = Arg(old.name, old.oid, value, old.format)
        return (*self.args[:index], arg, *self.args[index + 1 :])


def _deadline(ms: int) -> float:
    return time.monotonic() + ms / 1000 if ms else 0.0


def deadline_ms(payload: bytes) -> int:
    """The deadline of an OPEN's payload."""
    ms: int = _U32.unpack_from(payload)[0]
    return ms


def remember(message: Open, payload: bytes, varying: tuple[str, ...], caller: Caller) -> Cached | None:
    """A cache entry for `message`, None where there is nothing to vary.

    A large request gains nothing from it, and an idle connection would keep its bytes.
    """
    if len(payload) > _LARGEST:
        return None
    for index, arg in enumerate(message.args):
        if arg.name in varying and arg.value is not None:
            return Cached(message, payload, index, caller)
    return None


def _value_start(message: Open, index: int) -> int:
    """Where the value of args[index] begins (its length word)."""
    at = _DEADLINE + sum(len(pack_text(text)) for text in (message.verb, message.role, message.grant)) + 2
    for arg in message.args[:index]:
        at += len(pack_text(arg.name)) + 5 + len(pack_value(arg.value))
    return at + len(pack_text(message.args[index].name)) + 5
