"""pgml.predict and its kin: every documented form of a call, what they give, what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors
from teststack import TestStack

Database = psycopg.Connection[tuple[Any, ...]]

# target = 2a + 3b + 5c + 1 to the last digit, so that what linear regression says is known.
SETUP = """
    CREATE SCHEMA doors;
    SET search_path = doors, public;
    CREATE TYPE doors.point AS (a real, b real, c real);
    CREATE TABLE doors.plane (a real, b real, c real, target real);
    INSERT INTO doors.plane SELECT a, b, c, 2 * a + 3 * b + 5 * c + 1
        FROM generate_series(1, 5) AS a, generate_series(1, 5) AS b, generate_series(1, 4) AS c;
    CREATE TABLE doors.flower (size real, leaf text, kind text);
    INSERT INTO doors.flower SELECT i + CASE WHEN i % 2 = 0 THEN 100 ELSE 0 END,
        CASE WHEN i % 2 = 0 THEN 'round' ELSE 'long' END, CASE WHEN i % 2 = 0 THEN 'rose' ELSE 'tulip' END
        FROM generate_series(1, 60) AS i;
    CREATE TABLE doors.two (a real, b real, c real, left_target real, right_target real);
    INSERT INTO doors.two SELECT a, b, c, a + b, b - c FROM doors.plane;
    CREATE VIEW doors.bare AS SELECT a, b, c FROM doors.plane;
    SELECT pgml.train('plane', 'regression', 'doors.plane', 'target');
    SELECT pgml.train('flower', 'classification', 'doors.flower', 'kind', 'random_forest',
                      hyperparams => '{"n_estimators": 10}');
    SELECT pgml.train_joint('two', 'regression', 'doors.two', ARRAY['left_target', 'right_target']);
    SELECT pgml.train('cut', 'decomposition', 'doors.bare', hyperparams => '{"n_components": 2}');
    SELECT pgml.train('odd', 'anomaly', 'doors.bare', hyperparams => '{"contamination": 0.02}');
    SELECT pgml.train('never', 'regression', 'doors.plane', 'target', automatic_deploy => false);
"""
TEARDOWN = """
    DELETE FROM pgml.projects WHERE name IN ('plane', 'flower', 'two', 'cut', 'odd', 'never');
    DROP SCHEMA IF EXISTS doors CASCADE;
"""


@pytest.fixture(scope="module")
def trained(stack: TestStack, host: str) -> Iterator[TestStack]:
    if host != "native":
        pytest.skip("trained models need the native host")
    with stack.connect() as db:
        db.execute(TEARDOWN)
        db.execute(SETUP)
        yield stack
        db.execute(TEARDOWN)


@pytest.fixture
def db(trained: TestStack) -> Iterator[Database]:
    with trained.connect(autocommit=False) as connection:
        connection.execute("SET search_path = doors, public")
        yield connection


def _one(db: Database, sql: str, parameters: Any = None) -> Any:
    row = db.execute(sql, parameters).fetchone()
    assert row is not None
    return row[0]


def _model(db: Database, project: str) -> int:
    return int(
        _one(
            db,
            "SELECT m.id FROM pgml.models AS m JOIN pgml.projects AS p ON p.id = m.project_id"
            " WHERE p.name = %s",
            [project],
        )
    )


FEATURES = {
    "real[]": "ARRAY[1, 2, 3]::real[]",
    "float8[]": "ARRAY[1, 2, 3]::float8[]",
    "smallint[]": "ARRAY[1, 2, 3]::smallint[]",
    "int[]": "ARRAY[1, 2, 3]",
    "bigint[]": "ARRAY[1, 2, 3]::bigint[]",
    "numeric[]": "ARRAY[1.0, 2.0, 3.0]",
    "mixed numbers": "ARRAY[1, 2.0, 3]",
    "columns of real": "ARRAY[a, b, c]",
    "real and float8": "ARRAY[a, b::float8, c]",
    "integer and real": "ARRAY[1, b, c]",
    "numeric and real": "ARRAY[1.0, b, c]",
    "two dimensions": "ARRAY[[1, 2, 3]]::smallint[][]",
    "a row": "ROW(1, 2, 3)",
    "a row in brackets": "(1, 2, 3)",
    "a row of columns": "(a, b, c)",
    "a named type": "ROW(1, 2, 3)::doors.point",
    "a row of a sub-select": "s",
    "a row with numeric": "(1.0, 2.0, 3.0)",
}
FROM = "FROM (SELECT 1::real AS a, 2::real AS b, 3::real AS c) AS s"


@pytest.mark.parametrize("by", ["'plane'", "model"])
@pytest.mark.parametrize("features", FEATURES.values(), ids=list(FEATURES))
def test_every_form_of_a_call_resolves(by: str, features: str, db: Database) -> None:
    project = by if by != "model" else str(_model(db, "plane"))
    assert _one(db, f"SELECT pgml.predict({project}, {features}) {FROM}") == pytest.approx(24, rel=1e-4)


@pytest.mark.parametrize("by", ["'plane'", "model"])
def test_booleans_are_numbers(by: str, db: Database) -> None:
    project = by if by != "model" else str(_model(db, "plane"))
    found = _one(db, f"SELECT pgml.predict({project}, ARRAY[true, false, true])")
    assert found == pytest.approx(8, rel=1e-4)


@pytest.mark.parametrize("literal", ["'plane'", "'plane'::text", "'plane'::varchar"])
def test_names_of_any_text_type_and_named_arguments(literal: str, db: Database) -> None:
    call = f"SELECT pgml.predict(project_name => {literal}, features => ARRAY[1, 2, 3]::real[])"
    assert _one(db, call) == pytest.approx(24, rel=1e-4)
    call = f"""SELECT pgml.predict(project_name => {literal}, "row" => (1, 2, 3))"""
    assert _one(db, call) == pytest.approx(24, rel=1e-4)


def test_over_a_table_in_a_where_and_through_lateral(db: Database) -> None:
    off = "max(abs(pgml.predict('plane', ARRAY[a, b, c]) - target))"
    assert _one(db, f"SELECT {off} FROM plane") < 0.01
    where = "SELECT count(*) FROM plane WHERE pgml.predict('plane', (a, b, c)) > 30"
    assert _one(db, where) == _one(db, "SELECT count(*) FROM plane WHERE target > 30.01")
    lateral = "SELECT sum(p) FROM plane, LATERAL pgml.predict('plane', ARRAY[a, b, c]) AS p"
    assert _one(db, lateral) == pytest.approx(_one(db, "SELECT sum(target) FROM plane"), rel=1e-4)


def test_untyped_parameters_and_literals(db: Database) -> None:
    """What drivers send whose arrays have no type: one form of each function takes them."""
    model = _model(db, "plane")
    db.execute("PREPARE joint AS SELECT pgml.predict_joint('two', $1)")
    db.execute(f"PREPARE batch AS SELECT pgml.predict_batch({model}, $1)")
    assert _one(db, "EXECUTE joint('{1, 2, 3}')") == pytest.approx([3, -1], abs=1e-3)
    assert _one(db, "EXECUTE batch('{1, 2, 3}')") == pytest.approx([24], rel=1e-4)
    assert len(_one(db, "SELECT pgml.decompose('cut', '{1, 2, 3}')")) == 2


@pytest.mark.parametrize("array", ["real[]", "float8[]", "int[]", "smallint[]", "bigint[]", "numeric[]"])
def test_joint_and_batch_and_decompose_take_any_array(array: str, db: Database) -> None:
    features = f"ARRAY[1, 2, 3]::{array}"
    two, plane = _model(db, "two"), _model(db, "plane")
    assert _one(db, f"SELECT pgml.predict_joint('two', {features})") == pytest.approx([3, -1], abs=1e-3)
    assert _one(db, f"SELECT pgml.predict_joint({two}, {features})") == pytest.approx([3, -1], abs=1e-3)
    several = f"{features} || {features}"
    rows = db.execute(f"SELECT pgml.predict_batch('plane', {several})").fetchall()
    assert [row[0] for row in rows] == pytest.approx([24, 24], rel=1e-4)
    assert _one(db, f"SELECT pgml.predict_batch({plane}, {several})") == pytest.approx([24, 24], rel=1e-4)
    assert len(_one(db, f"SELECT pgml.decompose('cut', {features})")) == 2


def test_batch_goes_in_step_with_unnest(db: Database) -> None:
    rows = db.execute(
        "SELECT pgml.predict_batch('plane', array_agg(ARRAY[a, b, c])), unnest(array_agg(target))"
        " FROM (SELECT * FROM plane LIMIT 7) AS few"
    ).fetchall()
    assert len(rows) == 7
    for predicted, target in rows:
        assert predicted == pytest.approx(target, rel=1e-4)


def test_text_labels(db: Database) -> None:
    model = _model(db, "flower")
    for by in ("'flower'", str(model)):
        assert _one(db, f"SELECT pgml.predict_label({by}, (120, 'round'))") == "rose"
        assert _one(db, f"SELECT pgml.predict_label({by}, (7, 'long'))") == "tulip"
    labels = "SELECT count(*) FROM flower AS f WHERE pgml.predict_label('flower', (size, leaf)) = kind"
    assert _one(db, labels) == 60
    codes = {
        label: _one(
            db, "SELECT pgml.predict('flower', (size, leaf)) FROM flower WHERE kind = %s LIMIT 1", [label]
        )
        for label in ("rose", "tulip")
    }
    assert codes["rose"] != codes["tulip"]


def test_a_row_of_the_table_goes_by_its_names(db: Database) -> None:
    assert _one(
        db, "SELECT pgml.predict('plane', p) FROM (SELECT 3::real AS c, 1::real AS a, 2::real AS b) AS p"
    ) == (pytest.approx(24, rel=1e-4))
    assert _one(db, "SELECT max(abs(pgml.predict('plane', p) - p.target)) FROM plane AS p") < 0.01


def test_probabilities(db: Database) -> None:
    model = _model(db, "flower")
    for by in ("'flower'", str(model)):
        found = _one(db, f"SELECT pgml.predict_proba_row({by}, (120, 'round'))")
        assert len(found) == 2
        assert sum(found) == pytest.approx(1, abs=1e-4)
    with pytest.raises(psycopg.Error, match="can't predict probabilities for a regression model"):
        db.execute("SELECT pgml.predict_proba('plane', ARRAY[1, 2, 3])")


def test_anomalies(db: Database) -> None:
    model = _model(db, "odd")
    for by in ("'odd'", str(model)):
        for near, far in (("ARRAY[3, 3, 2]", "ARRAY[90, 90, -80]"), ("(3, 3, 2)", "(90, 90, -80)")):
            strange = _one(db, f"SELECT pgml.anomaly_score({by}, {far})")
            assert strange > _one(db, f"SELECT pgml.anomaly_score({by}, {near})")
            assert _one(db, f"SELECT pgml.is_anomaly({by}, {far})") is True
            assert _one(db, f"SELECT pgml.is_anomaly({by}, {near})") is False


def test_null_in_null_out(db: Database) -> None:
    for call in (
        "pgml.predict(NULL::text, ARRAY[1, 2])",
        "pgml.predict('plane', NULL::real[])",
        "pgml.predict('plane', NULL::int[])",
        "pgml.predict_proba('flower', NULL)",
        "pgml.predict_joint('two', NULL)",
        "pgml.predict_label('flower', NULL::record)",
        "pgml.decompose('cut', NULL)",
    ):
        assert _one(db, f"SELECT {call}") is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            "pgml.predict('nowhere', ARRAY[1, 2, 3])",
            "No deployed model exists for the project named: `nowhere`",
        ),
        ("pgml.predict('nowhere', (1, 2, 3))", "No deployed model exists for the project named: `nowhere`"),
        ("pgml.predict('never', ARRAY[1, 2, 3])", "No deployed model exists for the project named: `never`"),
        (
            "pgml.predict_proba('nowhere', ARRAY[1])",
            "No deployed model exists for the project named: `nowhere`",
        ),
        (
            "pgml.predict_joint('nowhere', ARRAY[1])",
            "No deployed model exists for the project named: `nowhere`",
        ),
        (
            "pgml.predict_batch('nowhere', ARRAY[1])",
            "No deployed model exists for the project named: `nowhere`",
        ),
        ("pgml.decompose('nowhere', ARRAY[1])", "No deployed model exists for the project named: `nowhere`"),
        (
            "pgml.predict_label('nowhere', (1, 2))",
            "No deployed model exists for the project named: `nowhere`",
        ),
        ("pgml.is_anomaly('nowhere', (1, 2))", "No deployed model exists for the project named: `nowhere`"),
        ("pgml.forecast('nowhere')", "No deployed model exists for the project named: `nowhere`"),
        (
            "pgml.predict_rows('nowhere', 'SELECT 1, 2')",
            "No deployed model exists for the project named: `nowhere`",
        ),
        ("pgml.predict(-1, ARRAY[1, 2, 3])", "pgml.models WHERE id = -1 could not be loaded. Does it exist?"),
        ("pgml.predict(-1, (1, 2, 3))", "pgml.models WHERE id = -1 could not be loaded. Does it exist?"),
        ("pgml.predict_joint(-1, ARRAY[1])", "pgml.models WHERE id = -1 could not be loaded. Does it exist?"),
        ("pgml.predict_batch(-1, ARRAY[1])", "pgml.models WHERE id = -1 could not be loaded. Does it exist?"),
    ],
)
def test_no_such_model(call: str, message: str, db: Database) -> None:
    with pytest.raises(errors.UndefinedObject) as caught:
        db.execute(f"SELECT {call}")
    assert caught.value.diag.message_primary == message
    assert caught.value.diag.message_hint


def test_the_hint_says_whether_there_is_a_project(db: Database) -> None:
    with pytest.raises(errors.UndefinedObject) as caught:
        db.execute("SELECT pgml.predict('never', ARRAY[1, 2, 3])")
    assert "pgml.deploy('never'" in str(caught.value.diag.message_hint)


def test_the_wrong_number_of_features(db: Database) -> None:
    with pytest.raises(errors.InvalidParameterValue, match="has 3 features, the array 2"):
        db.execute("SELECT pgml.predict('plane', ARRAY[1, 2])")


def test_a_json_object_is_a_row_by_names(db: Database) -> None:
    found = _one(db, """SELECT pgml.predict('plane', '{"c": 3, "a": 1, "b": 2}'::jsonb)""")
    assert found == pytest.approx(24, rel=1e-4)


@pytest.mark.parametrize("what", ["1", "'x'::text", "ARRAY['a']"])
def test_what_is_no_row(what: str, db: Database) -> None:
    with pytest.raises(errors.DatatypeMismatch, match="requires Postgres `record` types created with `row"):
        db.execute(f"SELECT pgml.predict('plane', {what})")


def test_in_a_forced_parallel_plan(db: Database, stack: TestStack) -> None:
    force = "force_parallel_mode" if stack.leg.major < 16 else "debug_parallel_query"
    db.execute(f"SET LOCAL {force} = on")
    db.execute("SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0")
    db.execute("SET LOCAL min_parallel_table_scan_size = 0")
    plan = "\n".join(
        str(row[0])
        for row in db.execute("EXPLAIN SELECT sum(pgml.predict('plane', ARRAY[a, b, c])) FROM plane")
    )
    assert "Gather" in plan
    found = _one(db, "SELECT sum(pgml.predict('plane', ARRAY[a, b, c])) FROM plane")
    assert found == pytest.approx(_one(db, "SELECT sum(target) FROM plane"), rel=1e-4)


def test_the_catalogue_says_how_safe_they_are(db: Database) -> None:
    rows = db.execute(
        "SELECT proname, provolatile::text, proparallel::text, prosecdef FROM pg_proc"
        " WHERE pronamespace = 'pgml'::regnamespace"
        "   AND proname ~ '^(predict|decompose|anomaly_score|is_anomaly|forecast$|predict_)'"
        "   AND proname <> 'predict_rows'"
    ).fetchall()
    assert len(rows) > 30
    assert {row[1:] for row in rows} == {("s", "s", False)}


# -- rows ------------------------------------------------------------------------------------------


def test_predict_rows_of_columns_and_of_arrays(db: Database) -> None:
    model = _model(db, "plane")
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
    assert 0 < _one(db, "SELECT last_value FROM pulled") < 400_000
    db.execute("CLOSE reading")


def test_predict_rows_sees_the_callers_own_rows(db: Database) -> None:
    db.execute("CREATE TEMP TABLE mine (id int, a real, b real, c real) ON COMMIT DROP")
    db.execute("INSERT INTO mine VALUES (1, 1, 2, 3)")
    rows = db.execute(
        "SELECT key, prediction FROM pgml.predict_rows('plane', 'SELECT id, a, b, c FROM mine')"
    ).fetchall()
    assert rows == [("1", pytest.approx(24, rel=1e-4))]


# -- rights ----------------------------------------------------------------------------------------


def test_only_whom_a_model_is_granted_to_predicts(trained: TestStack, db: Database) -> None:
    trained.role("doors_stranger")
    artifact = _one(db, "SELECT serving FROM pgml.projects WHERE name = 'plane'")
    with trained.connect("doors_stranger") as stranger:
        with pytest.raises(errors.UndefinedObject, match="No deployed model"):
            stranger.execute("SELECT pgml.predict('plane', ARRAY[1, 2, 3])")
        with pytest.raises(errors.InsufficientPrivilege):
            stranger.execute(
                "SELECT prediction FROM pgml.prediction WHERE artifact = %s AND features = '{1,2,3}'",
                [artifact],
            )
