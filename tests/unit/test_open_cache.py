"""The cache of repeated OPENs never answers with anything but what decoding would give."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from pgannex_server.doors.frames.open_cache import deadline_ms, remember
from pgannex_server.request import Caller
from pgannex_wire import HEADER_SIZE
from pgannex_wire.frame import SINGLE
from pgannex_wire.message import Arg, Column, Open

CALLER = Caller("app")
BASE = Open(
    "embed",
    SINGLE,
    60_000,
    "app",
    '{"x": 1}',
    (Arg("model", 25, b"m"), Arg("input", 25, b"first"), Arg("kwargs", 3802, b"\x01{}")),
    (),
    (Column("embedding", 1021),),
)


def payload(message: Open) -> bytes:
    return message.encode()[HEADER_SIZE:]


def with_input(message: Open, value: bytes | None) -> Open:
    args = tuple(Arg(a.name, a.oid, value, a.format) if a.name == "input" else a for a in message.args)
    return replace(message, args=args)


def test_another_value_and_another_deadline_match() -> None:
    cached = remember(BASE, payload(BASE), ("input",), CALLER)
    assert cached is not None
    for value in (b"", b"x", b"first", bytes(5000), b"\xff" * 100):
        other = replace(with_input(BASE, value), deadline_ms=7)
        got = cached.value_of(payload(other), SINGLE)
        assert got is not None and cached.args_with(got) == other.args
        assert deadline_ms(payload(other)) == 7


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, role="postgres"),
        replace(BASE, grant=""),
        replace(BASE, verb="other"),
        replace(BASE, outputs=(Column("tokens", 23),)),
        replace(BASE, columns=(Column("key", 25),)),
        replace(BASE, args=BASE.args[:2]),
        replace(BASE, args=(Arg("model", 25, b"n"), *BASE.args[1:])),
        replace(BASE, args=(*BASE.args[:2], Arg("kwargs", 3802, b"\x01[]"))),
        replace(BASE, args=(BASE.args[0], Arg("input", 17, b"first"), BASE.args[2])),
        with_input(BASE, None),
    ],
)
def test_anything_else_that_differs_does_not(other: Open) -> None:
    cached = remember(BASE, payload(BASE), ("input",), CALLER)
    assert cached is not None
    assert cached.value_of(payload(other), SINGLE) is None
    assert cached.value_of(payload(BASE), SINGLE | 2) is None


def test_there_is_nothing_to_remember_without_a_value_that_varies() -> None:
    assert remember(BASE, payload(BASE), (), CALLER) is None
    assert remember(with_input(BASE, None), payload(with_input(BASE, None)), ("input",), CALLER) is None


def test_random_damage_never_matches_wrongly() -> None:
    rng = random.Random(5)
    cached = remember(BASE, payload(BASE), ("input",), CALLER)
    assert cached is not None
    matched = 0
    for _ in range(20_000):
        damaged = bytearray(payload(with_input(BASE, rng.randbytes(rng.randrange(20)))))
        for _ in range(rng.randrange(3)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
        got = cached.value_of(bytes(damaged), SINGLE)
        if got is not None:
            matched += 1
            assert Open.decode(bytes(damaged), SINGLE).args == cached.args_with(got)
    assert matched > 1000


def test_a_large_request_is_not_kept() -> None:
    large = with_input(BASE, b"x" * 100_000)
    assert remember(large, payload(large), ("input",), CALLER) is None
