"""The frames door under load and among strangers: cancel, slow clients, limits, trust, noise."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from frames_process import Client, FramesServer, embed_open, serving, stat_open, until
from pgannex_wire.frame import BULK, LAST, SINGLE, FrameType, pack_frame
from pgannex_wire.message import Arg, Column, Failure, Hello, Open, Part
from pgannex_wire.values import TEXT_OID, ColumnBlock, pack_texts, split_values

SLOW = {"sleep_ms": 600_000}


@pytest.fixture(scope="module")
def server() -> Iterator[FramesServer]:
    with serving('[models.slow]\nengine = "echo"') as made:
        yield made


# -- cancel and slow clients --------------------------------------------------------------------


def test_closing_cancels_and_nothing_stays_in_flight() -> None:
    with serving() as server:
        clients = [server.client() for _ in range(5)]
        for client in clients:
            client.send(embed_open("x", kwargs={"sleep_ms": 300}))
        until("all of them run", lambda: server.in_flight() == 5)
        for client in clients:
            client.close()
        before = time.monotonic()
        until("none of them is in flight", lambda: server.in_flight() == 0)
        assert time.monotonic() - before < 5
        numbers = server.rows("stat_server", "cancelled", "in_flight")[0]
        assert numbers == {"cancelled": "5", "in_flight": "0"}
        with server.client() as client:
            client.embed("x")
        computed = int(server.rows("stat_models", "rows")[0]["rows"] or 0)
        assert computed <= 2, "what nobody waited for was computed"


def test_a_client_that_stops_fetching_stops_being_computed_and_keeps_nobody_out() -> None:
    """Its texts are many times what may wait, but they do not wait for the engine."""
    with serving("[limits]\nqueue_bytes = 50_000") as server, server.client() as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        texts = [f"text {i}" for i in range(40_000)]
        client.send(embed_open(None, flags=BULK, outputs=("key", "embedding", "error")))
        per = len(texts) // 16
        for seq in range(16):
            at = range(seq * per, (seq + 1) * per)
            client.batch(seq, [str(i) for i in at], [texts[i] for i in at], last=seq == 15)

        def state() -> str | None:
            rows = server.rows("stat_activity", "state")
            return rows[0]["state"] if rows else None

        until("the server waits for the client", lambda: state() == "waiting for client")
        done = int(server.rows("stat_models", "rows")[0]["rows"] or 0)
        assert done < len(texts) / 2
        with server.client() as other:
            other.embed("others are served")
        assert int(server.rows("stat_activity", "rows_in")[0]["rows_in"] or 0) == 16 * per
        keys: list[bytes | None] = []
        while (frame := client.expect(FrameType.ROWS, FrameType.END)).type == FrameType.ROWS:
            block = ColumnBlock.decode(frame.payload)
            keys += split_values(block.columns[0], block.nrows)
        assert keys == [str(i).encode() for i in range(16 * per)]


def test_two_hundred_connections_at_once(server: FramesServer) -> None:
    clients = [server.client() for _ in range(200)]
    for i, client in enumerate(clients):
        client.send(embed_open(f"text {i}"))
    payloads = {client.expect(FrameType.ROWS).payload for client in clients}
    assert len(payloads) == 200
    for client in clients:
        client.close()


def test_too_many_connections_are_refused() -> None:
    with serving("[limits]\nmax_connections = 3") as server:
        clients = [server.client() for _ in range(3)]
        for client in clients:
            client.embed("x")
        with server.client() as surplus:
            assert surplus.failure().code == "overloaded"
        clients.pop().close()
        until("a place is free", lambda: _serves(server))


def test_strangers_cannot_take_the_places_of_databases() -> None:
    limits, uid = "[limits]\nmax_connections = 40", os.getuid()
    with serving(limits, f'database_users = ["{uid + 4711}"]') as server, contextlib.ExitStack() as opened:
        until("who asked first is gone", lambda: _serves(server))
        strangers = [opened.enter_context(server.client()) for _ in range(24)]
        for client in strangers:
            client.embed("x")
        surplus = [opened.enter_context(server.client()) for _ in range(50)]
        for client in surplus:
            assert client.failure().code == "overloaded"
        server.write(limits, f'database_users = ["{uid}"]')
        server.process.send_signal(signal.SIGHUP)
        until("we are a database", lambda: _serves(server))
        for client in [opened.enter_context(server.client()) for _ in range(16)]:
            client.embed("x")
        assert opened.enter_context(server.client()).failure().code == "overloaded"


def _half(megabytes: float) -> bytes:
    """An OPEN of 3 MiB, and of it only so much."""
    return embed_open("x" * (3 << 20))[: int(megabytes * (1 << 20))]


def test_frames_without_an_end_do_not_take_all_memory() -> None:
    with serving("[limits]\npartial_bytes = 4194304") as server:
        with server.client() as first, server.client() as second:
            first.send(_half(2.5))
            first_half = len(_half(2.5))
            with server.client() as third:
                third.embed("x")
            with contextlib.suppress(OSError):
                second.send(_half(2.5))
            assert second.failure().code == "overloaded"
            first.send(embed_open("x" * (3 << 20))[first_half:])
            first.expect(FrameType.ROWS)
        with server.client() as again:
            again.send(_half(2.9))
            again.send(embed_open("x" * (3 << 20))[len(_half(2.9)) :])
            again.expect(FrameType.ROWS)


def test_strangers_get_half_of_that_memory() -> None:
    users = f'database_users = ["{os.getuid() + 4711}"]'
    with serving("[limits]\npartial_bytes = 4194304", users) as server, server.client() as client:
        with contextlib.suppress(OSError):
            client.send(_half(2.9))
        assert client.failure().code == "overloaded"


def _serves(server: FramesServer) -> bool:
    with server.client() as client:
        client.send(embed_open("x"))
        while (frame := client.next()).type not in (FrameType.ROWS, FrameType.ERROR):
            pass
        return frame.type == FrameType.ROWS


def test_a_full_queue_refuses_with_a_hint() -> None:
    with serving("[limits]\nqueue = 3") as server:
        clients = [server.client() for _ in range(3)]
        for client in clients:
            client.send(embed_open("x", kwargs=SLOW))
        until("the queue is full", lambda: server.in_flight() == 3)
        with server.client() as surplus:
            surplus.send(embed_open("x"))
            failure = surplus.failure()
        assert (failure.code, failure.sqlstate, failure.retryable) == ("overloaded", "53000", True)
        assert "try again in about" in failure.hint


# -- trust ------------------------------------------------------------------------------------------


def _roles(server: FramesServer) -> list[str | None]:
    return [row["role"] for row in server.rows("stat_activity", "role")]


def test_a_database_may_name_the_role(server: FramesServer) -> None:
    with server.client() as client:
        client.send(embed_open("x", model="slow", kwargs=SLOW, role="alice"))
        until("it is in stat_activity", lambda: _roles(server) == ["alice"])
        with server.client() as other:
            other.send(stat_open("stat_activity", ["role"], role="bob", grant=""))
            assert ColumnBlock.decode(other.expect(FrameType.ROWS).payload).nrows == 0
        with server.client() as own:
            own.send(stat_open("stat_activity", ["role"], role="alice", grant=""))
            assert ColumnBlock.decode(own.expect(FrameType.ROWS).payload).nrows == 1
    until("it is cancelled", lambda: _roles(server) == [])


def test_anybody_else_is_only_who_the_kernel_says() -> None:
    uid = os.getuid()
    with serving(server=f'database_users = ["{uid + 4711}"]') as server, server.client() as client:
        client.send(embed_open("x", role="postgres", grant='{"control": true}', kwargs=SLOW))
        with server.client() as watcher:
            watcher.send(stat_open("stat_activity", ["role"]))
            block = ColumnBlock.decode(watcher.expect(FrameType.ROWS).payload)
            (role,) = split_values(block.columns[0], block.nrows)
            assert role is not None and role.startswith(b"os:")
        with server.client() as boss:
            args = (Arg("model", TEXT_OID, b"echo"), Arg("action", TEXT_OID, b"unload"))
            wanted = (Column("state", TEXT_OID),)
            boss.send(Open("control", SINGLE, 0, "postgres", '{"control": true}', args, (), wanted).encode())
            failure: Failure = boss.failure()
            assert (failure.code, failure.sqlstate) == ("not_permitted", "42501")


# -- noise --------------------------------------------------------------------------------------------


def test_noise_harms_nobody_else() -> None:
    rng = random.Random(11)
    good = [
        Hello(1, 0, 1, "t", "d", "a").encode(),
        embed_open("text"),
        embed_open(None, flags=0, outputs=("key", "embedding")),
        pack_frame(FrameType.BATCH, ColumnBlock(1, (pack_texts(["k"]), pack_texts(["t"]))).encode(), LAST, 0),
        pack_frame(FrameType.DONE),
        Part("0" * 64, b"data").encode(0, LAST),
    ]
    with serving() as server, server.client() as bystander:
        for _ in range(400):
            noise = bytearray(b"".join(rng.choices(good, k=rng.randrange(1, 6))))
            if rng.random() < 0.5:
                noise[:0] = good[0]
            for _ in range(rng.randrange(6)):
                noise[rng.randrange(len(noise))] = rng.randrange(256)
            with Client(server.socket, hello=False) as client:
                client.sock.setblocking(False)
                with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                    client.sock.send(bytes(noise))
                    client.sock.recv(1 << 16)
        bystander.embed("still served")
        until("nothing is in flight", lambda: server.in_flight() == 0)
        assert "Traceback" not in server.log.read_text()
