"""pgml.predict_rows: a query scored as it streams, by columns and by arrays, and what fails a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from predict_models import asking, model_of, predictors, value
from psycopg import errors
from teststack import TestStack

Database = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture(scope="module")
def trained(stack: TestStack, host: str) -> Iterator[TestStack]:
    if host != "native":
        pytest.skip("trained models need the native host")
    with predictors(stack) as ready:
        yield ready


@pytest.fixture
def db(trained: TestStack) -> Iterator[Database]:
    with asking(trained) as connection:
        yield connection


def test_predict_rows_of_columns_and_of_arrays(db: Database) -> None:
    model = model_of(db, "plane")
    for by in ("'plane'", str(model)):
        for query in (
            "SELECT target, a, b, c FROM doors.plane",
            "SELECT target, c, b, a FROM doors.plane",
            "SELECT target, ARRAY[a, b, c] AS features FROM doors.plane",
            "SELECT target, ARRAY[a, b, c]::float8[] AS f FROM doors.plane",
        ):
            rows = db.execute(f"SELECT key, prediction FROM pgml.predict_rows({by}, %s)", [query]).fetchall()
            assert len(rows) == 100
            for key, prediction in rows:
                assert prediction == pytest.approx(float(key), rel=1e-4)


def test_predict_rows_gives_everything_that_there_is(db: Database) -> None:
    row = db.execute(
        "SELECT * FROM pgml.predict_rows('plane', 'SELECT 9, 1::real AS a, 2::real AS b, 3::real AS c')"
    )
    (found,) = row.fetchall()
    assert found[0] == "9"
    assert found[1] == pytest.approx(24, rel=1e-4)
    assert found[3:] == (None, None, None, None)
    rows = db.execute(
        "SELECT key, label, probabilities"
        " FROM pgml.predict_rows('flower', 'SELECT kind, size, leaf FROM doors.flower')"
    ).fetchall()
    assert len(rows) == 60
    for key, label, probabilities in rows:
        assert key == label
        assert sum(probabilities) == pytest.approx(1, abs=1e-4)
    rows = db.execute(
        "SELECT key, predictions FROM pgml.predict_rows('two', 'SELECT left_target, a, b, c FROM doors.two')"
    ).fetchall()
    for key, predictions in rows:
        assert predictions[0] == pytest.approx(float(key), abs=1e-3)
    scores = db.execute(
        "SELECT score FROM pgml.predict_rows('odd', 'SELECT 1, a, b, c FROM doors.bare')"
    ).fetchall()
    assert len(scores) == 100
    assert all(score is not None for (score,) in scores)


BAD = "SELECT i, CASE WHEN i <> 3 THEN ARRAY[1, i, 2]::real[] END AS f FROM generate_series(1, 5) AS i"


def test_on_error(db: Database) -> None:
    with pytest.raises(psycopg.Error, match="NULL"):
        db.execute("SELECT * FROM pgml.predict_rows('plane', %s)", [BAD])
    db.rollback()
    for how in ("null", "status"):
        rows = {
            key: (prediction, error)
            for key, prediction, error in db.execute(
                "SELECT key, prediction, error FROM pgml.predict_rows('plane', %s, on_error => %s)",
                [BAD, how],
            )
        }
        assert len(rows) == 5
        assert rows["3"][0] is None
        assert (rows["3"][1] is None) == (how == "null")
        assert [key for key in rows if rows[key][0] is None] == ["3"]


def test_on_error_of_columns(db: Database) -> None:
    """A NULL that nobody imputes fails its own row, and a category that was never seen does not."""
    query = (
        "SELECT i, CASE WHEN i <> 2 THEN 120::real END AS size, CASE i WHEN 3 THEN 'unseen' ELSE 'round' END"
        " AS leaf FROM generate_series(1, 4) AS i"
    )
    rows = db.execute(
        "SELECT key, label, error FROM pgml.predict_rows('flower', %s, on_error => 'status') ORDER BY key",
        [query],
    ).fetchall()
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert [row[1] for row in rows if row[0] in "14"] == ["rose", "rose"]
    assert [row[0] for row in rows if row[2] is not None] == ["2"]
    assert "missing values for size" in str(rows[1][2])
    with pytest.raises(errors.NullValueNotAllowed, match="row 2"):
        db.execute("SELECT * FROM pgml.predict_rows('flower', %s)", [query])


def test_what_a_query_lacks_is_named(db: Database) -> None:
    with pytest.raises(errors.InvalidParameterValue, match="lacks the columns leaf"):
        db.execute("SELECT * FROM pgml.predict_rows('flower', 'SELECT 1, 2::real AS size')")


def test_predict_rows_streams(db: Database) -> None:
    db.execute("CREATE TEMP SEQUENCE pulled")
    query = (
        "SELECT nextval(''pulled''), ARRAY[g % 5, g % 4, g % 3]::real[] AS f"
        " FROM generate_series(1, 400000) AS g"
    )
    db.execute(
        "DECLARE reading NO SCROLL CURSOR FOR"
        f" SELECT key, prediction FROM pgml.predict_rows('plane', '{query}')"
    )
    assert len(db.execute("FETCH 1 FROM reading").fetchall()) == 1
    assert 0 < value(db, "SELECT last_value FROM pulled") < 400_000
    db.execute("CLOSE reading")


def test_predict_rows_sees_the_callers_own_rows(db: Database) -> None:
    db.execute("CREATE TEMP TABLE mine (id int, a real, b real, c real) ON COMMIT DROP")
    db.execute("INSERT INTO mine VALUES (1, 1, 2, 3)")
    rows = db.execute(
        "SELECT key, prediction FROM pgml.predict_rows('plane', 'SELECT id, a, b, c FROM mine')"
    ).fetchall()
    assert rows == [("1", pytest.approx(24, rel=1e-4))]
