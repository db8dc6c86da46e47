"""Which model of a project predicts: the strategies, their errors, and what a training decides.

Models are stored without a fit (registry_rows), but for the last test, which follows one from
training through a dump into another database.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from registry_rows import NUMBERS, one, refused, said, stored

Database = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def shop(db: Database) -> Database:
    """Four versions of project shop; `three` has the best score as a number, `two` as a text."""
    db.execute(NUMBERS)
    for name, score, algorithm in (
        ("one", 0.5, "linear"), ("two", 9.5e-05, "ridge"), ("three", 0.9, "xgboost"), ("four", 0.1, "linear"),
    ):  # fmt: skip
        stored(db, score=score, artifact=name, algorithm=algorithm)
    return db


def served(db: Database) -> Any:
    return one(db, "SELECT serving FROM pgml.projects WHERE name = 'shop'")


def deploy(db: Database, arguments: str) -> tuple[str, str, str]:
    """(strategy, algorithm, artifact that serves afterwards)."""
    project, strategy, algorithm = one(db, f"SELECT * FROM pgml.deploy({arguments})")
    assert project == "shop"
    return strategy, algorithm, served(db)


def test_a_training_deploys_what_is_no_worse(shop: Database) -> None:
    assert served(shop) == "three"
    rows = shop.execute(
        "SELECT d.strategy FROM pgml.deployments AS d JOIN pgml.projects AS p ON p.id = d.project_id"
        " WHERE p.name = 'shop'"
    ).fetchall()
    assert rows == [("new_score",), ("new_score",)]


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        ("'shop'", ("best_score", "xgboost", "three")),
        ("'shop', 'best_score'", ("best_score", "xgboost", "three")),
        ("'shop', 'best_score'::text", ("best_score", "xgboost", "three")),
        ("'shop', 'best_score'::varchar, 'linear'::text", ("best_score", "linear", "one")),
        ("'shop', 'most_recent'", ("most_recent", "linear", "four")),
        ("'shop', 'most_recent', 'ridge'", ("most_recent", "ridge", "two")),
        ("project_name => 'shop', strategy => 'rollback'", ("rollback", "linear", "one")),
        ("'shop', 'rollback', algorithm => 'linear'", ("rollback", "linear", "one")),
        ("'shop', NULL", ("best_score", "xgboost", "three")),
    ],
)
def test_the_strategies(arguments: str, outcome: tuple[str, str, str], shop: Database) -> None:
    cursor = shop.execute("SELECT * FROM pgml.deploy('shop')")
    assert [c.name for c in cursor.description or ()] == ["project", "strategy", "algorithm"]
    assert deploy(shop, arguments) == outcome


def test_twice_rolled_back_is_where_it_was(shop: Database) -> None:
    deploy(shop, "'shop', 'most_recent'")
    assert [deploy(shop, "'shop', 'rollback'")[2] for _ in range(3)] == ["three", "four", "three"]


def test_one_model(shop: Database) -> None:
    model = one(shop, "SELECT id FROM pgml.models WHERE artifact = 'two'")
    assert deploy(shop, str(model)) == ("specific", "ridge", "two")
    assert (
        one(shop, "SELECT pgml.deploy(id::int) IS NOT NULL FROM pgml.models WHERE artifact = 'one'") is True
    )
    assert served(shop) == "one"


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message"),
    [
        ("'nobody'", "42704", "Project named `nobody` does not exist."),
        ("'shop', 'new_score'", "22023", "invalid strategy"),
        ("'shop', 'specific'", "22023", "invalid strategy"),
        ("'shop', 'best_score', 'svm'", "P0002", "No qualified models exist for this deployment."),
        ("'shop', 'rollback', 'ridge'", "P0002", "No qualified models exist for this deployment."),
        ("NULL::text", "22004", "a project needs a name"),
        ("-7", "42704", "pgml.models WHERE id = -7 could not be loaded. Does it exist?"),
        ("'shop', 'best'", "22P02", "best"),
    ],
)
def test_what_is_refused(arguments: str, sqlstate: str, message: str, shop: Database) -> None:
    error = refused(shop, f"SELECT * FROM pgml.deploy({arguments})")
    assert error.sqlstate == sqlstate and message in str(error)
    assert error.diag.message_hint or sqlstate == "22P02"
    assert served(shop) == "three"


def test_a_model_that_failed_is_not_deployed(shop: Database) -> None:
    model = one(shop, "UPDATE pgml.models SET status = 'failed' WHERE artifact = 'three' RETURNING id")
    assert deploy(shop, "'shop'")[2] == "one"
    assert "could not be loaded" in str(refused(shop, f"SELECT * FROM pgml.deploy({model})"))


@pytest.mark.parametrize(
    ("deployed", "new", "serves", "warning"),
    [
        (0.5, 0.5, "new", None),
        (0.5, 0.4999, "old", "New model's r2 is not better than current model. New: 0.4999, Current 0.5"),
        (0.5, None, "old", "New model's r2 is not better"),
        (None, 0.5, "new", None),
        (None, None, "new", "Neither the new model nor the deployed one has metric r2."),
        (-1.0, -0.5, "new", None),
    ],
)  # fmt: skip
def test_scores_that_are_equal_worse_or_missing(
    deployed: float | None, new: float | None, serves: str, warning: str | None, db: Database
) -> None:
    db.execute(NUMBERS)
    heard = said(db)
    stored(db, score=deployed, artifact="old")
    stored(db, score=new, artifact="new")
    assert served(db) == serves
    warnings = [text for level, text in heard if level == "WARNING"]
    assert bool(warnings) == (warning is not None), warnings
    assert warning is None or warning in warnings[0]
    assert ("Not deploying newly trained model." in warnings) == (serves == "old")


def test_what_the_server_advises_against_is_not_deployed(db: Database) -> None:
    db.execute(NUMBERS)
    heard = said(db)
    stored(db, score=1.0, deployable=False, reason="all predictions are 7")
    assert served(db) is None
    assert any("all predictions are 7" in text for level, text in heard if level == "WARNING")
    reason = one(
        db,
        "SELECT m.reason FROM pgml.models AS m JOIN pgml.projects AS p ON p.id = m.project_id"
        " WHERE p.name = 'shop'",
    )
    assert reason == "all predictions are 7"
    assert deploy(db, "'shop'")[0] == "best_score"


def test_a_dump_predicts_the_same_elsewhere(connect: Callable[..., Database], stack: Any, host: str) -> None:
    if host != "native":
        pytest.skip("only the native host trains")
    binaries = stack.stack.cluster.installation.bin
    if not (binaries / "pg_dump").exists():
        pytest.skip(f"{binaries} has no pg_dump")
    admin = connect(autocommit=True)
    for name in ("test_trained", "test_copied"):
        admin.execute(f"DROP DATABASE IF EXISTS {name}")
        admin.execute(f"CREATE DATABASE {name}")
    ask = """
        SELECT pgml.predict('trees', ARRAY[g, g % 3]::real[]), pgml.predict('line', ARRAY[g, g % 3]::real[])
        FROM generate_series(1, 30) AS g"""
    try:
        with connect(dbname="test_trained", autocommit=True) as db:
            db.execute("CREATE EXTENSION pgml CASCADE")
            db.execute(
                "CREATE TABLE t AS SELECT g::real AS a, g % 3 AS b, sin(g) AS y"
                " FROM generate_series(1, 90) AS g"
            )
            db.execute("SELECT * FROM pgml.train('trees', 'regression', 't', 'y', 'xgboost')")
            db.execute("SELECT * FROM pgml.train('line', 'regression', 't', 'y')")
            db.execute("SELECT * FROM pgml.deploy('line', 'most_recent')")
            before = db.execute(ask).fetchall()
            assert len({row[0] for row in before}) > 5
        address = stack.dsn.replace("dbname=pgannex", "dbname=test_trained")
        dump = subprocess.run(
            [str(binaries / "pg_dump"), address], capture_output=True, text=True, check=True
        )
        copied = stack.dsn.replace("dbname=pgannex", "dbname=test_copied")
        command = [str(binaries / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", copied]
        restored = subprocess.run(command, input=dump.stdout, capture_output=True, text=True)
        assert restored.returncode == 0, restored.stderr
        stack.restart_server()  # it must ask for the artifacts, which it does not know any more
        with connect(dbname="test_copied", autocommit=True) as db:
            assert db.execute(ask).fetchall() == before
    finally:
        admin.execute("DROP DATABASE IF EXISTS test_trained WITH (FORCE)")
        admin.execute("DROP DATABASE IF EXISTS test_copied WITH (FORCE)")
