"""Workers as a caller of the server meets them: killed, hung, refusing to load, evicted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from frames_process import Client, FramesServer, bulk, embed_open, serving, until
from pgannex_wire.frame import BULK, SINGLE, UNORDERED, FrameType
from pgannex_wire.message import Arg, Column, Failure, Open
from pgannex_wire.values import TEXT_OID, ColumnBlock, split_values

SLOW = {"sleep_ms": 600_000}
MODELS = """
[limits]
hang_s = 3
[models.one]
engine = "echo"
[models.two]
engine = "echo"
[models.pair]
engine = "echo"
instances = 2
[models.broken]
engine = "echo"
options = { fail_load = "on purpose" }
[models.nowhere]
engine = "echo"
interpreter = "/nowhere/python"
[models.dies]
engine = "echo"
interpreter = "/bin/false"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[FramesServer]:
    with serving(MODELS) as made:
        yield made


def fails(server: FramesServer, **how: object) -> Failure:
    with server.client() as client:
        client.send(embed_open("x", **how))  # type: ignore[arg-type]
        return client.failure()


def control(server: FramesServer, model: str, action: str) -> str:
    """The state that the action answers, or the code of its error."""
    args = (Arg("model", TEXT_OID, model.encode()), Arg("action", TEXT_OID, action.encode()))
    with server.client() as client:
        wanted = (Column("state", TEXT_OID),)
        client.send(Open("control", SINGLE, 0, "admin", '{"control": true}', args, (), wanted).encode())
        while (frame := client.next()).type not in (FrameType.ROWS, FrameType.ERROR):
            pass
        if frame.type == FrameType.ERROR:
            return Failure.decode(frame.payload).code
        (state,) = split_values(ColumnBlock.decode(frame.payload).columns[0], 1)
        return (state or b"").decode()


def states(server: FramesServer) -> dict[str, str | None]:
    return {r["model"] or "": r["state"] for r in server.rows("stat_models", "model", "state")}


@pytest.mark.parametrize(
    ("kwargs", "how"), [({"crash": True}, "SIGSEGV"), ({"oom": True}, "perhaps for memory")]
)
def test_a_dead_worker_fails_its_request_and_comes_back(
    server: FramesServer, client: Client, kwargs: dict[str, bool], how: str
) -> None:
    failure = fails(server, model="one", kwargs=kwargs)
    assert failure.code in ("worker_died", "out_of_memory")
    assert failure.retryable and how in failure.detail
    assert len(client.embed("x", model="one")) == 384


def test_a_kill_loses_only_the_worker_s_own_requests(server: FramesServer) -> None:
    with server.client() as victim, server.client() as other, server.client() as waiting:
        for c in (victim, other):
            c.embed("x", model="pair")
        until("both instances are up", lambda: len(server.workers("pair")) == 2)
        victim.send(embed_open("x", model="pair", kwargs=SLOW))
        until("one instance is busy", lambda: server.in_flight() == 1)
        bulk(other, ["text"] * 50, 10, model="pair")
        for pid in server.workers("pair"):
            if _sleeps(pid):
                os.kill(pid, signal.SIGKILL)
        waiting.embed("x", model="pair")
        assert victim.failure().code == "worker_died"
        until("it is back", lambda: len(server.workers("pair")) == 2)


def _sleeps(pid: int) -> bool:
    """Whether the worker computes the batch that sleeps: it reads nothing from its socket."""
    with open(f"/proc/{pid}/wchan") as file:
        return "nanosleep" in file.read()


def test_bulk_goes_on_with_the_other_instance(server: FramesServer, client: Client) -> None:
    client.embed("x", model="pair")
    until("both instances are up", lambda: len(server.workers("pair")) == 2)
    texts = [f"text {i}" for i in range(2000)]
    answer = bulk(client, texts, 100, flags=BULK | UNORDERED, model="pair")
    assert sorted(map(int, answer.keys)) == list(range(2000))
    shares = [
        int(r["rows"] or 0) for r in server.rows("stat_models", "model", "rows") if r["model"] == "pair"
    ]
    assert len(shares) == 2


def test_a_hung_worker_is_killed_and_says_so(server: FramesServer, client: Client) -> None:
    failure = fails(server, model="one", kwargs={"hang": True})
    assert failure.code == "worker_died" and "longer than 3 s" in failure.message
    assert len(client.embed("x", model="one")) == 384


def test_a_stopped_worker_counts_as_hung(server: FramesServer, client: Client) -> None:
    client.embed("x", model="two")
    (pid,) = server.workers("two")
    os.kill(pid, signal.SIGSTOP)
    assert fails(server, model="two").code == "worker_died"
    assert len(client.embed("x", model="two")) == 384


def test_others_are_served_while_one_worker_hangs(server: FramesServer, client: Client) -> None:
    with server.client() as stuck:
        stuck.send(embed_open("x", model="one", kwargs={"hang": True}))
        until("it is running", lambda: server.in_flight() == 1)
        for _ in range(50):
            client.embed("x", model="two")
        assert server.in_flight() == 1
        assert stuck.failure().code == "worker_died"


@pytest.mark.parametrize(
    ("model", "says"),
    [("broken", "on purpose"), ("nowhere", "cannot start a worker"), ("dies", "while it was loading")],
)
def test_a_model_that_does_not_load_says_why_and_is_not_tried_again_at_once(
    server: FramesServer, model: str, says: str
) -> None:
    failures = [fails(server, model=model) for _ in range(10)]
    assert {f.code for f in failures} == {"load_failed"}
    assert all(says in f.message for f in failures)
    assert states(server)[model] == "failed"
    starts = server.log.read_text().count(f"model {model} did not load")
    assert starts <= 2, f"{starts} tries for ten requests"


def test_control_loads_pins_and_unloads(server: FramesServer) -> None:
    assert control(server, "two", "load") == "ready"
    assert control(server, "two", "pin") == "ready"
    assert control(server, "two", "unload") == "bad_argument"
    control(server, "two", "unpin")
    control(server, "two", "unload")
    until("it is unloaded", lambda: states(server)["two"] == "unloaded")
    with server.client() as client:
        assert len(client.embed("x", model="two")) == 384
    assert control(server, "broken", "load") == "load_failed"
    assert control(server, "nope", "load") == "unknown_model"
    assert control(server, "two", "explode") == "bad_argument"


def test_load_waits_for_an_unload_that_is_under_way(server: FramesServer) -> None:
    for _ in range(5):
        control(server, "two", "unload")
        assert control(server, "two", "load") == "ready"


def test_requests_wait_while_a_model_loads_but_not_beyond_their_deadline() -> None:
    config = '[models.late]\nengine = "echo"\noptions = { load_ms = 1500 }'
    with serving(config) as server, server.client() as patient:
        patient.send(embed_open("x", model="late"))
        assert fails(server, model="late", deadline_ms=200).code == "deadline"
        patient.expect(FrameType.ROWS)


def test_a_pinned_model_is_loaded_at_start() -> None:
    with serving('[models.pinned]\nengine = "echo"\npin = true') as server:
        until("it is loaded", lambda: states(server)["pinned"] == "ready")
        assert states(server)["echo"] == "unloaded"


def test_the_least_recently_used_model_makes_room() -> None:
    config = "[limits]\nmemory = { cpu = 250 }\n" + "".join(
        f'[models.m{i}]\nengine = "echo"\noptions = {{ memory_bytes = 100 }}\n' for i in range(4)
    )
    with serving(config + '[models.huge]\nengine = "echo"\noptions = { memory_bytes = 1000 }\n') as server:
        with server.client() as client:
            for model in ("m0", "m1", "m0", "m2"):
                client.embed("x", model=model)
        until("m1 went", lambda: states(server)["m1"] == "unloaded")
        assert (states(server)["m0"], states(server)["m2"]) == ("ready", "ready")
        control(server, "m0", "pin")
        with server.client() as client:
            client.embed("x", model="m1")
            client.embed("x", model="m3")
        until("m1 went again", lambda: states(server)["m1"] == "unloaded")
        assert states(server)["m0"] == "ready", "a pinned model was evicted"
        failure = fails(server, model="huge")
        assert failure.code == "out_of_memory" and "MiB" in failure.message
        assert states(server)["m0"] == "ready"


def test_an_idle_model_is_unloaded_after_a_while() -> None:
    with serving("[limits]\nidle_unload_s = 0.5") as server:
        with server.client() as client:
            client.embed("x")
        until("it is unloaded", lambda: states(server)["echo"] == "unloaded")


def test_a_worker_that_keeps_dying_is_restarted_with_patience() -> None:
    with serving() as server:
        with server.client() as client:
            client.embed("x")
        for _ in range(3):
            assert fails(server, kwargs={"crash": True}).code == "worker_died"
        restarts = int(server.rows("stat_models", "restarts")[0]["restarts"] or 0)
        assert restarts == 3
        before = time.monotonic()
        with server.client() as client:
            client.embed("x")
        assert time.monotonic() - before >= 0.2, "the third restart came without a pause"


def test_workers_do_not_outlive_the_server() -> None:
    with serving() as server:
        with server.client() as client:
            client.embed("x")
        (pid,) = server.workers()
        server.process.kill()
        server.process.wait()
        until("the worker is gone", lambda: not os.path.exists(f"/proc/{pid}") or _is_zombie(pid))


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
