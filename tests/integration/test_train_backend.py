"""Training from a real backend: every way to end it, whose rows it sees, and what is left afterwards."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
import pytest
from backends import Outcome, Statement, outcome_of, until, until_idle, until_running
from train_client import FOREVER, fits_of, processes_of, weight

Database = psycopg.Connection[tuple[Any, ...]]
COLUMNS = [
    {
        "name": name,
        "pg_type": "float8",
        "label": name == "y",
        "nullable": True,
        "position": at,
        "array": False,
    }
    for at, name in enumerate(("a", "b", "y"), 1)
]
ROWS = "SELECT a, b, y FROM train_rows"


def training(hyperparams: Mapping[str, object] | None = None, query: str = ROWS, **changes: object) -> str:
    """A statement that reads pgml.training."""
    spec = {
        "project": "backend",
        "task": "regression",
        "algorithm": "xgboost",
        "hyperparams": hyperparams or {"n_estimators": 5},
        "columns": COLUMNS,
        **changes,
    }
    return (
        "SELECT t.part, octet_length(t.data), t.result FROM pgml.training AS t "
        f"WHERE t.query = $${query}$$ AND t.spec = $${json.dumps(spec)}$$::jsonb"
    )


@pytest.fixture(scope="module")
def rows(stack: Any) -> Iterator[None]:
    with psycopg.connect(stack.dsn, autocommit=True) as db:
        db.execute(
            "DROP TABLE IF EXISTS train_rows; CREATE TABLE train_rows AS "
            "SELECT random() AS a, random() AS b, random() AS y FROM generate_series(1, 20000)"
        )
        db.execute(training())
        yield
        db.execute("DROP TABLE train_rows")


def by_cancel(statement: Statement, watcher: Database) -> Outcome:
    watcher.execute("SELECT pg_cancel_backend(%s)", [statement.pid])
    return statement.finish()


def by_terminate(statement: Statement, watcher: Database) -> Outcome:
    watcher.execute("SELECT pg_terminate_backend(%s)", [statement.pid])
    return statement.finish()


@pytest.mark.parametrize(
    ("end", "sqlstate"), [(by_cancel, "57014"), (by_terminate, "57P01")], ids=["cancel", "terminate"]
)
def test_a_fit_that_is_cancelled_is_gone_with_its_memory(
    end: Callable[[Statement, Database], Outcome],
    sqlstate: str,
    stack: Any,
    rows: None,
    connect: Callable[..., Database],
) -> None:
    watcher, victim = connect(autocommit=True), connect(autocommit=True)
    before = weight(processes_of(stack.server_pid))
    statement = Statement(victim, training(FOREVER))
    until_running(watcher, statement.pid)
    until("it fits", lambda: state_of(watcher, statement.pid) == "fitting")
    assert fits_of(stack.server_pid)
    outcome = end(statement, watcher)
    assert outcome.sqlstate == sqlstate, outcome
    began = time.monotonic()
    until("the fit is gone", lambda: not fits_of(stack.server_pid))
    assert time.monotonic() - began < 1.0
    until_idle(watcher, statement.pid)
    assert weight(processes_of(stack.server_pid)) - before < 8 << 20


def test_statement_timeout_ends_a_fit(stack: Any, rows: None, connect: Callable[..., Database]) -> None:
    victim = connect(autocommit=True)
    victim.execute("SET statement_timeout = '2s'")
    outcome = outcome_of(victim, training(FOREVER))
    assert outcome.sqlstate == "57014", outcome
    until("the fit is gone", lambda: not fits_of(stack.server_pid))


def test_a_query_that_fails_half_way_ends_the_fit(
    stack: Any, rows: None, connect: Callable[..., Database]
) -> None:
    victim = connect(autocommit=True)
    query = (
        "SELECT g::float8 AS a, 1 / (15000 - g)::float8 AS b, 0::float8 AS y FROM generate_series(1, 20000) g"
    )
    outcome = outcome_of(victim, training(query=query))
    assert outcome.sqlstate == "22012", outcome
    until("the fit is gone", lambda: not fits_of(stack.server_pid))


def test_it_sees_the_caller_s_uncommitted_and_temporary_rows(rows: None, db: Database) -> None:
    db.execute("CREATE TEMPORARY TABLE mine AS SELECT a, b, y FROM train_rows LIMIT 500")
    db.execute("INSERT INTO mine VALUES (1, 2, 3)")
    row = db.execute(training(query="SELECT a, b, y FROM mine")).fetchone()
    assert row is not None and row[2]["rows"] == 501


def test_it_runs_in_a_block_that_catches_errors(rows: None, db: Database) -> None:
    """The error of a fit is an error of the statement, and a subtransaction survives it."""
    wrong = training(columns=COLUMNS[1:]).replace("'", "''")
    db.execute(
        f"CREATE FUNCTION pg_temp.try() RETURNS text LANGUAGE plpgsql AS $f$ BEGIN EXECUTE '{wrong}'; "
        "RETURN 'no error'; EXCEPTION WHEN invalid_parameter_value THEN RETURN SQLERRM; END $f$"
    )
    row = db.execute("SELECT pg_temp.try()").fetchone()
    assert row is not None and "the spec describes the columns b, y" in str(row[0])
    found = db.execute(training()).fetchone()
    assert found is not None and found[2]["rows"] == 20_000


@pytest.mark.parametrize(
    ("spec", "query", "said"),
    [
        ({}, "SELECT a::int8 AS a, b, y FROM train_rows", 'column "a" as float8; in the rows it is int8'),
        ({}, "SELECT a, b::text AS b, y FROM train_rows", 'column "b" as float8; in the rows it is text'),
        (
            {},
            "SELECT a, b, ARRAY[y] AS y FROM train_rows",
            'column "y" as float8; in the rows it is float8[]',
        ),
        ({"columns": [{**COLUMNS[0], "position": "x"}, *COLUMNS[1:]]}, ROWS, 'column "a" is "x"'),
    ],
    ids=["integer", "text", "array", "position"],
)
def test_a_spec_that_is_not_the_query_s_says_what_differs(
    spec: dict[str, object], query: str, said: str, rows: None, db: Database
) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        db.execute(training(None, query, **spec))
    assert said in str(caught.value.diag.message_primary)
    assert caught.value.diag.message_hint


def test_a_background_training_returns_while_another_runs(
    rows: None, connect: Callable[..., Database]
) -> None:
    """Nobody waits for a turn: not the caller, and stat_activity shows what does."""
    places = max(1, len(os.sched_getaffinity(0)) // 2)
    if places > 4:
        pytest.skip(f"the server runs {places} fits at a time, too many to keep busy here")
    db, watcher = connect(autocommit=True), connect(autocommit=True)
    jobs = []
    try:
        for _ in range(places + 1):
            found = db.execute(training(FOREVER, background=True)).fetchone()
            assert found is not None
            jobs.append(found[2]["job"])
        seen = watcher.execute(
            "SELECT state FROM pgml.stat_jobs WHERE job = ANY (%s) ORDER BY submitted_at", [jobs]
        ).fetchall()
        assert seen[-1] == ("waiting",) and seen[0] == ("running",)
        shown = watcher.execute(
            "SELECT lane, state FROM pgml.stat_activity WHERE verb = 'train' AND pid IS NULL"
        ).fetchall()
        assert ("background", "waiting") in shown and len(shown) > places
    finally:
        for job in reversed(jobs):
            db.execute("SELECT state FROM pgml.job_control WHERE job = %s AND action = 'cancel'", [job])


def test_a_job_belongs_to_the_role_that_started_it(
    stack: Any, rows: None, connect: Callable[..., Database]
) -> None:
    stack.role("trainer_one", ("pgml_trainer",))
    stack.role("trainer_two", ("pgml_trainer",))
    stack.role("no_trainer", ("pgml_user",))
    owner = connect(autocommit=True)
    owner.execute("GRANT SELECT ON train_rows TO trainer_one")
    one, two = connect(role="trainer_one", autocommit=True), connect(role="trainer_two", autocommit=True)
    found = one.execute(training(background=True)).fetchone()
    assert found is not None and found[:2] == (None, None)
    job = found[2]["job"]

    def state(db: Database) -> object:
        row = db.execute("SELECT state FROM pgml.stat_jobs WHERE job = %s", [job]).fetchone()
        return row[0] if row else None

    until("the job is done", lambda: state(one) == "done")
    assert state(owner) == "done"
    assert state(two) is None
    result = "SELECT part, octet_length(data), result FROM pgml.job_result WHERE job = %s"
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="has no job"):
        two.execute(result, [job])
    collected = one.execute(result, [job]).fetchone()
    assert collected is not None and collected[1] == collected[2]["bytes"]
    assert state(one) == "collected"
    forget = "SELECT state FROM pgml.job_control WHERE job = %s AND action = 'forget'"
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="has no job"):
        two.execute(forget, [job])
    assert one.execute(forget, [job]).fetchone() == ("forgotten",)
    other = connect(role="no_trainer", autocommit=True)
    for statement in (training(), "SELECT state FROM pgml.job_control WHERE job = 'a' AND action = 'forget'"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute(statement)


def state_of(watcher: Database, pid: int) -> object:
    """What stat_activity says of a backend's request."""
    row = watcher.execute("SELECT state FROM pgml.stat_activity WHERE pid = %s", [pid]).fetchone()
    return row[0] if row else None
