"""The first prediction with a model brings its artifact to the server, in each form of SQL.

A function, a parallel worker, a read-only transaction, a block with an EXCEPTION, beside an
open cursor, a query read lazily. Each form has a model of its own that the server has not seen
since it trained it. test_need.py has the same against a server that asks at each request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]
CALL = "pgml.predict('travels', ARRAY[1, 2]::real[])"


@pytest.fixture
def session(host: str, connect: Callable[..., Database], request: pytest.FixtureRequest) -> Database:
    """A session beside a fresh linear model of y = 2a + 3b + c, where c is the test's own."""
    if host != "native":
        pytest.skip("training and prediction need the native host")
    db = connect(autocommit=True)
    db.execute("DELETE FROM pgml.projects WHERE name = 'travels'")
    db.execute("DROP TABLE IF EXISTS public.travels")
    own = sum(request.node.name.encode()) % 1000
    db.execute(
        "CREATE TABLE public.travels AS SELECT g % 7 AS a, g % 5 AS b,"
        f" {own}.0 + 2 * (g % 7) + 3 * (g % 5) AS y FROM generate_series(1, 60) AS g"
    )
    db.execute(
        "SELECT * FROM pgml.train('travels', 'regression', 'public.travels', 'y', algorithm => 'linear')"
    )
    db.execute(f"CREATE TEMP VIEW own AS SELECT {own + 8}::real AS c")
    return db


def right(db: Database, question: str = f"SELECT {CALL}") -> None:
    expected = db.execute("SELECT c FROM own").fetchone()
    assert expected is not None
    assert db.execute(question).fetchall() == [(pytest.approx(expected[0], abs=1e-2),)]


def test_without_its_file_the_server_says_so(session: Database) -> None:
    session.execute("BEGIN")
    session.execute(
        "DELETE FROM pgml.files AS f USING pgml.models AS m JOIN pgml.projects AS p ON p.id = m.project_id"
        " WHERE p.name = 'travels' AND f.model_id = m.id"
    )
    with pytest.raises(psycopg.Error, match="artifact"):
        session.execute(f"SELECT {CALL}")
    session.execute("ROLLBACK")
    right(session)


def test_in_a_function(session: Database) -> None:
    right(session)


@pytest.mark.parametrize(
    "setting",
    [
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'serializable'",
        "plan_cache_mode = force_generic_plan",
    ],
)
def test_under_a_setting(session: Database, setting: str) -> None:
    session.execute(f"SET {setting}")
    right(session)


def test_in_a_parallel_worker(session: Database) -> None:
    setting = "debug_parallel_query" if session.info.server_version >= 160000 else "force_parallel_mode"
    session.execute(f"SET {setting} = on")
    plan = "\n".join(row[0] for row in session.execute(f"EXPLAIN (COSTS off) SELECT {CALL}"))
    assert "Gather" in plan, plan
    right(session)


def test_beside_an_open_cursor(session: Database) -> None:
    session.execute("BEGIN")
    session.execute(
        "DECLARE c NO SCROLL CURSOR FOR SELECT ordinal FROM pgml.embedding WHERE model = 'echo'"
        " AND input = ANY (ARRAY(SELECT g::text FROM generate_series(1, 5000) AS g))"
    )
    assert session.execute("FETCH 3 FROM c").fetchall() == [(1,), (2,), (3,)]
    right(session)
    assert len(session.execute("FETCH ALL FROM c").fetchall()) == 4997
    session.execute("COMMIT")


def test_in_a_query_read_lazily(session: Database) -> None:
    right(
        session,
        "SELECT r.prediction FROM pgml.prediction_rows AS r"
        " WHERE r.artifact = (SELECT p.serving FROM pgml.projects AS p WHERE p.name = 'travels')"
        " AND r.query = 'SELECT 1 AS key, 1 AS a, 2 AS b'",
    )


def test_in_a_block_with_an_exception(session: Database) -> None:
    """The first call fails, after the artifact has come, and is caught; the next one goes on."""
    seen: list[str | None] = []
    session.add_notice_handler(lambda diag: seen.append(diag.message_primary))
    session.execute(f"""DO $$
        DECLARE x real;
        BEGIN
            BEGIN
                x := pgml.predict('travels', ARRAY[1]::real[]);
            EXCEPTION WHEN invalid_parameter_value THEN
                RAISE NOTICE 'caught';
            END;
            BEGIN
                x := {CALL};
            EXCEPTION WHEN division_by_zero THEN
                x := NULL;
            END;
            RAISE NOTICE '%', abs(x - (SELECT c FROM own)) < 0.01;
        END $$""")
    assert seen == ["caught", "t"]
