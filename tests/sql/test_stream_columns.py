"""Which columns of a query travel, under which names and types: the option `stream_columns`.

Foreign tables of the verb digest say what arrived: a row per column, with the type that the
host declared and a hash over the values. Only the native host runs queries inside a scan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]
TABLE = """CREATE FOREIGN TABLE public.arrived (
    query text OPTIONS (input 'required', batch 'false'),
    column_name text, type_oid oid, row_count bigint, null_count bigint, sha256 text
) SERVER pgannex OPTIONS (verb 'digest', push 'query', lane 'bulk'{more})"""
TYPES = """CREATE TYPE public.mood AS ENUM ('sad', 'happy');
    CREATE DOMAIN public.share AS numeric(6, 2) CHECK (VALUE >= 0);
    CREATE DOMAIN public.feeling AS public.mood;
    CREATE DOMAIN public.note AS varchar(10);
    CREATE DOMAIN public.vector4 AS real[]"""


@pytest.fixture
def native(db: Database, host: str) -> Database:
    if host != "native":
        pytest.skip("the Multicorn host runs no query")
    return db


def arrived(db: Database, query: str, columns: str | None) -> list[tuple[Any, ...]]:
    """(name, type, rows, NULLs) of each column that the server got, and the hash last."""
    db.execute("DROP FOREIGN TABLE IF EXISTS public.arrived")
    db.execute(TABLE.format(more="" if columns is None else f", stream_columns '{columns}'"))
    return db.execute(
        "SELECT column_name, type_oid::regtype::text, row_count, null_count, sha256"
        " FROM public.arrived WHERE query = %s",
        [query],
    ).fetchall()


def test_named_columns_are_converted_and_the_others_travel_as_they_are(native: Database) -> None:
    rows = arrived(
        native, "SELECT 7 AS id, 1.5::float8 AS x, 2.25 AS y, DATE '2026-01-02' AS d", "key text, *"
    )
    assert [row[:2] for row in rows] == [
        ("key", "text"), ("x", "double precision"), ("y", "numeric"), ("d", "date"),
    ]  # fmt: skip
    as_text = arrived(native, "SELECT '7'::text AS anything", None)
    assert rows[0][4] == as_text[0][4]


def test_a_star_alone_and_no_option_are_the_same(native: Database) -> None:
    query = "SELECT g AS a, g::text AS b FROM generate_series(1, 3) AS g"
    assert arrived(native, query, "*") == arrived(native, query, None)


def test_nothing_need_follow_the_named_columns(native: Database) -> None:
    assert [row[:3] for row in arrived(native, "SELECT 1", "key text, *")] == [("key", "text", 1)]


def test_too_few_columns_are_refused(native: Database) -> None:
    with pytest.raises(psycopg.errors.DatatypeMismatch, match=r"returns 1 columns.*takes at least 2"):
        arrived(native, "SELECT 1", "key text, input text, *")


@pytest.mark.parametrize(("query", "said"), [
    ("SELECT 1 AS id, 2 AS a, 3 AS a", 'two columns named "a"'),
    ("SELECT 1 AS id, 2 AS key", 'two columns named "key"'),
])  # fmt: skip
def test_a_name_that_comes_twice_is_refused(native: Database, query: str, said: str) -> None:
    with pytest.raises(psycopg.errors.DuplicateColumn, match=said) as caught:
        arrived(native, query, "key text, *")
    assert "with AS" in (caught.value.diag.message_hint or "")


def test_a_column_may_not_have_the_name_of_another_input(native: Database) -> None:
    native.execute(
        "CREATE FOREIGN TABLE public.rows_of (model text OPTIONS (input 'required'),"
        " query text OPTIONS (input 'required'), tokens integer)"
        " SERVER pgannex OPTIONS (verb 'embed', pull 'query', stream_columns 'key text, input text, *')"
    )
    with pytest.raises(psycopg.errors.DuplicateColumn, match='"model" has the name of an input of "rows_of"'):
        native.execute(
            "SELECT * FROM public.rows_of WHERE model = 'echo' AND query = 'SELECT 1, 2, 3 AS model'"
        )


@pytest.mark.parametrize("columns", ["*", None])
def test_types_that_the_server_cannot_know_travel_as_what_it_does(native: Database, columns: str) -> None:
    native.execute(TYPES)
    query = """SELECT 'happy'::mood AS m, 'sad'::feeling AS f, 12.50::share AS s, 'abc'::note AS n,
        '{1,2}'::vector4 AS v, 'relname'::name AS w, 'lit' AS l"""
    rows = arrived(native, query, columns)
    assert [row[:2] for row in rows] == [
        ("m", "text"), ("f", "text"), ("s", "numeric"), ("n", "character varying"),
        ("v", "real[]"), ("w", "text"), ("l", "text"),
    ]  # fmt: skip
    plain = """SELECT 'happy'::text AS m, 'sad'::text AS f, 12.50::numeric AS s, 'abc'::text AS n,
        '{1,2}'::real[] AS v, 'relname'::text AS w, 'lit'::text AS l"""
    assert [row[2:] for row in rows] == [row[2:] for row in arrived(native, plain, columns)]


def test_nulls_and_arrays_of_each_kind_arrive(native: Database) -> None:
    query = """SELECT NULLIF(g, 2) AS i, NULLIF(g, 3)::numeric AS n,
        CASE g WHEN 1 THEN NULL WHEN 2 THEN '{}' WHEN 3 THEN '{1,NULL}' ELSE '{{1,2},{3,4}}' END::real[] AS a
        FROM generate_series(1, 4) AS g"""
    rows = arrived(native, query, "*")
    assert [row[:4] for row in rows] == [
        ("i", "integer", 4, 1),
        ("n", "numeric", 4, 1),
        ("a", "real[]", 4, 1),
    ]


BAD_OPTIONS = ["*, key text", "key text, *, *", "key text,", "key text, * text", "**"]


@pytest.mark.parametrize("columns", BAD_OPTIONS)
def test_a_star_stands_last_and_once(
    native: Database, columns: str, connect: Callable[..., Database]
) -> None:
    with pytest.raises(psycopg.Error) as caught:
        native.execute(TABLE.format(more=f", stream_columns '{columns}'"))
    assert caught.value.diag.sqlstate == "HV024"
    assert "a last item *" in (caught.value.diag.message_hint or "")


FIXED = {
    "bool": ("boolsend", "true", "false"),
    "int2": ("int2send", "-32768", "32767"),
    "int4": ("int4send", "-2147483648", "2147483647"),
    "int8": ("int8send", "-9223372036854775808", "9223372036854775807"),
    "float4": ("float4send", "-1.5e-38", "Infinity"),
    "float8": ("float8send", "-1.5e-307", "NaN"),
    "date": ("date_send", "4713-01-01 BC", "infinity"),
    "timestamp": ("timestamp_send", "2026-01-02 03:04:05.678901", "-infinity"),
    "timestamptz": ("timestamptz_send", "1999-12-31 23:59:59.999999+00", "infinity"),
}


@pytest.mark.parametrize("type_", FIXED)
@pytest.mark.parametrize("rows", [1, 9, 70_000], ids=["one", "odd", "batches"])
def test_values_of_fixed_width_arrive_bit_by_bit(native: Database, type_: str, rows: int) -> None:
    """Copied column by column, they are what the type's send function says, NULLs included."""
    send, low, high = FIXED[type_]
    query = (
        f"SELECT CASE g % 3 WHEN 0 THEN NULL WHEN 1 THEN '{low}' ELSE '{high}' END::{type_} AS x, g AS n"
        f" FROM generate_series(1, {rows}) AS g"
    )
    expected = native.execute(
        "SELECT encode(sha256(string_agg(coalesce(int4send(octet_length(s)) || s, int4send(-1)), ''"
        " ORDER BY n)), 'hex'), count(*) - count(s)"
        f" FROM (SELECT {send}(x) AS s, n FROM ({query}) AS q) AS sent"
    ).fetchone()
    assert expected is not None
    found = arrived(native, query, None)[0]
    assert (found[4], found[3], found[2]) == (*expected, rows)
