"""Training over the frames socket with a real server and real libraries: what comes back, and when."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator

import pytest
from frames_process import FramesServer, serving, until
from train_client import (
    FOREVER,
    Training,
    fits_of,
    numbers,
    processes_of,
    spec_of,
    template_of,
    train,
    train_open,
    weight,
)

TABULAR = '[tabular]\nfits = 1\nfit_threads = 1\nfit_memory = "600MiB"\nfit_queue = 1\n'
SMALL = numbers(2000)


@pytest.fixture(scope="module")
def server() -> Iterator[FramesServer]:
    with serving(TABULAR) as running:
        train(running, SMALL)  # the template is there from now on
        yield running


def activity(server: FramesServer) -> list[dict[str, str | None]]:
    return server.rows("stat_activity", "verb", "model", "state", "ahead", "rows_in", "progress")


def states(server: FramesServer) -> list[str | None]:
    return [row["state"] for row in activity(server)]


def test_a_training_gives_a_signed_artifact_and_says_what_it_is(server: FramesServer) -> None:
    answer = train(server, SMALL)
    assert answer.end is not None and answer.end.rows == 1
    assert answer.result["rows"] == 2000
    assert answer.result["parts"] == 1
    assert answer.result["hash"] == hashlib.sha256(answer.artifact).hexdigest()
    assert answer.result["bytes"] == len(answer.artifact)
    assert answer.lines, "a fit says what it does"


def test_the_same_call_on_the_same_rows_gives_the_same_artifact(server: FramesServer) -> None:
    assert train(server, SMALL).artifact == train(server, SMALL).artifact


def test_the_key_is_not_with_the_process_that_fits(server: FramesServer) -> None:
    """Two servers with keys of their own sign the same body differently."""
    here = train(server, SMALL).artifact
    with serving(TABULAR) as other:
        there = train(other, SMALL).artifact
    assert here[:-32] == there[:-32]
    assert here[-32:] != there[-32:]


def test_rows_are_taken_as_credits_allow_and_counted(server: FramesServer) -> None:
    table = numbers(100_000)
    with Training(server, table) as training:
        training.push(table.blocks())
        training.acknowledged()
        seen = activity(server)
        assert [(row["state"], row["model"], row["rows_in"]) for row in seen] == [
            ("receiving rows", "tests", "100000")
        ]
        training.finish()
        assert training.wait().result["rows"] == 100_000


def test_a_fit_is_shown_while_it_runs_and_killed_when_its_caller_goes(server: FramesServer) -> None:
    before = weight(processes_of(server.process.pid))
    table = numbers(50_000)
    with Training(server, table, spec_of(table, hyperparams=FOREVER)) as training:
        training.send_all()
        until("it fits", lambda: states(server) == ["fitting"])
        assert len(fits_of(server.process.pid)) == 1
        began = time.monotonic()
    until("the fit is gone", lambda: not fits_of(server.process.pid))
    assert time.monotonic() - began < 1.0
    until("the request is gone", lambda: not activity(server))
    after = weight(processes_of(server.process.pid))
    assert after - before < 8 << 20, f"{before} bytes before, {after} after"
    assert train(server, SMALL).result["rows"] == 2000


def test_a_caller_that_goes_while_rows_arrive_leaves_nothing(server: FramesServer) -> None:
    table = numbers(50_000)
    with Training(server, table) as training:
        training.push(table.blocks()[:5])
        training.acknowledged()
        until("its process is there", lambda: fits_of(server.process.pid))
    until("the fit is gone", lambda: not fits_of(server.process.pid))
    assert train(server, SMALL).result["rows"] == 2000


def test_a_deadline_ends_a_fit(server: FramesServer) -> None:
    answer = train(server, SMALL, spec_of(SMALL, hyperparams=FOREVER), deadline_ms=1000)
    assert answer.failure is not None
    assert (answer.failure.code, answer.failure.sqlstate) == ("deadline", "57014")
    until("the fit is gone", lambda: not fits_of(server.process.pid))


def test_the_next_waits_its_turn_and_one_too_many_is_refused(server: FramesServer) -> None:
    with Training(server, SMALL, spec_of(SMALL, hyperparams=FOREVER)) as first:
        first.send_all()
        until("the first runs", lambda: states(server) == ["fitting"])
        with Training(server, SMALL) as second:
            second.send_all()
            until("the second waits", lambda: states(server) == ["fitting", "queued"])
            assert [row["ahead"] for row in activity(server)] == ["0", "1"]
            third = train(server, SMALL)
            assert third.failure is not None
            assert (third.failure.code, third.failure.sqlstate) == ("overloaded", "53000")
            first.client.close()
            assert second.wait().result["rows"] == 2000


def test_one_that_gives_up_waiting_makes_room(server: FramesServer) -> None:
    with Training(server, SMALL, spec_of(SMALL, hyperparams=FOREVER)) as first:
        first.send_all()
        until("the first runs", lambda: states(server) == ["fitting"])
        with Training(server, SMALL) as second:
            second.send_all()
            until("the second waits", lambda: states(server) == ["fitting", "queued"])
        until("the second is gone", lambda: states(server) == ["fitting"])
        with Training(server, SMALL) as third:
            third.send_all()
            until("the third waits", lambda: states(server) == ["fitting", "queued"])
            first.client.close()
            assert third.wait().result["rows"] == 2000


def test_a_fit_that_is_killed_fails_alone(server: FramesServer) -> None:
    with Training(server, SMALL, spec_of(SMALL, hyperparams=FOREVER)) as training:
        training.send_all()
        until("it fits", lambda: states(server) == ["fitting"])
        os.kill(fits_of(server.process.pid)[0], signal.SIGKILL)
        failure = training.wait().failure
    assert failure is not None
    assert (failure.code, failure.sqlstate) == ("worker_died", "58000")
    assert train(server, SMALL).result["rows"] == 2000


def test_a_template_that_is_killed_comes_again(server: FramesServer) -> None:
    killed = template_of(server.process.pid)
    with Training(server, SMALL, spec_of(SMALL, hyperparams=FOREVER)) as training:
        training.send_all()
        until("it fits", lambda: states(server) == ["fitting"])
        os.kill(killed, signal.SIGKILL)
        failure = training.wait().failure
    assert failure is not None and failure.code == "worker_died"
    assert "process that it was forked from" in failure.message
    assert train(server, SMALL).result["rows"] == 2000
    assert template_of(server.process.pid) not in (0, killed)


def test_a_fit_that_needs_too_much_memory_says_so(server: FramesServer) -> None:
    table = numbers(16_000)
    answer = train(server, table, spec_of(table, algorithm="kernel_ridge", hyperparams={}))
    assert answer.failure is not None
    assert (answer.failure.code, answer.failure.sqlstate) == ("out_of_memory", "53200")
    assert answer.failure.message == "the fit needs more than 600 MiB"
    assert "fit_memory" in answer.failure.hint
    assert train(server, SMALL).result["rows"] == 2000


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (b"{", "bad_argument"),
        (b"[]", "bad_argument"),
        (b"{}", "bad_argument"),
        (spec_of(SMALL, task="guessing"), "bad_argument"),
        (spec_of(SMALL, algorithm="crystal_ball"), "bad_argument"),
        (spec_of(SMALL, columns=[]), "bad_argument"),
        (spec_of(SMALL, columns=list(reversed(SMALL.described()))), "bad_argument"),
        (spec_of(SMALL, columns=SMALL.described()[1:]), "bad_argument"),
        (spec_of(SMALL, columns=[{**c, "pg_type": "int8"} for c in SMALL.described()]), "bad_argument"),
        (spec_of(SMALL, columns=[{**c, "pg_type": "float8[]"} for c in SMALL.described()]), "bad_argument"),
        (spec_of(SMALL, columns=[{**c, "position": "x"} for c in SMALL.described()]), "bad_argument"),
        (spec_of(SMALL, test_size=10**400), "bad_argument"),
        (spec_of(SMALL, search_args={"cv": float("inf")}), "bad_argument"),
    ],
    ids=[
        "no json",
        "no object",
        "empty",
        "task",
        "algorithm",
        "no columns",
        "other order",
        "one fewer",
        "other types",
        "no array",
        "position",
        "too large",
        "infinite",
    ],
)
def test_a_wrong_spec_is_refused_before_any_row(server: FramesServer, spec: object, code: str) -> None:
    with Training(server, SMALL, spec) as training:
        failure = training.wait().failure
    assert failure is not None and failure.code == code
    assert failure.hint, failure
    assert not fits_of(server.process.pid)


def test_no_rows_are_an_error_that_says_so(server: FramesServer) -> None:
    with Training(server, SMALL) as training:
        training.finish()
        failure = training.wait().failure
    assert failure is not None and failure.code == "bad_argument", failure


def test_an_unknown_output_is_refused(server: FramesServer) -> None:
    open_ = train_open(spec_of(SMALL), SMALL.names)
    with server.client() as client:
        client.send(open_.replace(b"result", b"rezult"))
        failure = client.failure()
    assert failure.code == "bad_argument" and "part, data, result" in failure.hint


def test_a_block_that_lies_fails_the_fit(server: FramesServer) -> None:
    with Training(server, SMALL) as training:
        training.push([SMALL.blocks()[0][:-8]])
        training.finish()
        failure = training.wait().failure
    assert failure is not None and failure.code == "protocol_violation", failure
    assert train(server, SMALL).result["rows"] == 2000
