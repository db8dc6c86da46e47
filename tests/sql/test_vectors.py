"""The vector functions written in SQL, for the Multicorn host, answer what those in C do.

test_contract.py runs cases/vectors.json through the host that is installed. Here the same
cases run on the SQL twin alone, in a database without the extension, so that it is looked
at on machines without Multicorn2 as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from casefile import Case, differences, read_cases

Database = psycopg.Connection[tuple[Any, ...]]
SOURCES = Path(__file__).resolve().parents[2] / "sql" / "src"
TWIN = ("82_vector.multicorn.sql", "82_vector_types.sql")
CASES = list(read_cases("vectors.json"))


@pytest.fixture(scope="module")
def twin(stack: Any) -> Iterator[Database]:
    """A database with the twin's functions and nothing else of ours."""
    with stack.connect() as admin:
        admin.execute("DROP DATABASE IF EXISTS test_vectors")
        admin.execute("CREATE DATABASE test_vectors")
        with stack.connect(dbname="test_vectors", autocommit=False) as db:
            db.execute("CREATE SCHEMA pgml")
            for name in TWIN:
                db.execute((SOURCES / name).read_text())
            db.commit()
            yield db
        admin.execute("DROP DATABASE test_vectors WITH (FORCE)")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_twin_in_sql(case: Case, twin: Database) -> None:
    if case.match:
        pytest.skip("how a plan looks is the contract's business")
    try:
        for statement in case.setup:
            twin.execute(statement)
        if case.error is None:
            assert case.rows is not None
            assert not differences(case, twin.execute(case.sql).fetchall())
            return
        with pytest.raises(psycopg.Error) as caught:
            twin.execute(case.sql)
        diag = caught.value.diag
        assert not case.error.explain("native", diag.sqlstate or "", diag.message_primary or "", "", "")
    finally:
        twin.rollback()


def test_it_has_the_functions_that_c_has(twin: Database, connect: Callable[..., Database]) -> None:
    """By signature and result; the helpers of the twin come on top."""
    question = """SELECT p.oid::regprocedure::text, pg_get_function_result(p.oid),
            pg_get_function_arguments(p.oid), p.prokind, p.provolatile, p.proisstrict, p.proparallel,
            obj_description(p.oid, 'pg_proc')
        FROM pg_proc AS p WHERE p.pronamespace = 'pgml'::regnamespace AND p.proname ~
            '^(add|subtract|multiply|divide|norm|distance|dot_|cosine|sum$|min|max|vector_(sum|min|max|as_))'
        ORDER BY 1"""
    installed = connect(autocommit=True).execute(question).fetchall()
    assert len(installed) == 38 + 76 + 10 + 20 + 32
    assert twin.execute(question).fetchall() == installed
    twin.rollback()
