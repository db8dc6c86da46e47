"""A hot standby predicts and embeds with the models of its primary, and never trains.

Both clusters ask one server by the same socket. The server is started anew before a standby
predicts, so that the artifact can only come from the standby. That the standby has replayed
what the primary did is seen by its position in the WAL, not by the time that went by.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from backends import until
from pgannex_server.host.cluster import Cluster
from pgannex_server.host.processes import environment
from pgannex_server.host.state import State
from teststack import TestStack

pytestmark = pytest.mark.timeout(400)

Database = psycopg.Connection[tuple[Any, ...]]
READER = "test_standby_reader"
REGISTRY = ("projects", "snapshots", "models", "deployments", "files", "jobs", "stat_jobs")

# What y is follows from the features; that the model learns it is tested elsewhere.
SETUP = f"""
    CREATE TABLE public.harvest AS
        SELECT (g % 13)::real AS sun, (g % 7)::real AS rain, ((g * 37) % 11)::real AS wind,
               (3 * (g % 13) + (g % 7) * ((g * 37) % 11))::real AS y
        FROM generate_series(1, 400) AS g;
    SELECT pgml.train('harvest', 'regression', 'public.harvest', 'y', 'random_forest',
                      hyperparams => '{{"n_estimators": 10}}');
    SELECT pgml.grant_model('harvest', '{READER}');
"""
TEARDOWN = """
    DELETE FROM pgml.projects WHERE name = 'harvest';
    DELETE FROM pgml.snapshots WHERE relation_name = 'public.harvest';
    DROP TABLE IF EXISTS public.harvest;
"""
HASH = "SELECT p.serving FROM pgml.projects AS p WHERE p.name = 'harvest'"
ONE = "SELECT pgml.predict('harvest', ARRAY[3, 4, 5]::real[])"
QUESTIONS = {
    "predict": "SELECT pgml.predict('harvest', ARRAY[g % 13, g % 7, g % 11]::real[])"
    " FROM generate_series(1, 50) AS g",
    "predict of a row": "SELECT pgml.predict('harvest', h) FROM"
    " (SELECT sun, rain, wind FROM public.harvest ORDER BY sun, rain, wind LIMIT 50) AS h",
    "predict_rows": "SELECT key, prediction FROM pgml.predict_rows('harvest',"
    " 'SELECT row_number() OVER (ORDER BY sun, rain, wind), sun, rain, wind FROM public.harvest')"
    " ORDER BY key::int",
    "predict_batch": "SELECT pgml.predict_batch('harvest', (SELECT array_agg((g * n) % 7)::float8[]"
    " FROM generate_series(1, 30) AS g, generate_series(1, 3) AS n))",
}


@dataclass(frozen=True)
class Standby:
    """A standby that runs, and the stack of its primary."""

    primary: TestStack
    cluster: Cluster

    def connect(self, role: str = "") -> Database:
        """Connect as superuser, or as a plain role of the primary."""
        if not role:
            return psycopg.connect(self.cluster.conninfo(), autocommit=True)
        address = f"postgresql://{role}:{self.primary.role(role)}@127.0.0.1:{self.cluster.port}/pgannex"
        return psycopg.connect(address, autocommit=True)

    def catch_up(self) -> None:
        """Wait until the standby has replayed all that the primary has committed."""
        with self.primary.connect() as primary, self.connect() as db:
            ((position,),) = primary.execute("SELECT pg_current_wal_flush_lsn()::text").fetchall()
            until(
                f"the standby has replayed {position}",
                lambda: (
                    db.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [position]).fetchall()
                    == [(True,)]
                ),
            )


@pytest.fixture(scope="module")
def standby(stack: TestStack) -> Iterator[Standby]:
    """A standby of the stack, with the model `harvest` in both, which READER may use."""
    primary = stack.stack.cluster
    tool = primary.installation.bin / "pg_basebackup"
    if not tool.exists():
        pytest.skip(f"no pg_basebackup beside the other binaries: {tool}")
    rules = stack.stack.state.folder / "pg_hba.conf"
    before = rules.read_text()
    state = State(stack.stack.state.place, f"{stack.stack.state.name}-standby")
    settings = {
        "pgannex.socket": str(stack.frames_socket),
        "hot_standby": "on",
        "wal_receiver_create_temp_slot": "on",
    }
    made = Standby(stack, replace(primary, state=state, settings={**dict(primary.settings), **settings}))
    try:
        stack.role(READER)
        with stack.connect() as db:
            db.execute(TEARDOWN)
            db.execute(SETUP)
            stack.stack.state.write(rules, before + "local replication postgres peer map=pgannex\n")
            db.execute("SELECT pg_reload_conf()")
        state.prepare()
        _back_up(made, str(tool))
        made.cluster.start()
        made.catch_up()
        yield made
    finally:
        made.cluster.stop("immediate")
        for folder in (state.run, state.folder):
            shutil.rmtree(folder, ignore_errors=True)
        stack.stack.state.write(rules, before)
        stack.start_server()
        with stack.connect() as db:
            db.execute("SELECT pg_reload_conf()")
            db.execute(TEARDOWN)


def _back_up(standby: Standby, tool: str) -> None:
    """Copy the running primary, with what the copy needs to follow it."""
    state, source = standby.cluster.state, standby.primary.stack.cluster
    command = [tool, "--pgdata", str(state.data), "--dbname", source.conninfo()]
    command += ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd="/", env=environment(state), **state.owner.popen()
    )
    assert done.returncode == 0, done.stderr


def _rows(db: Database, question: str) -> list[tuple[Any, ...]]:
    return db.execute(question).fetchall()


def _loaded(db: Database, hash: str) -> list[tuple[Any, ...]]:
    """States of the model with this artifact in the server."""
    return _rows(db, f"SELECT state FROM pgml.stat_models WHERE source = '{hash}'")


def _registry(stack: TestStack) -> dict[str, int]:
    """How many rows each table of the registry has, and how many jobs the server knows."""
    with stack.connect() as db:
        return {table: _rows(db, f"SELECT count(*) FROM pgml.{table}")[0][0] for table in REGISTRY}


def _forget_jobs(stack: TestStack) -> None:
    """End the jobs of a project `harvest` that the server still has."""
    with stack.connect() as db:
        for (job,) in _rows(db, "SELECT job FROM pgml.stat_jobs WHERE project = 'harvest'"):
            for action in ("cancel", "forget"):
                _rows(db, f"SELECT * FROM pgml.job_control WHERE job = '{job}' AND action = '{action}'")


def _refused(db: Database, statement: str, sqlstate: str, message: str) -> None:
    with pytest.raises(psycopg.Error, match=message) as failure:
        db.execute(statement)
    assert failure.value.sqlstate == sqlstate


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_predicts_as_the_primary_does(standby: Standby, question: str) -> None:
    with standby.primary.connect() as primary:
        expected = _rows(primary, question)
        ((hash,),) = _rows(primary, HASH)
    assert len(set(expected)) > 5
    standby.primary.restart_server()
    with standby.connect() as db:
        assert _rows(db, "SELECT pg_is_in_recovery()") == [(True,)]
        assert _loaded(db, hash) == []
        assert _rows(db, question) == expected
        assert _loaded(db, hash) == [("ready",)]


def test_embeds_as_the_primary_does(standby: Standby) -> None:
    question = "SELECT pgml.embed('echo', 'rain ' || g) FROM generate_series(1, 20) AS g"
    with standby.primary.connect() as primary, standby.connect() as db:
        expected = _rows(primary, question)
        assert len({tuple(embedding) for (embedding,) in expected}) == 20
        assert _rows(db, question) == expected


@pytest.mark.parametrize(
    "call",
    [
        "pgml.train('another', 'regression', 'public.harvest', 'y')",
        "pgml.train('harvest', 'regression', 'public.harvest', 'y')",
        "pgml.train('harvest')",
        "pgml.train_background('harvest', 'regression', 'public.harvest', 'y')",
        "pgml.train_background('harvest')",
    ],
)
def test_trains_nothing(standby: Standby, call: str) -> None:
    before = _registry(standby.primary)
    try:
        with standby.connect() as db:
            _refused(db, f"SELECT * FROM {call}", "25006", "in a read-only transaction")
            assert _rows(db, ONE)[0][0] > 0
        standby.primary.wait_idle()
        assert _registry(standby.primary) == before
    finally:
        _forget_jobs(standby.primary)


def test_a_revoked_grant_ends_there_too(standby: Standby) -> None:
    with standby.connect(READER) as open_before, standby.primary.connect() as primary:
        ((hash,),) = _rows(primary, HASH)
        directly = f"SELECT prediction FROM pgml.prediction WHERE artifact = '{hash}'"
        directly += " AND features = ARRAY[3, 4, 5]::real[]"
        expected = _rows(primary, ONE)
        # Asked twice: the second time the host has kept that this role may.
        for question in (ONE, directly, ONE, directly):
            assert _rows(open_before, question) == expected
        assert _rows(primary, f"SELECT pgml.revoke_model('harvest', '{READER}')") == [(True,)]
        standby.catch_up()
        with standby.connect(READER) as opened_after:
            for db in (open_before, opened_after):
                _refused(db, directly, "42501", "may use no model with artifact")
                _refused(db, ONE, "42704", "No deployed model exists for the project named: `harvest`")
        primary.execute(f"SELECT pgml.grant_model('harvest', '{READER}')")
        standby.catch_up()
        assert _rows(open_before, ONE) == expected
