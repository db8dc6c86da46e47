"""An artifact that the server lacks is sent from the database, wherever the scan runs.

In a function with a kept plan, a parallel worker, a read-only transaction, a block with an
EXCEPTION, beside an open cursor, in the middle of a query that is read lazily. The fake server
asks at each request with the model `needing`, and says by a notice what it got. The real one
asks once: tests/integration has what it does with the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]
ARTIFACT = "artifact 'SELECT p.data FROM public.needed AS p WHERE p.hash = $1 ORDER BY p.part'"
SETUP = f"""
    CREATE TABLE public.needed (hash text, part int, data bytea);
    INSERT INTO public.needed
        SELECT 'h1', n, convert_to(repeat('x', 1000000), 'UTF8') FROM generate_series(1, 3) AS n;
    CREATE FOREIGN TABLE public.asking (
        model text OPTIONS (input 'required', batch 'false'), input text OPTIONS (input 'required'),
        tokens integer) SERVER pgannex OPTIONS (verb 'embed', model_column 'model', {ARTIFACT});
    CREATE FOREIGN TABLE public.asking_rows (
        model text OPTIONS (input 'required'), query text OPTIONS (input 'required'),
        key text, tokens integer) SERVER pgannex OPTIONS (verb 'embed', model_column 'model', {ARTIFACT},
        pull 'query', stream_columns 'key text, input text', lane 'bulk', unordered 'true');
    CREATE FUNCTION public.tokens_of(model text, input text) RETURNS integer
        LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
        BEGIN
            RETURN (SELECT a.tokens FROM public.asking AS a
                    WHERE a.model = tokens_of.model AND a.input = tokens_of.input);
        END $$;
    CREATE FUNCTION public.process() RETURNS integer LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
        BEGIN RETURN pg_backend_pid(); END $$;
    """
CALL = "SELECT public.tokens_of('needing', 'h1')"
SENT = "h1: 3 parts, 3000000 bytes, missing False"


@pytest.fixture
def asking(peer: None, connect: Callable[..., Database]) -> Iterator[Database]:
    db = connect(autocommit=True)
    db.execute(SETUP)
    yield db
    db.execute(
        "DROP FUNCTION public.tokens_of, public.process; DROP FOREIGN TABLE public.asking, public.asking_rows"
    )
    db.execute("DROP TABLE public.needed")


@pytest.fixture
def notices(asking: Database) -> list[str | None]:
    seen: list[str | None] = []
    asking.add_notice_handler(lambda diag: seen.append(diag.message_primary))
    return seen


def test_in_a_function_with_a_kept_plan(asking: Database, notices: list[str | None]) -> None:
    asking.execute("SET plan_cache_mode = force_generic_plan")
    for _ in range(3):
        assert asking.execute(CALL).fetchall() == [(1,)]
    assert notices == [SENT] * 3


def test_in_a_parallel_worker(asking: Database, notices: list[str | None]) -> None:
    setting = "debug_parallel_query" if asking.info.server_version >= 160000 else "force_parallel_mode"
    asking.execute(f"SET {setting} = on")
    found = asking.execute("SELECT public.tokens_of('needing', 'h1'), public.process()").fetchall()
    assert [row[0] for row in found] == [1]
    assert found[0][1] != asking.info.backend_pid
    assert SENT in notices


def test_in_the_workers_of_a_scan(asking: Database, notices: list[str | None]) -> None:
    asking.execute("CREATE TABLE public.many AS SELECT g FROM generate_series(1, 20) AS g")
    asking.execute("ALTER TABLE public.many SET (parallel_workers = 2); ANALYZE public.many")
    try:
        asking.execute(
            "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;"
            " SET max_parallel_workers_per_gather = 2; SET parallel_leader_participation = off"
        )
        query = "SELECT count(*), sum(public.tokens_of('needing', 'h1')) FROM public.many WHERE g > 0"
        plan = "\n".join(row[0] for row in asking.execute(f"EXPLAIN {query}"))
        assert "Parallel Seq Scan" in plan, plan
        assert asking.execute(query).fetchall() == [(20, 20)]
        assert notices == [SENT] * 20
    finally:
        asking.execute("DROP TABLE public.many")


def test_in_a_read_only_transaction(asking: Database, notices: list[str | None]) -> None:
    asking.execute("BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE")
    assert asking.execute(CALL).fetchall() == [(1,)]
    asking.execute("COMMIT")
    assert notices == [SENT]


def test_rows_of_the_transaction_itself_are_sent(asking: Database, notices: list[str | None]) -> None:
    asking.execute("BEGIN")
    asking.execute("DELETE FROM public.needed WHERE part > 1; SAVEPOINT s")
    asking.execute("INSERT INTO public.needed VALUES ('h1', 0, '\\x0102')")
    assert asking.execute(CALL).fetchall() == [(1,)]
    asking.execute("ROLLBACK TO s")
    assert asking.execute(CALL).fetchall() == [(1,)]
    asking.execute("ROLLBACK")
    assert notices == [
        "h1: 2 parts, 1000002 bytes, missing False",
        "h1: 1 parts, 1000000 bytes, missing False",
    ]


def test_in_a_block_with_an_exception(asking: Database, notices: list[str | None]) -> None:
    """The artifact's query fails and is caught; the same session goes on, and so does the block."""
    asking.execute("""
        CREATE FUNCTION public.careful(OUT first text, OUT then_ integer) LANGUAGE plpgsql AS $$
        BEGIN
            BEGIN
                ALTER TABLE public.needed RENAME TO hidden;
                then_ := public.tokens_of('needing', 'h1');
            EXCEPTION WHEN undefined_table THEN
                first := SQLERRM;
            END;
            BEGIN
                then_ := public.tokens_of('needing', 'h1');
            EXCEPTION WHEN division_by_zero THEN
                then_ := 0;
            END;
        END $$""")
    try:
        assert asking.execute("SELECT * FROM public.careful()").fetchall() == [
            ('relation "public.needed" does not exist', 1)
        ]
        assert notices == [SENT]
    finally:
        asking.execute("DROP FUNCTION public.careful")


def test_beside_an_open_cursor(asking: Database, notices: list[str | None]) -> None:
    asking.execute("BEGIN")
    asking.execute(
        "DECLARE c NO SCROLL CURSOR FOR SELECT key, tokens FROM public.asking_rows WHERE model = 'proper'"
        " AND query = 'SELECT g, ''a b'' FROM generate_series(1, 5000) AS g'"
    )
    seen = asking.execute("FETCH 3 FROM c").fetchall()
    assert asking.execute(CALL).fetchall() == [(1,)]
    seen += asking.execute("FETCH 100 FROM c").fetchall()
    assert asking.execute(CALL).fetchall() == [(1,)]
    seen += asking.execute("FETCH ALL FROM c").fetchall()
    asking.execute("COMMIT")
    assert seen == [(str(g), 2) for g in range(1, 5001)]
    assert notices == [SENT] * 2


def test_while_a_query_is_read_lazily(asking: Database, notices: list[str | None]) -> None:
    query = "SELECT g, repeat('word ', g % 100) FROM generate_series(1, 4000) AS g"
    rows = asking.execute(
        "SELECT count(DISTINCT key), sum(tokens) FROM public.asking_rows"
        " WHERE model = 'needing_rows' AND query = %s",
        [query],
    ).fetchall()
    assert rows == [(4000, sum(g % 100 for g in range(1, 4001)))]
    assert notices == ["h1: 3 parts, 3000000 bytes"]


def test_inside_the_query_that_another_request_reads(asking: Database, notices: list[str | None]) -> None:
    inner = "SELECT g, repeat('a ', public.tokens_of('needing', 'h1') * g) FROM generate_series(1, 3) AS g"
    rows = asking.execute(
        "SELECT key, tokens FROM public.asking_rows WHERE model = 'needing_rows' AND query = %s", [inner]
    ).fetchall()
    assert sorted(rows) == [("1", 1), ("2", 2), ("3", 3)]
    assert sorted(map(str, notices)) == ["h1: 3 parts, 3000000 bytes", *[SENT] * 3]


def test_what_the_caller_may_not_read_is_not_sent(
    asking: Database, notices: list[str | None], stack: Any
) -> None:
    stack.role("need_reader")
    asking.execute("GRANT SELECT ON public.asking TO need_reader; SET ROLE need_reader")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="needed"):
        asking.execute(CALL)
    asking.execute("RESET ROLE; GRANT SELECT ON public.needed TO need_reader")
    asking.execute("ALTER TABLE public.needed ENABLE ROW LEVEL SECURITY; SET ROLE need_reader")
    assert asking.execute(CALL).fetchall() == [(1,)]
    asking.execute("RESET ROLE")
    assert notices == ["h1: 1 parts, 0 bytes, missing True"]
