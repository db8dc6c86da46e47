"""CREATE, DROP and dump: the extension as an object of a database."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def empty(connect: Callable[..., Database]) -> Iterator[Database]:
    """A connection to a database of its own, without the extension."""
    admin = connect(autocommit=True)
    admin.execute("DROP DATABASE IF EXISTS test_install")
    admin.execute("CREATE DATABASE test_install")
    db = connect(dbname="test_install", autocommit=True)
    yield db
    db.close()
    admin.execute("DROP DATABASE test_install WITH (FORCE)")


def _objects(db: Database) -> list[tuple[Any, ...]]:
    return db.execute(
        "SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend AS d"
        " JOIN pg_extension AS x ON x.oid = d.refobjid"
        " WHERE d.refclassid = 'pg_extension'::regclass AND x.extname = 'pgml' ORDER BY 1"
    ).fetchall()


def test_again_after_a_drop(empty: Database) -> None:
    empty.execute("CREATE EXTENSION pgml CASCADE")
    first = _objects(empty)
    empty.execute("DROP EXTENSION pgml")
    # Postgres leaves the schema that a control file names; there is nothing in it any more.
    left = empty.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'pgml'::regnamespace UNION ALL"
        " SELECT relname FROM pg_class WHERE relnamespace = 'pgml'::regnamespace"
    ).fetchall()
    assert left == []
    assert empty.execute("SELECT count(*) FROM pg_foreign_server").fetchone() == (0,)
    empty.execute("CREATE EXTENSION pgml")
    assert _objects(empty) == first
    assert empty.execute("SELECT pgml.embed('echo', 'a') IS NOT NULL").fetchone() == (True,)


def test_a_role_that_may_log_in_is_not_taken_over(empty: Database) -> None:
    empty.execute("ALTER ROLE pgml_trainer LOGIN")
    try:
        with pytest.raises(psycopg.errors.DuplicateObject, match="pgml_trainer") as caught:
            empty.execute("CREATE EXTENSION pgml CASCADE")
        assert "NOLOGIN" in (caught.value.diag.message_hint or "")
    finally:
        empty.execute("ALTER ROLE pgml_trainer NOLOGIN")


def test_only_a_superuser_creates_it(empty: Database) -> None:
    empty.execute("DROP ROLE IF EXISTS test_owner")
    empty.execute("CREATE ROLE test_owner; GRANT CREATE ON DATABASE test_install TO test_owner")
    empty.execute("SET ROLE test_owner")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        empty.execute("CREATE EXTENSION pgml CASCADE")
    empty.execute("RESET ROLE; DROP OWNED BY test_owner; DROP ROLE test_owner")


def test_a_dump_restores(empty: Database, connect: Callable[..., Database], stack: Any) -> None:
    """A table with a generated column, dumped and restored, embeds again while it is loaded."""
    binaries = stack.stack.cluster.installation.bin
    if not (binaries / "pg_dump").exists():
        pytest.skip(f"{binaries} has no pg_dump")
    empty.execute("CREATE EXTENSION pgml CASCADE")
    empty.execute(
        "CREATE TABLE quotes (quote text, v real[] GENERATED ALWAYS AS (pgml.embed('echo', quote)) STORED)"
    )
    empty.execute("INSERT INTO quotes VALUES ('a'), ('b')")
    before = empty.execute("SELECT quote, v FROM quotes ORDER BY quote").fetchall()
    address = stack.dsn.replace("dbname=pgannex", "dbname=test_install")
    dump = subprocess.run([str(binaries / "pg_dump"), address], capture_output=True, text=True, check=True)
    empty.execute(
        "DROP TABLE quotes; DROP EXTENSION pgml; DROP SCHEMA pgml; DROP EXTENSION IF EXISTS multicorn"
    )
    restored = subprocess.run(
        [str(binaries / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", address],
        input=dump.stdout,
        capture_output=True,
        text=True,
    )
    assert restored.returncode == 0, restored.stderr
    assert empty.execute("SELECT quote, v FROM quotes ORDER BY quote").fetchall() == before
