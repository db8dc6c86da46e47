"""The HTTP door's parts that need no process: bodies, errors, identity, sinks, rendering."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from array import array
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from pgannex_server.config import parse
from pgannex_server.doors.http.auth import Identity
from pgannex_server.doors.http.body import read_body
from pgannex_server.doors.http.collect import BATCH_BYTES, Collector, batches_of, feed_texts
from pgannex_server.doors.http.errors import body_of, headers_of, status_of
from pgannex_server.doors.http.gate import Gate
from pgannex_server.doors.http.peer import Connection, Peer, PeerProtocol
from pgannex_server.doors.http.routes import application
from pgannex_server.doors.http.traffic import Traffic
from pgannex_server.doors.http.vectors import render
from pgannex_server.errors import Overloaded
from pgannex_wire.errors import TABLE, WireError
from pgannex_wire.message import End
from pgannex_wire.values import ColumnBlock, pack_float4s, split_values


def _receive(*parts: bytes) -> Any:
    messages = [
        {"type": "http.request", "body": p, "more_body": i < len(parts) - 1} for i, p in enumerate(parts)
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive


def test_a_body_in_parts_is_put_together() -> None:
    assert asyncio.run(read_body([], _receive(b"ab", b"", b"cd"), 4)) == b"abcd"
    assert asyncio.run(read_body([], _receive(b"abcd"), 4)) == b"abcd"


@pytest.mark.parametrize(
    ("headers", "parts"),
    [([(b"content-length", b"5")], ()), ([], (b"abcde",)), ([(b"content-length", b"2")], (b"abc", b"de"))],
)
def test_no_more_than_the_limit_is_read(headers: Any, parts: Any) -> None:
    with pytest.raises(WireError) as raised:
        asyncio.run(read_body(headers, _receive(*parts), 4))
    assert raised.value.code == "too_large"


def test_a_sender_that_leaves_cancels() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(WireError) as raised:
        asyncio.run(read_body([], receive, 4))
    assert raised.value.code == "cancelled"


@pytest.mark.parametrize("code", sorted(TABLE))
def test_every_error_of_the_table_has_openais_shape(code: str) -> None:
    error = WireError(code, 'it "broke"', hint="mend it")
    body = json.loads(body_of(error))["error"]
    assert body["message"] == 'it "broke" (mend it)'
    assert (status_of(error), body["code"]) == (TABLE[code].http, code)
    assert (b"retry-after" in dict(headers_of(error))) == (TABLE[code].http in (429, 503))


def test_retry_after_is_what_the_queue_expects() -> None:
    assert dict(headers_of(Overloaded("m", 9, 2.2)))[b"retry-after"] == b"3"
    assert dict(headers_of(Overloaded("m", 9, 0.0)))[b"retry-after"] == b"1"


def test_a_key_stands_for_its_role_and_nothing_else_does() -> None:
    identity = Identity({hashlib.sha256(b"k1").hexdigest(): "app", hashlib.sha256(b"k2").hexdigest(): "etl"})
    for value, role in ((b"Bearer k1", "app"), (b"bearer  k2 ", "etl")):
        assert identity.caller(Connection(Peer()), [(b"authorization", value)]).role == role
    for value in (b"", b"k1", b"Basic k1", b"Bearer", b"Bearer k3", b"Bearer \xff"):
        with pytest.raises(WireError) as raised:
            identity.caller(Connection(Peer()), [(b"authorization", value)])
        assert raised.value.code == "unauthenticated"


def test_a_peer_with_a_uid_is_that_user_whatever_the_headers_say() -> None:
    caller = Identity({}).caller(Connection(Peer(0, 7)), [(b"x-role", b"postgres")])
    assert (caller.role, caller.uid, caller.pid, caller.door) == ("os:root", 0, 7, "http")
    assert not caller.may("control")
    assert Identity({}).caller(Connection(Peer(4_000_000_000, 7)), []).role == "os:4000000000"


def test_batches_hold_about_a_mebibyte() -> None:
    assert batches_of(["a"] * 10) == [["a"] * 10]
    big = "x" * (2 * BATCH_BYTES)
    assert [len(b) for b in batches_of(["a", big, "b", big])] == [1, 1, 1, 1]
    sizes = [sum(len(t) for t in b) for b in batches_of(["y" * 1000] * 5000)]
    assert sum(sizes) == 5_000_000
    assert max(sizes) <= BATCH_BYTES


class _Service:
    """Answers a batch only when told to, and checks the window."""

    def __init__(self, sink: Collector, window: int) -> None:
        self.sink, self.window = sink, window
        self.unanswered: list[int] = []
        self.texts: list[bytes | None] = []
        self.finished = self.cancelled = False

    def feed(self, seq: int, block: ColumnBlock) -> None:
        self.texts += split_values(block.columns[0], block.nrows)
        self.unanswered.append(seq)
        assert len(self.unanswered) <= self.window

    def finish(self) -> None:
        self.finished = True

    def cancel(self) -> None:
        self.cancelled = True

    def answer(self) -> None:
        self.sink.rows(self.unanswered.pop(0), ColumnBlock(0, ()), True)


def test_texts_are_fed_within_the_window() -> None:
    async def run() -> _Service:
        sink = Collector(asyncio.get_running_loop())
        service = _Service(sink, 3)
        sink.attach(service)  # type: ignore[arg-type]
        feed_texts(sink, [f"{i:04}" + "x" * (BATCH_BYTES // 2) for i in range(20)], 3)
        while service.unanswered:
            assert len(service.unanswered) == 3 or service.finished
            service.answer()
        assert service.finished
        sink.end(End(20))
        assert (await sink.done).rows == 20
        return service

    service = asyncio.run(run())
    assert [t[:4] for t in service.texts if t] == [b"%04d" % i for i in range(20)]


def test_a_lost_client_cancels_once_and_for_all() -> None:
    async def run() -> None:
        sink = Collector(asyncio.get_running_loop())
        service = _Service(sink, 3)
        sink.attach(service)  # type: ignore[arg-type]
        sink.lost()
        assert service.cancelled
        sink.end(End())
        sink.fail(WireError("internal", "late"))
        with pytest.raises(WireError) as raised:
            await sink.done
        assert raised.value.code == "cancelled"

    asyncio.run(run())


def _render(values: list[list[float]], base64: bool) -> Any:
    flat = b"".join(array("f", row).tobytes() for row in values)
    block = ColumnBlock(len(values), (pack_float4s(flat, len(values), len(values[0])),))
    return json.loads(asyncio.run(render([block], 'a "model"', 7, base64, ["careful"])))


def test_printed_floats_are_the_same_float32() -> None:
    chance = random.Random(7)
    row = [chance.gauss(0, 10.0 ** chance.randint(-30, 30)) for _ in range(2000)] + [
        0.0,
        -0.0,
        1e-45,
        3.4028235e38,
    ]
    answer = _render([row, row], base64=False)
    assert answer["model"] == 'a "model"'
    assert answer["notices"] == ["careful"]
    for item in answer["data"]:
        assert array("f", item["embedding"]) == array("f", row)


def test_a_vector_that_is_not_finite_is_an_error_and_no_broken_json() -> None:
    for bad in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(WireError):
            _render([[1.0, bad]], base64=False)


async def _ask_broken(path: str, rest: Any = None) -> httpx.Response:
    """What a door answers whose service has nothing but a configuration."""

    class Broken:
        config = parse({"http": {"keys": {hashlib.sha256(b"k").hexdigest(): "app"}}})

    service: Any = Broken()
    traffic = Traffic()
    gate: Any = Gate(service, service.config, traffic, {}, rest or application(service, traffic))
    transport = httpx.ASGITransport(gate, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        return await client.get(path, headers={"Authorization": "Bearer k"})


def test_what_nobody_foresaw_has_openais_shape_too() -> None:
    answer = asyncio.run(_ask_broken("/metrics"))
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert answer.headers["x-request-id"]


def test_a_path_cannot_write_lines_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("on purpose")

    answer = asyncio.run(_ask_broken("/v1/%0aERROR%20forged%1b%5b2J%e2%80%ae", fails))
    assert answer.status_code == 500
    (record,) = caplog.records
    assert record.getMessage().endswith(r"failed: GET '/v1/\nERROR forged\x1b[2J\u202e'")


def test_a_connection_is_closed_that_waits_for_the_same_request_twice() -> None:
    class Transport:
        closed = False

        def close(self) -> None:
            self.closed = True

    def look_at(*cycles: Any) -> bool:
        """What `_look` does, find by find."""
        protocol = PeerProtocol.__new__(PeerProtocol)
        protocol.transport = transport = Transport()  # type: ignore[assignment]
        for cycle in cycles:
            protocol.cycle = cycle
            protocol._look()
        if protocol._timer is not None:
            protocol._timer.cancel()
        return transport.closed

    async def finds() -> None:
        done = SimpleNamespace(response_complete=True, more_body=False)
        body = SimpleNamespace(response_complete=False, more_body=True)
        computing = SimpleNamespace(response_complete=False, more_body=False)
        assert look_at(None), "no request at all"
        assert look_at(body, body), "a body without an end"
        assert look_at(done, done), "half of the next request"
        assert not look_at(done, computing, done), "requests come"
        assert not look_at(computing, computing, computing), "a long one is computed"

    asyncio.run(finds())
