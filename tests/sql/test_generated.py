"""embed where Postgres itself calls it: generated columns, indexes, parallel workers, policies."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from casefile import echo_vector

Database = psycopg.Connection[tuple[Any, ...]]


def _has_vector(db: Database) -> bool:
    return db.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'").fetchone() == (1,)


@pytest.fixture
def vector(db: Database) -> Database:
    if not _has_vector(db):
        pytest.skip("this Postgres has no pgvector")
    db.execute("CREATE EXTENSION IF NOT EXISTS vector")
    return db


def _plan(db: Database, sql: str) -> str:
    return "\n".join(str(row[0]) for row in db.execute(f"EXPLAIN (COSTS OFF, VERBOSE) {sql}"))


def test_a_generated_vector_column_with_an_hnsw_index(vector: Database) -> None:
    vector.execute(
        "CREATE TABLE quotes (id int GENERATED ALWAYS AS IDENTITY, quote text,"
        " embedding vector(384) GENERATED ALWAYS AS (pgml.embed('echo', quote)) STORED)"
    )
    vector.execute("CREATE INDEX ON quotes USING hnsw (embedding vector_cosine_ops)")
    vector.execute("INSERT INTO quotes (quote) SELECT 'quote ' || g FROM generate_series(1, 200) AS g")
    vector.execute("UPDATE quotes SET quote = 'changed' WHERE id = 7")
    search = "SELECT id FROM quotes ORDER BY embedding <=> pgml.embed('echo', %s)::vector LIMIT 1"
    vector.execute("SET LOCAL enable_seqscan = off")
    assert "Index Scan" in _plan(vector, search.replace("%s", "'changed'"))
    for text, wanted in (("changed", 7), ("quote 42", 42)):
        assert vector.execute(search, [text]).fetchone() == (wanted,)


def test_vector_search(vector: Database) -> None:
    vector.execute("CREATE TABLE docs (id int PRIMARY KEY, body text, embedding vector(384))")
    query = "SELECT g, 'text ' || g FROM generate_series(1, 100) AS g"
    assert vector.execute(
        "SELECT pgml.embed_into('echo', %s, 'docs', 'id', 'embedding')", [query]
    ).fetchone() == (100,)
    rows = vector.execute(
        "SELECT distance, record->>'id'"
        " FROM pgml.vector_search('echo', 'text 33', 'docs', 'embedding', top_k => 3)"
    ).fetchall()
    assert len(rows) == 3
    assert rows[0][1] == "33" and abs(rows[0][0]) < 1e-5
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    for metric in ("l2", "inner"):
        row = vector.execute(
            "SELECT record ? 'embedding', record->>'id' FROM"
            " pgml.vector_search('echo', 'text 33', 'docs', 'embedding', 1, %s)",
            [metric],
        ).fetchone()
        assert row == (False, "33")
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        vector.execute("SELECT pgml.vector_search('echo', 'a', 'docs', 'embedding', metric => 'hamming')")
    assert "cosine" in (caught.value.diag.message_hint or "")


def test_vector_search_over_an_array_column(vector: Database) -> None:
    vector.execute(
        "CREATE TABLE docs AS"
        " SELECT g AS id, pgml.embed('echo', g::text) AS v FROM generate_series(1, 20) AS g"
    )
    row = vector.execute("SELECT record FROM pgml.vector_search('echo', '5', 'docs', 'v', 1)").fetchone()
    assert row == ({"id": 5},)


def test_embed_into_writes_half_vectors(vector: Database) -> None:
    vector.execute("CREATE TABLE docs (id bigint PRIMARY KEY, embedding halfvec(384))")
    vector.execute("SELECT pgml.embed_into('echo', 'SELECT 1, ''a''', 'docs', 'id', 'embedding')")
    assert vector.execute("SELECT vector_dims(embedding) FROM docs").fetchone() == (384,)


def test_vector_search_without_pgvector_says_what_to_do(connect: Any) -> None:
    admin = connect(autocommit=True)
    admin.execute("DROP DATABASE IF EXISTS test_no_vector")
    admin.execute("CREATE DATABASE test_no_vector")
    try:
        with connect(dbname="test_no_vector", autocommit=True) as db:
            db.execute("CREATE EXTENSION pgml CASCADE")
            assert db.execute("SELECT pgml.embed('echo', 'a') IS NOT NULL").fetchone() == (True,)
            db.execute("CREATE TABLE docs (v real[])")
            with pytest.raises(psycopg.errors.FeatureNotSupported) as caught:
                db.execute("SELECT pgml.vector_search('echo', 'a', 'docs', 'v')")
            assert "CREATE EXTENSION vector" in (caught.value.diag.message_hint or "")
    finally:
        admin.execute("DROP DATABASE test_no_vector")


def test_an_expression_index(db: Database) -> None:
    db.execute("CREATE TABLE words (word text)")
    db.execute("INSERT INTO words SELECT 'word ' || g FROM generate_series(1, 50) AS g")
    db.execute("CREATE INDEX ON words ((pgml.embed('echo', word, '{\"truncate_dim\": 8}')))")
    db.execute("SET LOCAL enable_seqscan = off")
    row = db.execute(
        "SELECT word FROM words WHERE pgml.embed('echo', word, '{\"truncate_dim\": 8}')"
        " = pgml.embed('echo', 'word 9', '{\"truncate_dim\": 8}')"
    ).fetchone()
    assert row == ("word 9",)


def test_parallel_workers_embed(db: Database) -> None:
    db.execute("CREATE TABLE big AS SELECT g AS id, 'text ' || g AS body FROM generate_series(1, 3000) AS g")
    db.execute("ANALYZE big")
    for setting in (
        "min_parallel_table_scan_size = 0",
        "parallel_setup_cost = 0",
        "parallel_tuple_cost = 0",
        "max_parallel_workers_per_gather = 2",
    ):
        db.execute(f"SET LOCAL {setting}")
    sql = "SELECT count(*) FROM big WHERE pgml.embed('echo', body) = pgml.embed('echo', 'text ' || id)"
    assert "Gather" in _plan(db, sql)
    assert db.execute(sql).fetchone() == (3000,)


def test_an_error_in_a_parallel_worker_keeps_its_code(db: Database) -> None:
    db.execute("CREATE TABLE big AS SELECT g AS id, 'text ' || g AS body FROM generate_series(1, 100) AS g")
    db.execute(
        "SET LOCAL debug_parallel_query = on"
        if db.info.server_version >= 160000
        else "SET LOCAL force_parallel_mode = on"
    )
    with pytest.raises(psycopg.errors.InternalError_, match="no-such-model") as caught:
        db.execute("SELECT count(*) FROM big WHERE pgml.embed('no-such-model', body) IS NULL")
    assert caught.value.sqlstate == "XX000"


def test_row_level_security_holds_inside_the_stream(db: Database) -> None:
    """What embed_rows reads is what the caller may see."""
    db.execute("CREATE ROLE test_reader IN ROLE pgml_user")
    db.execute("CREATE TABLE secrets (id int, body text, owner text)")
    db.execute("INSERT INTO secrets VALUES (1, 'mine', 'test_reader'), (2, 'theirs', 'another')")
    db.execute("ALTER TABLE secrets ENABLE ROW LEVEL SECURITY")
    db.execute("CREATE POLICY own ON secrets USING (owner = current_user)")
    db.execute("GRANT SELECT ON secrets TO test_reader")
    db.execute("SET LOCAL ROLE test_reader")
    rows = db.execute("SELECT key FROM pgml.embed_rows('echo', 'SELECT id, body FROM secrets')").fetchall()
    assert rows == [("1",)]
    db.execute("RESET ROLE")
    db.execute("REVOKE SELECT ON secrets FROM test_reader")
    db.execute("SET LOCAL ROLE test_reader")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="secrets"):
        db.execute("SELECT key FROM pgml.embed_rows('echo', 'SELECT id, body FROM secrets')")


def test_the_snapshot_is_the_statements(db: Database, connect: Any) -> None:
    """Rows that others commit while the stream is read stay out."""
    other = connect(autocommit=True)
    other.execute("DROP TABLE IF EXISTS public.test_stream_source")
    other.execute(
        "CREATE TABLE public.test_stream_source AS SELECT g AS id, repeat('x', 500) || g AS body"
        " FROM generate_series(1, 5000) AS g"
    )
    try:
        db.execute(
            "DECLARE reading NO SCROLL CURSOR FOR SELECT key FROM"
            " pgml.embed_rows('echo', 'SELECT id, body FROM public.test_stream_source')"
        )
        assert len(db.execute("FETCH 1 FROM reading").fetchall()) == 1
        other.execute(
            "INSERT INTO public.test_stream_source SELECT g, 'late' FROM generate_series(5001, 9000) AS g"
        )
        assert len(db.execute("FETCH ALL FROM reading").fetchall()) == 4999
        db.rollback()
    finally:
        other.execute("DROP TABLE public.test_stream_source")


def test_a_stored_vector_is_the_engines(db: Database) -> None:
    row = db.execute("SELECT pgml.embed('echo', 'check')").fetchone()
    assert row is not None
    assert row[0] == pytest.approx(echo_vector("check"), abs=1e-7)
