"""Does the first row come before the last is made? Every documented form, both ways.

No clock is read. The query that is embedded draws from a sequence for each row; after the
first FETCH the sequence says how many rows were pulled. All of them: the form collects its
rows first. Fewer: it streams.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

ROWS = 40_000
QUERY = f"SELECT nextval('pulled'), repeat('some words ', 20) || g FROM generate_series(1, {ROWS}) AS g"
Database = psycopg.Connection[tuple[Any, ...]]

STREAMS = {
    "the foreign table": (
        "SELECT key, embedding FROM pgml.embedding_rows WHERE model = 'echo' AND query = %(q)s"
    ),
    "embed_rows in FROM": "SELECT key, embedding FROM pgml.embed_rows('echo', %(q)s)",
    "embed_rows in FROM, joined": (
        "SELECT r.key, v.x FROM pgml.embed_rows('echo', %(q)s) AS r CROSS JOIN (VALUES (1)) AS v (x)"
    ),
    "embed_rows in the SELECT list": "SELECT (pgml.embed_rows('echo', %(q)s)).*",
    "embed_table in FROM": "SELECT key, embedding FROM pgml.embed_table('echo', 'drawn', 'key', 'body')",
}
COLLECTS = {
    "a plpgsql function": "SELECT * FROM collected(%(q)s)",
    "embed_rows under ORDER BY": "SELECT key FROM pgml.embed_rows('echo', %(q)s) ORDER BY embedding",
}
COLLECTED = """
    CREATE FUNCTION pg_temp.collected(query text) RETURNS SETOF text LANGUAGE plpgsql AS
    $$ BEGIN RETURN QUERY SELECT r.key FROM pgml.embed_rows('echo', query) AS r; END $$
"""


@pytest.fixture
def drawn(db: Database, host: str) -> Database:
    if host != "native":
        pytest.skip("Multicorn2 runs no query of the backend: nothing is pulled lazily")
    db.execute("CREATE TEMP SEQUENCE pulled")
    db.execute(f"CREATE TEMP VIEW drawn (key, body) AS {QUERY}")
    db.execute(COLLECTED)
    return db


def _pulled(db: Database) -> int:
    row = db.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM pulled").fetchone()
    assert row is not None
    return int(row[0])


def _declare(db: Database, sql: str, options: str = "") -> None:
    sql = sql.replace("collected(", "pg_temp.collected(").replace(
        "%(q)s", "'" + QUERY.replace("'", "''") + "'"
    )
    db.execute(f"DECLARE reading {'NO SCROLL' if not options else ''} CURSOR {options} FOR {sql}")


@pytest.mark.parametrize("form", STREAMS)
def test_streams(form: str, drawn: Database) -> None:
    _declare(drawn, STREAMS[form])
    assert len(drawn.execute("FETCH 1 FROM reading").fetchall()) == 1
    assert 0 < _pulled(drawn) < ROWS
    assert len(drawn.execute("FETCH ALL FROM reading").fetchall()) == ROWS - 1
    assert _pulled(drawn) == ROWS


@pytest.mark.parametrize("form", COLLECTS)
def test_collects_first(form: str, drawn: Database) -> None:
    _declare(drawn, COLLECTS[form])
    assert len(drawn.execute("FETCH 1 FROM reading").fetchall()) == 1
    assert _pulled(drawn) == ROWS


def test_a_held_cursor_collects_at_commit(drawn: Database) -> None:
    _declare(drawn, STREAMS["embed_rows in FROM"], "WITH HOLD")
    assert _pulled(drawn) == 0
    drawn.commit()
    assert _pulled(drawn) == ROWS
    assert len(drawn.execute("FETCH 1 FROM reading").fetchall()) == 1
    drawn.execute("CLOSE reading")


def test_closing_a_cursor_early_ends_its_request(drawn: Database, connect: Any) -> None:
    _declare(drawn, STREAMS["embed_rows in FROM"])
    drawn.execute("FETCH 1 FROM reading")
    drawn.execute("CLOSE reading")
    assert _pulled(drawn) < ROWS
    assert drawn.execute("SELECT count(*) FROM pgml.embed_rows('echo', 'SELECT 1, ''a''')").fetchone() == (1,)


@pytest.mark.parametrize(
    ("sql", "streams"),
    [
        (
            "SELECT embedding FROM pgml.embedding"
            " WHERE model = 'echo' AND input = ANY ({texts}) AND kwargs = {slow}",
            True,
        ),
        ("SELECT pgml.embed('echo', {texts}, {slow})", True),
        ("SELECT embed FROM pgml.embed('echo', {texts}, {slow})", False),
    ],
    ids=["the foreign table", "embed of an array in the SELECT list", "embed of an array in FROM"],
)
def test_an_array(sql: str, streams: bool, db: Database, connect: Any, host: str) -> None:
    """Whether the request still runs after the first row: each batch of the engine takes a while."""
    if host != "native":
        pytest.skip("Multicorn2 runs no query of the backend: nothing is pulled lazily")
    texts = f"ARRAY(SELECT repeat('x', 4000) || g FROM generate_series(1, {ROWS // 8}) AS g)"
    db.execute(f"CREATE TEMP TABLE texts AS SELECT {texts} AS list")
    listed = "(SELECT list FROM texts)::text[]"
    statement = sql.format(texts=listed, slow="""'{"sleep_ms": 20}'::jsonb""")
    db.execute(f"DECLARE reading NO SCROLL CURSOR FOR {statement}")
    assert len(db.execute("FETCH 1 FROM reading").fetchall()) == 1
    watcher = connect(autocommit=True)
    pid = db.info.backend_pid
    running = watcher.execute(
        "SELECT count(*) FROM pgml.stat_activity WHERE pid = %s AND verb = 'embed'", [pid]
    ).fetchone()
    assert running == (1 if streams else 0,)
    assert len(db.execute("FETCH ALL FROM reading").fetchall()) == ROWS // 8 - 1
