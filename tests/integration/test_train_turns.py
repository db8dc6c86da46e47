"""Trainings that wait for their turn: rows in a file, roles in turn, and what others see of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from frames_process import FramesServer, serving, until
from train_client import FOREVER, Training, ask, control, fits_of, numbers, spec_of, submit, train

TABULAR = "[tabular]\nfits = 1\nfit_threads = 1\n"
SMALL = numbers(2000)
LARGER = numbers(40_000)


@pytest.fixture(scope="module")
def shared() -> Iterator[FramesServer]:
    with serving(TABULAR) as running:
        yield running


@pytest.fixture
def server(shared: FramesServer) -> Iterator[FramesServer]:
    """A server without jobs, before and after."""
    yield shared
    for job in states(shared):
        end(shared, job)
        control(shared, job, "forget", role="admin", grant='{"control": true}')
    until("no fit is left", lambda: not fits_of(shared.process.pid))


def states(server: FramesServer) -> dict[str, str | None]:
    return {str(row["job"]): row["state"] for row in server.rows("stat_jobs", "job", "state")}


def end(server: FramesServer, job: str) -> str:
    """Cancel it; what the server says that it did."""
    return str(control(server, job, "cancel", role="admin", grant='{"control": true}').rows[0][1])


def done(server: FramesServer, job: str) -> None:
    until("the job is done", lambda: states(server)[job] == "done")


def running(server: FramesServer, job: str) -> None:
    until("the job runs", lambda: states(server)[job] == "running")


def spools(server: FramesServer) -> list[os.stat_result]:
    """The files of rows that the server holds; they have no name any more."""
    found = []
    for fd in Path(f"/proc/{server.process.pid}/fd").iterdir():
        try:
            if ".spool" in os.readlink(fd):
                found.append(fd.stat())
        except FileNotFoundError:
            continue
    return found


def test_a_job_whose_turn_has_not_come_has_its_rows_and_an_id(server: FramesServer) -> None:
    first = submit(server, SMALL, role="alice", hyperparams=FOREVER)
    waiting = submit(server, LARGER, role="bob")
    assert states(server) == {first: "running", waiting: "waiting"}
    early = ask(server, "job_result", job=waiting, role="bob").failure
    assert early is not None and early.code == "not_ready" and "its turn has not come" in early.message
    (spool,) = spools(server)
    assert spool.st_mode & 0o777 == 0o600
    assert spool.st_size > 40_000 * 5 * 8, "all rows are in it"
    assert not list((server.folder / "state" / "jobs").glob("*.spool"))
    assert end(server, first) == "its process was killed"
    done(server, waiting)
    assert not spools(server)
    collected = ask(server, "job_result", job=waiting, role="bob")
    assert collected.result["rows"] == 40_000
    assert collected.artifact == train(server, LARGER).artifact, "the file changes nothing"


def test_stat_activity_shows_what_runs_and_what_waits(server: FramesServer) -> None:
    submit(server, SMALL, role="alice", hyperparams=FOREVER)
    submit(server, SMALL, role="bob")
    with Training(server, SMALL, role="carol") as training:
        training.send_all()
        until("all three are shown", lambda: len(server.rows("stat_activity", "role")) == 3)
        seen = server.rows("stat_activity", "role", "verb", "model", "lane", "state", "ahead", "rows_in")
        assert sorted(tuple(row.values()) for row in seen) == [
            ("alice", "train", "tests", "background", "fitting", "0", "2000"),
            ("bob", "train", "tests", "background", "waiting", "1", "2000"),
            ("carol", "train", "tests", "bulk", "queued", "2", "2000"),
        ]


def test_roles_take_turns(server: FramesServer) -> None:
    first = submit(server, SMALL, role="alice", hyperparams=FOREVER)
    second = submit(server, SMALL, role="alice", hyperparams=FOREVER)
    third = submit(server, SMALL, role="alice", hyperparams=FOREVER)
    other = submit(server, SMALL, role="bob", hyperparams=FOREVER)
    seen = server.rows("stat_activity", "role", "state", "ahead")
    assert [tuple(row.values()) for row in seen] == [
        ("alice", "fitting", "0"),
        ("alice", "waiting", "2"),
        ("alice", "waiting", "3"),
        ("bob", "waiting", "1"),
    ]
    for now, after in ((first, other), (other, second), (second, third)):
        end(server, now)
        running(server, after)
        assert list(states(server).values()).count("running") == 1


def test_a_job_that_waits_can_be_cancelled(server: FramesServer) -> None:
    submit(server, SMALL, hyperparams=FOREVER)
    waiting = submit(server, SMALL)
    assert end(server, waiting) == "its turn had not come"
    assert states(server)[waiting] == "cancelled"
    assert not spools(server)


def test_a_caller_that_goes_while_its_rows_are_kept_leaves_nothing(server: FramesServer) -> None:
    first = submit(server, SMALL, hyperparams=FOREVER)
    with Training(server, LARGER, spec_of(LARGER, background=True)) as training:
        training.push(LARGER.blocks()[:5])
        training.acknowledged()
        assert len(spools(server)) == 1
    until("its file is gone", lambda: not spools(server))
    assert list(states(server)) == [first]


def test_a_job_whose_rows_are_not_complete_lets_others_by(server: FramesServer) -> None:
    first = submit(server, SMALL, hyperparams=FOREVER)
    with Training(server, LARGER, spec_of(LARGER, background=True)) as training:
        training.push(LARGER.blocks()[:5])
        training.acknowledged()
        end(server, first)
        assert train(server, SMALL).result["rows"] == 2000
        training.push(LARGER.blocks()[5:])
        training.finish()
        job = str(training.wait().result["job"])
    done(server, job)
    assert ask(server, "job_result", job=job).result["rows"] == 40_000


def test_what_waits_has_a_limit() -> None:
    with serving(TABULAR + "job_spool_bytes = 100000\n") as server:
        first = submit(server, SMALL, hyperparams=FOREVER)
        refused = train(server, LARGER, spec_of(LARGER, background=True)).failure
        assert refused is not None and (refused.code, refused.sqlstate) == ("overloaded", "53000")
        assert "job_spool_bytes" in refused.hint
        assert list(states(server)) == [first] and not spools(server)
        waiting = submit(server, SMALL)
        assert states(server)[waiting] == "waiting", "what was refused holds no room"


def test_a_full_queue_takes_the_first_of_another_role() -> None:
    with serving(TABULAR + "fit_queue = 1\n") as server:
        first = submit(server, SMALL, role="alice", hyperparams=FOREVER)
        submit(server, SMALL, role="alice")
        more = train(server, SMALL, spec_of(SMALL, background=True), role="alice").failure
        assert more is not None and more.code == "overloaded"
        other = submit(server, SMALL, role="bob")
        third = train(server, SMALL, spec_of(SMALL, background=True), role="carol").failure
        assert third is not None and third.code == "overloaded"
        end(server, first)
        done(server, other)


def test_a_fit_that_takes_too_long_is_ended() -> None:
    with serving(TABULAR + "fit_time_s = 0.5\n") as server:
        failure = train(server, SMALL, spec_of(SMALL, hyperparams=FOREVER)).failure
        assert failure is not None and (failure.code, failure.sqlstate) == ("deadline", "57014")
        assert failure.message == "the fit was not done in 0.5 s" and "fit_time_s" in failure.hint
        job = submit(server, SMALL, hyperparams=FOREVER)
        until("the job has failed", lambda: states(server)[job] == "failed")
        until("the fit is gone", lambda: not fits_of(server.process.pid))


def test_a_restarted_server_says_that_what_waited_is_lost() -> None:
    with serving(TABULAR) as server:
        jobs = [submit(server, SMALL, hyperparams=FOREVER) for _ in range(2)]
        server.process.kill()
        server.process.wait()
        server.process = server.launch()
        server.wait_ready()
        assert states(server) == dict.fromkeys(jobs, "lost")
