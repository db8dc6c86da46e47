"""Every way to cancel, in every form of embed: it ends at once, and the server drops it.

The echo engine is told to take long; the statement is cancelled once the server has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from backends import Outcome, Statement, outcome_of, until, until_idle, until_running

Database = psycopg.Connection[tuple[Any, ...]]
SLOW = """'{"sleep_ms": 1500}'"""
ROWS = "SELECT g, 'text ' || g FROM generate_series(1, 100000) AS g"
FORMS = {
    "one text": f"SELECT pgml.embed('echo', 'a', {SLOW})",
    "an array": f"SELECT * FROM pgml.embed('echo', array_fill('a'::text, ARRAY[50000]), {SLOW})",
    "an array in the SELECT list": f"SELECT pgml.embed('echo', array_fill('a'::text, ARRAY[50000]), {SLOW})",
    "the foreign table": (
        f"SELECT * FROM pgml.embedding WHERE model = 'echo' AND input = 'a' AND kwargs = {SLOW}::jsonb"
    ),
    "embed_rows": f"SELECT * FROM pgml.embed_rows('echo', $${ROWS}$$, {SLOW})",
    "embed_into": f"SELECT pgml.embed_into('echo', $${ROWS}$$, 'cancel_target', 'id', 'v', {SLOW})",
    "a generated column": "INSERT INTO cancel_generated (body) VALUES ('a')",
}


@pytest.fixture(scope="module")
def targets(stack: Any) -> Any:
    with psycopg.connect(stack.dsn, autocommit=True) as db:
        db.execute(
            "DROP TABLE IF EXISTS cancel_target, cancel_generated;"
            "CREATE TABLE cancel_target (id int, v real[]);"
            "CREATE TABLE cancel_generated (body text,"
            f" v real[] GENERATED ALWAYS AS (pgml.embed('echo', body, {SLOW})) STORED)"
        )
        yield
        db.execute("DROP TABLE cancel_target, cancel_generated")


def _by_cancel(statement: Statement, watcher: Database) -> Outcome:
    watcher.execute("SELECT pg_cancel_backend(%s)", [statement.pid])
    return statement.finish()


def _by_terminate(statement: Statement, watcher: Database) -> Outcome:
    watcher.execute("SELECT pg_terminate_backend(%s)", [statement.pid])
    return statement.finish()


WAYS = {"pg_cancel_backend": (_by_cancel, "57014"), "pg_terminate_backend": (_by_terminate, "57P01")}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", WAYS)
def test_cancel(way: str, form: str, targets: None, connect: Callable[..., Database]) -> None:
    watcher, victim = connect(autocommit=True), connect(autocommit=True)
    statement = Statement(victim, FORMS[form])
    until_running(watcher, statement.pid)
    act, sqlstate = WAYS[way]
    outcome = act(statement, watcher)
    assert outcome.sqlstate == sqlstate, outcome
    until_idle(watcher, statement.pid)
    if way == "pg_cancel_backend":
        assert outcome_of(victim, "SELECT pgml.embed('echo', 'after')").sqlstate == ""
        assert victim.info.backend_pid == statement.pid


@pytest.mark.parametrize("form", FORMS)
def test_statement_timeout(form: str, targets: None, connect: Callable[..., Database]) -> None:
    watcher, victim = connect(autocommit=True), connect(autocommit=True)
    victim.execute("SET statement_timeout = '200ms'")
    outcome = outcome_of(victim, FORMS[form])
    # The server has the same deadline, and may be first to say so.
    assert outcome.sqlstate == "57014", outcome
    until_idle(watcher, victim.info.backend_pid)
    victim.execute("RESET statement_timeout")
    assert outcome_of(victim, "SELECT pgml.embed('echo', 'after')").sqlstate == ""


@pytest.mark.parametrize("form", FORMS)
def test_client_disconnects(form: str, targets: None, connect: Callable[..., Database]) -> None:
    watcher, victim = connect(autocommit=True), connect(autocommit=True)
    statement = Statement(victim, FORMS[form])
    until_running(watcher, statement.pid)
    victim.pgconn.finish()
    until_idle(watcher, statement.pid)
    until(
        f"backend {statement.pid} is gone",
        lambda: (
            watcher.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [statement.pid]
            ).fetchone()
            == (0,)
        ),
    )


def test_a_cancelled_insert_leaves_no_rows(targets: None, connect: Callable[..., Database]) -> None:
    watcher, victim = connect(autocommit=True), connect(autocommit=True)
    statement = Statement(victim, FORMS["embed_into"])
    until_running(watcher, statement.pid)
    assert _by_cancel(statement, watcher).sqlstate == "57014"
    assert watcher.execute("SELECT count(*) FROM cancel_target").fetchone() == (0,)


def test_the_timeout_of_a_request(connect: Callable[..., Database]) -> None:
    """pgannex.timeout ends a request that nobody cancels."""
    db = connect(autocommit=True)
    db.execute("SELECT pgml.embed('echo', 'loads the library')")
    db.execute("SET pgannex.timeout = '300ms'")
    outcome = outcome_of(db, FORMS["one text"])
    assert outcome.sqlstate == "57014", outcome
    db.execute("RESET pgannex.timeout")
    assert outcome_of(db, "SELECT pgml.embed('echo', 'after')").sqlstate == ""
