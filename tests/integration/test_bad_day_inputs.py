"""Inputs of unusual size, number and kind, through real Postgres and a real server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from backends import outcome_of

Database = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def db(connect: Callable[..., Database]) -> Database:
    return connect(autocommit=True)


def test_a_text_of_one_megabyte(db: Database) -> None:
    text = "0123456789abcdef" * (1 << 16)
    row = db.execute("SELECT pgml.embed('echo', %s), length(%s)", [text, text]).fetchone()
    assert row is not None and len(row[0]) == 384 and row[1] == 1 << 20


def test_many_texts_of_one_megabyte(db: Database) -> None:
    """More than fits into the socket's buffers and the credits at once."""
    rows = db.execute(
        "SELECT count(*), count(DISTINCT embedding) FROM pgml.embed_rows('echo',"
        " 'SELECT g, repeat(md5(g::text), 32768) FROM generate_series(1, 40) AS g')"
    ).fetchall()
    assert rows == [(40, 40)]


def test_a_text_over_the_limit_says_the_limit(db: Database) -> None:
    outcome = outcome_of(db, "SELECT pgml.embed('echo', repeat('x', 20 * 1024 * 1024))")
    assert outcome.sqlstate == "54000", outcome
    assert "8388608" in outcome.message + outcome.detail + outcome.hint
    assert outcome_of(db, "SELECT pgml.embed('echo', 'after')").sqlstate == ""


def test_an_array_of_a_hundred_thousand(db: Database) -> None:
    rows = db.execute(
        "SELECT count(*), min(ordinal), max(ordinal), bool_and(input = 'text ' || ordinal)"
        " FROM pgml.embedding WHERE model = 'echo'"
        " AND input = ANY (ARRAY(SELECT 'text ' || g FROM generate_series(1, 100000) AS g))"
    ).fetchall()
    assert rows == [(100_000, 1, 100_000, True)]


def test_duplicates_in_an_array(db: Database) -> None:
    rows = db.execute(
        "SELECT count(*), count(DISTINCT embed)"
        " FROM pgml.embed('echo', array_fill('same'::text, ARRAY[5000]))"
    ).fetchall()
    assert rows == [(5000, 1)]


@contextmanager
def database(connect: Callable[..., Database], db: Database, encoding: str) -> Iterator[Database]:
    """A connection to a database in this encoding, which speaks UTF-8 to us."""
    name = f"test_{encoding.lower()}"
    db.execute(f"DROP DATABASE IF EXISTS {name}")
    db.execute(
        f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    )
    try:
        with connect(dbname=name, autocommit=True, client_encoding="UTF8") as there:
            there.execute("CREATE EXTENSION pgml CASCADE")
            yield there
    finally:
        db.execute(f"DROP DATABASE {name}")


NAIVE = "SELECT pgml.embed('echo', 'naïve'), 'naïve'"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_in_another_encoding(
    connect: Callable[..., Database], db: Database, encoding: str
) -> None:
    """On the wire text is UTF-8 whatever the database's encoding is."""
    with database(connect, db, encoding) as there:
        assert there.execute(NAIVE).fetchone() == db.execute(NAIVE).fetchone()
        assert there.execute(
            "SELECT input FROM pgml.embedding WHERE model = 'echo' AND input = ANY (ARRAY['é', 'ß'])"
        ).fetchall() == [("é",), ("ß",)]
        rows = "SELECT key, embedding FROM pgml.embed_rows('echo', $$SELECT 'Zoë', 'naïve'$$)"
        assert there.execute(rows).fetchall() == db.execute(rows).fetchall()
        assert '"échö"' in outcome_of(there, "SELECT pgml.embed('échö', 'x')").message


@pytest.mark.parametrize(
    "query",
    [
        r"SELECT pgml.embed('echo', E'caf\xe9')",
        r"SELECT count(embed) FROM pgml.embed('echo', ARRAY['good', E'caf\xe9'])",
        r"SELECT count(*) FROM pgml.embed_rows('echo', $$SELECT 1, 'good' UNION ALL SELECT 2, E'caf\xe9'$$)",
        r"SELECT count(*) FROM pgml.embed_rows('echo', $$SELECT E'\xe9', 'good'$$)",
        r"SELECT pgml.embed(E'ech\xe9', 'good')",
        r"SELECT pgml.embed('echo', 'good', jsonb_build_object('prompt', E'\xe9'))",
    ],
)
def test_bytes_of_no_encoding_are_refused(ascii_db: Database, query: str) -> None:
    """SQL_ASCII lets any byte in. What is not UTF-8 cannot be sent, and harms nothing after it."""
    outcome = outcome_of(ascii_db, query)
    assert outcome.sqlstate == "22021", outcome
    assert outcome_of(ascii_db, "SELECT pgml.embed('echo', 'after')").sqlstate == ""


@pytest.fixture(scope="module")
def ascii_db(stack: Any) -> Iterator[Database]:
    with stack.connect() as db, database(stack.connect, db, "SQL_ASCII") as there:
        yield there


def test_two_hundred_connections_at_once(connect: Callable[..., Database]) -> None:
    sessions = [connect(autocommit=True) for _ in range(200)]
    gate, results = threading.Barrier(len(sessions)), {}

    def work(number: int) -> None:
        gate.wait()
        for turn in range(5):
            text = f"{number} {turn}"
            row = (
                sessions[number]
                .execute(
                    "SELECT pgml.embed('echo', %s) = (SELECT embed FROM pgml.embed('echo', ARRAY[%s::text]))",
                    [text, text],
                )
                .fetchone()
            )
            results[number, turn] = row

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 1000
    assert set(results.values()) == {(True,)}
