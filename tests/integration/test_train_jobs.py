"""Background training over the frames socket: the job, who may have it, and a server that restarts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from frames_process import FramesServer, serving, stat_open, until
from pgannex_wire.frame import FrameType
from pgannex_wire.values import ColumnBlock, split_values
from train_client import FOREVER, Training, ask, control, fits_of, numbers, spec_of, submit, train

TABULAR = "[tabular]\nfits = 1\nfit_threads = 1\n"
SMALL = numbers(2000)


@pytest.fixture(scope="module")
def shared() -> Iterator[FramesServer]:
    with serving(TABULAR) as running:
        yield running


@pytest.fixture
def server(shared: FramesServer) -> Iterator[FramesServer]:
    """A server without jobs, before and after."""
    yield shared
    for job, row in jobs(shared).items():
        if row["state"] in ("running", "waiting"):
            control(shared, job, "cancel", role="admin", grant='{"control": true}')
        control(shared, job, "forget", role="admin", grant='{"control": true}')
    until("no fit is left", lambda: not fits_of(shared.process.pid))


@pytest.fixture
def own() -> Iterator[FramesServer]:
    """A server of its own, to be stopped or killed."""
    with serving(TABULAR) as running:
        yield running


def jobs(server: FramesServer) -> dict[str, dict[str, str | None]]:
    """stat_jobs as somebody sees it who may see all."""
    names = ("job", "role", "database", "project", "state", "progress", "message", "rows", "log", "error",
             "submitted_at", "started_at", "ended_at")  # fmt: skip
    return {str(row["job"]): row for row in server.rows("stat_jobs", *names)}


def done(server: FramesServer, job: str) -> None:
    until("the job is done", lambda: jobs(server)[job]["state"] == "done")


def test_a_job_gives_what_the_training_would_have_given(server: FramesServer) -> None:
    waited = train(server, SMALL)
    job = submit(server, SMALL)
    done(server, job)
    seen = jobs(server)[job]
    assert (seen["role"], seen["database"], seen["project"]) == ("app", "db", "tests")
    assert (seen["rows"], seen["progress"], seen["error"]) == ("2000", "1.0", None)
    assert seen["log"] and seen["submitted_at"] and seen["started_at"] and seen["ended_at"]
    collected = ask(server, "job_result", job=job)
    assert collected.artifact == waited.artifact
    assert collected.result["hash"] == hashlib.sha256(collected.artifact).hexdigest()
    assert jobs(server)[job]["state"] == "collected"
    assert ask(server, "job_result", job=job).artifact == waited.artifact, (
        "a rolled back collect may come again"
    )


def test_a_running_job_outlives_its_connection_and_is_cancelled(server: FramesServer) -> None:
    job = submit(server, SMALL, hyperparams=FOREVER)
    assert jobs(server)[job]["state"] == "running"
    early = ask(server, "job_result", job=job).failure
    assert early is not None and early.code == "not_ready"
    busy = control(server, job, "forget").failure
    assert busy is not None and "cancel it first" in busy.hint
    assert control(server, job, "cancel").rows == [("cancelled", "its process was killed", job)]
    until("its process is gone", lambda: not fits_of(server.process.pid))
    late = ask(server, "job_result", job=job).failure
    assert late is not None and "was cancelled by app" in late.message
    assert control(server, job, "cancel").rows[0][0] == "cancelled"
    assert control(server, job, "forget").rows[0][0] == "forgotten"
    assert not jobs(server)


def test_a_job_is_its_role_s_and_its_database_s(server: FramesServer) -> None:
    job = submit(server, SMALL, role="alice")
    done(server, job)
    for attempt in (
        ask(server, "job_result", job=job, role="bob"),
        ask(server, "job_result", job=job, role="bob", grant='{"control": true, "see_all": true}'),
        control(server, job, "forget", role="bob"),
        ask(server, "job_result", job="0123456789abcdef", role="alice"),
    ):
        assert attempt.failure is not None and attempt.failure.code == "bad_argument"
        assert "has no job" in attempt.failure.message
    assert control(server, job, "forget", role="admin", grant='{"control": true}').rows[0][0] == "forgotten"


def test_stat_jobs_shows_a_role_its_own(server: FramesServer) -> None:
    hers, his = submit(server, SMALL, role="alice"), submit(server, SMALL, role="bob")

    def seen(role: str, grant: str = "") -> set[str]:
        with server.client() as client:
            client.send(stat_open("stat_jobs", ["job"], role=role, grant=grant))
            block = ColumnBlock.decode(client.expect(FrameType.ROWS).payload)
            return {v.decode() for v in split_values(block.columns[0], block.nrows) if v is not None}

    assert seen("alice") == {hers}
    assert seen("bob") == {his}
    assert seen("carol") == set()
    assert seen("watcher", '{"see_all": true}') == {hers, his}


def test_a_restarted_server_says_what_it_lost_and_keeps_what_was_done(own: FramesServer) -> None:
    kept = submit(own, SMALL)
    done(own, kept)
    lost = submit(own, SMALL, hyperparams=FOREVER)
    own.process.kill()
    own.process.wait()
    own.process = own.launch()
    own.wait_ready()
    seen = jobs(own)
    assert (seen[kept]["state"], seen[lost]["state"]) == ("done", "lost")
    assert "the server restarted" in str(seen[lost]["error"])
    failure = ask(own, "job_result", job=lost).failure
    assert failure is not None and "the server restarted" in failure.message
    assert ask(own, "job_result", job=kept).result["rows"] == 2000


def test_a_server_that_stops_loses_its_jobs_and_their_processes(own: FramesServer) -> None:
    job = submit(own, SMALL, hyperparams=FOREVER)
    until("it runs", lambda: fits_of(own.process.pid))
    processes = fits_of(own.process.pid)
    assert own.stop() == 0
    until("its processes are gone", lambda: not any(_lives(pid) for pid in processes))
    own.process = own.launch()
    own.wait_ready()
    assert jobs(own)[job]["state"] == "lost"


def test_a_caller_that_goes_before_the_rows_are_complete_leaves_no_job(server: FramesServer) -> None:
    with Training(server, SMALL, spec_of(SMALL, background=True)) as training:
        training.push(SMALL.blocks()[:1])
        training.acknowledged()
        until("its process is there", lambda: fits_of(server.process.pid))
    until("its process is gone", lambda: not fits_of(server.process.pid))
    assert not jobs(server)
    until("its file is gone", lambda: not list((server.folder / "state" / "jobs").iterdir()))


def test_a_job_that_fails_says_why(server: FramesServer) -> None:
    job = submit(server, SMALL, hyperparams={"n_estimators": 10, "max_depth": -7})
    until("it has failed", lambda: jobs(server)[job]["state"] == "failed")
    failure = ask(server, "job_result", job=job).failure
    assert failure is not None and failure.message == jobs(server)[job]["error"]


def test_the_records_are_the_server_s_alone(server: FramesServer) -> None:
    job = submit(server, SMALL)
    done(server, job)
    folder = server.folder / "state" / "jobs"
    assert folder.stat().st_mode & 0o777 == 0o700
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == [f"{job}.annex", f"{job}.json"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    assert json.loads(files[1].read_text())["role"] == "app"


def test_a_record_that_cannot_be_read_is_left_alone(own: FramesServer) -> None:
    job = submit(own, SMALL)
    done(own, job)
    own.stop()
    folder = own.folder / "state" / "jobs"
    (folder / "broken.json").write_text('{"id": ')
    (folder / "stray.annex").write_bytes(b"of a fit that never became a job")
    own.process = own.launch()
    own.wait_ready()
    assert list(jobs(own)) == [job]
    assert (folder / "broken.json").exists() and not (folder / "stray.annex").exists()


def test_old_jobs_are_forgotten() -> None:
    with serving(TABULAR + "job_keep_s = 0\n") as server:
        job = submit(server, SMALL)
        until("it ended", lambda: jobs(server)[job]["state"] not in ("running", "waiting"))
        server.stop()
        server.process = server.launch()
        server.wait_ready()
        assert not jobs(server)
        assert not list((server.folder / "state" / "jobs").iterdir())


def test_finished_artifacts_beyond_the_limit_stop_new_jobs() -> None:
    with serving(TABULAR + "job_bytes = 1000\n") as server:
        job = submit(server, SMALL)
        done(server, job)
        refused = train(server, SMALL, spec_of(SMALL, background=True)).failure
        assert refused is not None and refused.code == "overloaded" and "job_bytes" in refused.hint
        assert train(server, SMALL).result["rows"] == 2000, "a caller that waits needs no room"
        assert ask(server, "job_result", job=job).failure is None
        submit(server, SMALL)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
