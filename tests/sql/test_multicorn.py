"""What only the Multicorn host has to show: its setting, its EXPLAIN, a cancel with its own SQLSTATE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]
READ = "SELECT tokens FROM pgml.embedding WHERE model = 'echo' AND input = 'a'"
SLOW = READ + """ AND kwargs = '{"sleep_ms": 30000}'::jsonb"""


@pytest.fixture(autouse=True)
def _multicorn_only(host: str) -> None:
    if host != "multicorn":
        pytest.skip("these are about the Multicorn host")


def test_a_user_cannot_point_at_another_socket(db: Database) -> None:
    assert db.execute(READ).fetchone() == (3,)
    with pytest.raises(psycopg.errors.CantChangeRuntimeParam):
        db.execute("SET pgannex.socket = '/tmp/mine.sock'")


def test_a_socket_set_before_the_wrapper_was_loaded_is_not_used(db: Database) -> None:
    db.execute("SET pgannex.socket = '/tmp/mine.sock'")
    assert db.execute(READ).fetchone() == (3,)
    assert db.execute("SHOW pgannex.socket").fetchone() != ("/tmp/mine.sock",)


def test_a_socket_in_the_options_of_a_connection_is_not_used(connect: Callable[..., Database]) -> None:
    db = connect(options="-c pgannex.socket=/tmp/mine.sock")
    with pytest.raises(
        psycopg.errors.InternalError_, match=r"no server answers on /run/pgannex/pgannex\.sock"
    ):
        db.execute(READ)


def test_a_statement_timeout_keeps_its_sqlstate(db: Database) -> None:
    db.execute(READ)
    db.execute("SET LOCAL statement_timeout = '200ms'")
    with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
        db.execute(SLOW)


def test_an_exception_block_cannot_swallow_a_cancel(db: Database) -> None:
    """WHEN OTHERS does not catch 57014, so a cancel must not come as XX000."""
    db.execute("SET LOCAL statement_timeout = '200ms'")
    block = f"DO $$ BEGIN PERFORM * FROM ({SLOW}) AS s; EXCEPTION WHEN OTHERS THEN NULL; END $$"
    with pytest.raises(psycopg.errors.QueryCanceled):
        db.execute(block)


def test_explain_shows_what_is_asked_and_analyze_what_it_cost(db: Database) -> None:
    def lines(sql: str) -> str:
        return "\n".join(row[0] for row in db.execute(sql).fetchall())

    plain = lines(f"EXPLAIN {READ}")
    assert "Verb: embed" in plain
    assert "Model: echo" in plain
    assert "Batches" not in plain
    analyzed = lines(f"EXPLAIN ANALYZE {READ}")
    assert "Batches: 1  Tokens: 3" in analyzed
    assert "Batches" not in lines(f"EXPLAIN {READ}"), "figures of an earlier statement"


def test_a_large_array_is_rechecked_in_linear_time(db: Database) -> None:
    """Twenty thousand squared would be minutes."""
    array = "(SELECT array_agg('text ' || g) FROM generate_series(1, 20000) AS g)"
    assert db.execute(f"SELECT count(*) FROM pgml.embed('echo', {array})").fetchone() == (20000,)


def test_auto_explain_meets_no_parameter_that_is_an_array(db: Database) -> None:
    db.execute("LOAD 'auto_explain'")
    db.execute("SET auto_explain.log_nested_statements = on")
    db.execute("SET auto_explain.log_min_duration = 0")
    assert len(db.execute("SELECT pgml.embed('echo', ARRAY['a', 'b'])").fetchall()) == 2


def test_a_backend_works_on_after_every_kind_of_error(connect: Callable[..., Database]) -> None:
    db = connect(autocommit=True)
    pid = db.info.backend_pid
    for wrong in (
        "SELECT * FROM pgml.embedding",
        "SELECT * FROM pgml.embedding WHERE model = 'no-such-model' AND input = 'a'",
        READ.replace("'a'", "ANY (ARRAY['a', NULL])"),
        f"SELECT 1 / (tokens - 3) FROM ({READ}) AS e",
    ):
        for _ in range(3):
            with pytest.raises(psycopg.Error):
                db.execute(wrong)
        assert db.execute(READ).fetchone() == (3,)
    assert db.info.backend_pid == pid
