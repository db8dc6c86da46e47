"""Inputs of unusual size, number and kind, through real Postgres and a real server."""

from __future__ import annotations

import threading
from collections.abc import Callable
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


def test_a_database_in_another_encoding(connect: Callable[..., Database], db: Database) -> None:
    """On the wire text is UTF-8 whatever the database's encoding is."""
    db.execute("DROP DATABASE IF EXISTS test_latin1")
    db.execute(
        "CREATE DATABASE test_latin1 ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    )
    try:
        with connect(dbname="test_latin1", autocommit=True, client_encoding="UTF8") as latin:
            latin.execute("CREATE EXTENSION pgml CASCADE")
            there = latin.execute("SELECT pgml.embed('echo', 'naïve'), 'naïve'").fetchone()
            back = latin.execute(
                "SELECT input FROM pgml.embedding WHERE model = 'echo' AND input = ANY (ARRAY['é', 'ß'])"
            ).fetchall()
        here = db.execute("SELECT pgml.embed('echo', 'naïve'), 'naïve'").fetchone()
        assert there == here
        assert back == [("é",), ("ß",)]
    finally:
        db.execute("DROP DATABASE test_latin1")


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
