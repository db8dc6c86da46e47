"""Fixtures of the SQL suite: a connection per test, as the superuser of the stack's database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def connect(stack: Any) -> Iterator[Callable[..., Database]]:
    """Open connections that are closed when the test ends; keywords go to psycopg.connect."""
    opened: list[Database] = []

    def open_one(**keywords: Any) -> Database:
        opened.append(psycopg.connect(stack.cluster.conninfo(), **keywords))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def db(connect: Callable[..., Database]) -> Database:
    """One connection, not in autocommit; what a test leaves is rolled back."""
    return connect()


@pytest.fixture(scope="session")
def host(stack: Any) -> str:
    """Which host of the FDW the database has: native or multicorn."""
    with psycopg.connect(stack.cluster.conninfo()) as connection:
        wrapper = connection.execute(
            "SELECT p.probin FROM pg_foreign_data_wrapper AS w JOIN pg_proc AS p ON p.oid = w.fdwhandler"
            " WHERE w.fdwname = 'pgannex'"
        ).fetchone()
    assert wrapper is not None, "the extension pgml is not installed in the stack's database"
    return "multicorn" if "multicorn" in str(wrapper[0]) else "native"
