"""The registry: its types, its rows, what serves a project, and what is copied out of it.

Nothing is fitted here: models are stored from a cursor over rows like those that the server
sends (`stored`). What training does to these tables is in test_train.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from registry_rows import NUMBERS, one, stored

Database = psycopg.Connection[tuple[Any, ...]]
TABLES = ("projects", "snapshots", "models", "deployments", "files", "logs")


@pytest.fixture
def numbers(db: Database) -> Database:
    """A table to make snapshots of, in the transaction of the test."""
    db.execute(NUMBERS)
    db.execute("GRANT SELECT ON public.numbers TO PUBLIC")
    return db


def served(db: Database, project: str = "shop") -> Any:
    return one(db, "SELECT serving_model, serving FROM pgml.projects WHERE name = %s", project)


# -- types ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("task", "text-pair-classification"), ("task", "anomaly"), ("algorithm", "agglomerative"),
        ("algorithm", "isolation_forest"), ("runtime", "openai"), ("strategy", "rollback"),
        ("search", "grid"), ("sampling", "first"), ("status", "failed"),
    ],
)  # fmt: skip
def test_a_text_is_an_enum_without_a_cast(kind: str, value: str, db: Database) -> None:
    db.execute(
        f"CREATE FUNCTION pg_temp.takes(pgml.{kind}) RETURNS text LANGUAGE sql RETURN 'took ' || $1::text"
    )
    for text in ("text", "varchar"):
        assert one(db, f"SELECT pg_temp.takes(%s::{text})", value) == f"took {value}"


def test_an_enum_names_what_it_does_not_know(db: Database) -> None:
    with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="xgbost"):
        db.execute("SELECT * FROM pgml.train('p', 'regression', 't', 'y', 'xgbost')")


@pytest.mark.parametrize(
    ("kind", "among"),
    [
        ("task", "regression"), ("algorithm", "xgboost"), ("runtime", "python"), ("strategy", "rollback"),
        ("search", "random"), ("sampling", "stratified"), ("status", "failed"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_enum_is_told_what_there_is(kind: str, among: str, db: Database) -> None:
    db.execute(f"CREATE FUNCTION pg_temp.takes(pgml.{kind}) RETURNS text LANGUAGE sql RETURN $1::text")
    for text in ("text", "varchar"):
        with pytest.raises(psycopg.errors.InvalidParameterValue) as caught, db.transaction():
            db.execute(f"SELECT pg_temp.takes('oddity'::{text})")
        assert caught.value.diag.message_primary == f'there is no {kind} "oddity"'
        hint = str(caught.value.diag.message_hint)
        assert hint.startswith("one of: ") and among in hint.removeprefix("one of: ").split(", ")
    assert one(db, "SELECT pg_temp.takes(NULL::text)") is None


# -- what serves -----------------------------------------------------------------------------


def test_a_model_is_stored_with_its_parts(numbers: Database) -> None:
    model = stored(numbers, parts=3)
    row = one(
        numbers,
        "SELECT artifact, rows, seed, status, reason, owner::text FROM pgml.models WHERE id = %s",
        model,
    )
    assert row == ("hash", 20, 7, "successful", None, "postgres")
    files = numbers.execute(
        "SELECT path, part, convert_from(data, 'UTF8') FROM pgml.files WHERE model_id = %s ORDER BY part",
        [model],
    ).fetchall()
    assert files == [("model.annex", n, f"part {n}") for n in range(3)]
    storage = one(
        numbers,
        "SELECT attstorage FROM pg_attribute WHERE attrelid = 'pgml.files'::regclass AND attname = 'data'",
    )
    assert storage in ("e", b"e")


def test_the_project_names_what_serves_it(numbers: Database) -> None:
    first = stored(numbers, score=0.5, artifact="first")
    assert served(numbers) == (first, "first")
    second = stored(numbers, score=0.9, artifact="second")
    assert served(numbers) == (second, "second")
    worse = stored(numbers, score=0.1, artifact="worse")
    assert served(numbers) == (second, "second")
    numbers.execute("DELETE FROM pgml.models WHERE id = %s", [second])
    assert served(numbers) == (first, "first")
    numbers.execute("DELETE FROM pgml.models WHERE id = ANY (%s)", [[first, worse]])
    assert served(numbers) == (None, None)


def test_deleting_a_project_leaves_nothing_of_it(numbers: Database) -> None:
    stored(numbers)
    numbers.execute("DELETE FROM pgml.projects")
    for table in ("models", "deployments", "files"):
        assert one(numbers, f"SELECT count(*) FROM pgml.{table}") == 0


def test_of_two_deployments_at_once_the_later_one_serves(connect: Callable[..., Database]) -> None:
    setup, first, second = connect(autocommit=True), connect(autocommit=False), connect(autocommit=True)
    setup.execute("DROP TABLE IF EXISTS public.numbers; DELETE FROM pgml.projects WHERE name = 'race'")
    setup.execute(NUMBERS)
    try:
        a = stored(setup, "race", 0.5, "a")
        b = stored(setup, "race", 0.1, "b")
        first.execute("SELECT * FROM pgml.deploy(%s::bigint)", [a])
        second.execute("SET application_name = 'waits'")
        second.pgconn.send_query(f"SELECT * FROM pgml.deploy({b})".encode())
        waiting = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'waits' AND wait_event_type = 'Lock'"
        )
        while one(setup, waiting) == 0:
            assert second.pgconn.is_busy(), "the second deployment did not wait"
            second.pgconn.consume_input()
        first.commit()
        while second.pgconn.get_result() is not None:
            pass
        latest = one(setup, "SELECT model_id FROM pgml.deployments ORDER BY created_at DESC, id DESC LIMIT 1")
        assert served(setup, "race")[0] == latest == b
    finally:
        setup.execute("DELETE FROM pgml.projects; DELETE FROM pgml.snapshots; DROP TABLE public.numbers")


def test_updated_at_is_touched_by_a_change_alone(numbers: Database) -> None:
    stored(numbers)
    before = one(numbers, "SELECT updated_at FROM pgml.models")
    numbers.execute("UPDATE pgml.models SET status = status")
    assert one(numbers, "SELECT updated_at FROM pgml.models") == before
    numbers.execute("UPDATE pgml.models SET status = 'failed'")
    assert one(numbers, "SELECT updated_at FROM pgml.models") > before


def test_auto_updated_at_for_a_table_of_ones_own(db: Database) -> None:
    db.execute('CREATE TABLE "My Table" (a int, updated_at timestamp)')
    for _ in range(2):
        db.execute("""SELECT pgml.auto_updated_at('"My Table"')""")
    db.execute("""INSERT INTO "My Table" VALUES (1, NULL); UPDATE "My Table" SET a = 2""")
    assert one(db, 'SELECT updated_at IS NOT NULL FROM "My Table"') is True
    assert (
        one(db, "SELECT tgname FROM pg_trigger WHERE tgrelid = '\"My Table\"'::regclass")
        == "My Table_auto_updated_at"
    )


# -- views and reports -----------------------------------------------------------------------


def test_the_views_have_the_columns_of_postgresml(numbers: Database) -> None:
    model = stored(numbers)
    columns = {
        "overview": "name deployed_at task algorithm runtime relation_name y_column_name test_sampling"
        " test_size",
        "trained_models": "id name task algorithm runtime created_at test_sampling test_size deployed",
        "deployed_models": "id name task algorithm runtime deployed_at",
    }
    for view, names in columns.items():
        cursor = numbers.execute(f"SELECT * FROM pgml.{view}")
        assert [c.name for c in cursor.description or ()] == names.split()
        assert len(cursor.fetchall()) == 1
    assert one(numbers, "SELECT id, deployed FROM pgml.trained_models") == (model, True)
    assert one(numbers, "SELECT relation_name, y_column_name FROM pgml.overview") == ("public.numbers", ["y"])


def test_compare_models_shows_each_metric_and_its_change(numbers: Database) -> None:
    stored(numbers, score=0.5, artifact="a")
    stored(numbers, score=0.75, artifact="b")
    rows = numbers.execute(
        "SELECT version, deployed, score, score_change, metrics, changes FROM pgml.compare_models('shop')"
    ).fetchall()
    assert rows == [
        (1, False, 0.5, None, {"r2": 0.5, "fit_time": 1}, None),
        (2, True, 0.75, 0.25, {"r2": 0.75, "fit_time": 1}, {"r2": 0.25, "fit_time": 0}),
    ]
    with pytest.raises(psycopg.errors.UndefinedObject, match="`none` does not exist"):
        numbers.execute("SELECT * FROM pgml.compare_models('none')")


def test_feature_stats_reads_what_the_snapshot_recorded(numbers: Database) -> None:
    statistics = {"min": 1, "max": 20, "mean": 10.5, "missing": 0, "distinct": 20, "histogram": [1, 2]}
    column = {"name": "x", "pg_type": "float4", "label": False, "position": 1, "size": 1}
    stored(numbers, columns=[column | {"preprocessor": {"scale": "standard"}, "statistics": statistics}])
    snapshot = one(numbers, "SELECT max(id) FROM pgml.snapshots")
    row = one(
        numbers,
        'SELECT name, "position", min, max, mean, median, "distinct", histogram FROM pgml.feature_stats(%s)',
        snapshot,
    )
    assert row == ("x", 1, 1.0, 20.0, 10.5, None, 20, [1, 2])
    with pytest.raises(psycopg.errors.UndefinedObject, match="no snapshot 99999"):
        numbers.execute("SELECT * FROM pgml.feature_stats(99999)")


# -- files of a dump ---------------------------------------------------------------------------


@pytest.fixture
def folder(stack: Any) -> Iterator[Path]:
    """A folder that the database's own user may write."""
    path = stack.stack.state.run / "dump"
    path.mkdir(mode=0o777, exist_ok=True)
    path.chmod(0o777)
    yield path
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


def test_load_all_brings_back_what_dump_all_wrote(numbers: Database, folder: Path) -> None:
    stored(numbers, score=0.5, artifact="a")
    stored(numbers, score=0.9, artifact="b")
    tables = ("projects", "snapshots", "models", "files", "deployments")
    before = {t: numbers.execute(f"SELECT * FROM pgml.{t} ORDER BY id").fetchall() for t in tables}
    numbers.execute("SELECT pgml.dump_all(%s)", [str(folder)])
    assert sorted(f.name for f in folder.iterdir()) == sorted(f"{t}.csv" for t in tables)
    numbers.execute("DELETE FROM pgml.projects; DELETE FROM pgml.snapshots")
    numbers.execute("SELECT setval('pgml.models_id_seq', 1), setval('pgml.projects_id_seq', 1)")
    numbers.execute("SELECT pgml.load_all(%s)", [str(folder)])
    assert {t: numbers.execute(f"SELECT * FROM pgml.{t} ORDER BY id").fetchall() for t in tables} == before
    assert stored(numbers, artifact="c") > max(row[0] for row in before["models"])
    with pytest.raises(psycopg.errors.UniqueViolation):
        numbers.execute("SELECT pgml.load_all(%s)", [str(folder)])


def test_load_all_reads_the_columns_that_a_file_has(numbers: Database, folder: Path) -> None:
    """PostgresML's files lack our columns."""
    stored(numbers)
    numbers.execute("SELECT pgml.dump_all(%s)", [str(folder)])
    row = "7,old,regression,2024-01-01 00:00:00,2024-01-01 00:00:00\n"
    numbers.execute("DELETE FROM pgml.projects; DELETE FROM pgml.snapshots")
    for file in folder.iterdir():
        header = file.read_text().splitlines()[0]
        lines = f'id,name,"task",created_at,updated_at\n{row}' if file.stem == "projects" else header + "\n"
        file.write_text(lines)
    numbers.execute("SELECT pgml.load_all(%s)", [str(folder)])
    assert one(numbers, "SELECT id, name, owner::text, serving FROM pgml.projects") == (
        7,
        "old",
        "postgres",
        None,
    )
    assert one(numbers, "SELECT nextval('pgml.projects_id_seq') > 7") is True


def test_pg_dump_takes_the_registry_along(connect: Callable[..., Database], stack: Any) -> None:
    binaries = stack.stack.cluster.installation.bin
    if not (binaries / "pg_dump").exists():
        pytest.skip(f"{binaries} has no pg_dump")
    admin = connect(autocommit=True)
    for name in ("test_dumped", "test_restored"):
        admin.execute(f"DROP DATABASE IF EXISTS {name}")
        admin.execute(f"CREATE DATABASE {name}")
    try:
        with connect(dbname="test_dumped", autocommit=True) as db:
            db.execute("CREATE EXTENSION pgml CASCADE")
            db.execute(NUMBERS)
            stored(db, score=0.5, artifact="a")
            stored(db, score=0.9, artifact="b")
            db.execute("SELECT * FROM pgml.snapshot('numbers', 'y')")
            db.execute("SELECT pgml.grant_model('shop', 'public')")
            before = _everything(db)
        address = stack.dsn.replace("dbname=pgannex", "dbname=test_dumped")
        dump = subprocess.run(
            [str(binaries / "pg_dump"), address], capture_output=True, text=True, check=True
        )
        restored = subprocess.run(
            [str(binaries / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
             stack.dsn.replace("dbname=pgannex", "dbname=test_restored")],
            input=dump.stdout, capture_output=True, text=True,
        )  # fmt: skip
        assert restored.returncode == 0, restored.stderr
        with connect(dbname="test_restored", autocommit=True) as db:
            assert _everything(db) == before
            assert stored(db, artifact="c") > max(row[0] for row in before["models"])
    finally:
        admin.execute("DROP DATABASE IF EXISTS test_dumped WITH (FORCE)")
        admin.execute("DROP DATABASE IF EXISTS test_restored WITH (FORCE)")


def _everything(db: Database) -> dict[str, list[tuple[Any, ...]]]:
    tables = {t: db.execute(f"SELECT * FROM pgml.{t} ORDER BY id").fetchall() for t in TABLES}
    kept = db.execute(
        "SELECT format('pgml.snapshot_%s', id) FROM pgml.snapshots WHERE materialized"
    ).fetchall()
    rows = {str(k): db.execute(f"SELECT * FROM {k} ORDER BY x").fetchall() for (k,) in kept}
    assert all(len(found) == 20 for found in rows.values()) and len(rows) == 1
    return tables | rows | {"model_grants": db.execute("SELECT * FROM pgml.model_grants").fetchall()}
