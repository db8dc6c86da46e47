"""pgml.predict and its kin: every documented form of a call, what they give, what they refuse."""

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
    project = by if by != "model" else str(model_of(db, "plane"))
    assert value(db, f"SELECT pgml.predict({project}, {features}) {FROM}") == pytest.approx(24, rel=1e-4)


@pytest.mark.parametrize("by", ["'plane'", "model"])
def test_booleans_are_numbers(by: str, db: Database) -> None:
    project = by if by != "model" else str(model_of(db, "plane"))
    found = value(db, f"SELECT pgml.predict({project}, ARRAY[true, false, true])")
    assert found == pytest.approx(8, rel=1e-4)


@pytest.mark.parametrize("literal", ["'plane'", "'plane'::text", "'plane'::varchar"])
def test_names_of_any_text_type_and_named_arguments(literal: str, db: Database) -> None:
    call = f"SELECT pgml.predict(project_name => {literal}, features => ARRAY[1, 2, 3]::real[])"
    assert value(db, call) == pytest.approx(24, rel=1e-4)
    call = f"""SELECT pgml.predict(project_name => {literal}, "row" => (1, 2, 3))"""
    assert value(db, call) == pytest.approx(24, rel=1e-4)


def test_over_a_table_in_a_where_and_through_lateral(db: Database) -> None:
    off = "max(abs(pgml.predict('plane', ARRAY[a, b, c]) - target))"
    assert value(db, f"SELECT {off} FROM plane") < 0.01
    where = "SELECT count(*) FROM plane WHERE pgml.predict('plane', (a, b, c)) > 30"
    assert value(db, where) == value(db, "SELECT count(*) FROM plane WHERE target > 30.01")
    lateral = "SELECT sum(p) FROM plane, LATERAL pgml.predict('plane', ARRAY[a, b, c]) AS p"
    assert value(db, lateral) == pytest.approx(value(db, "SELECT sum(target) FROM plane"), rel=1e-4)


def test_untyped_parameters_and_literals(db: Database) -> None:
    """What drivers send whose arrays have no type: one form of each function takes them."""
    model = model_of(db, "plane")
    db.execute("PREPARE joint AS SELECT pgml.predict_joint('two', $1)")
    db.execute(f"PREPARE batch AS SELECT pgml.predict_batch({model}, $1)")
    assert value(db, "EXECUTE joint('{1, 2, 3}')") == pytest.approx([3, -1], abs=1e-3)
    assert value(db, "EXECUTE batch('{1, 2, 3}')") == pytest.approx([24], rel=1e-4)
    assert len(value(db, "SELECT pgml.decompose('cut', '{1, 2, 3}')")) == 2


@pytest.mark.parametrize("array", ["real[]", "float8[]", "int[]", "smallint[]", "bigint[]", "numeric[]"])
def test_joint_and_batch_and_decompose_take_any_array(array: str, db: Database) -> None:
    features = f"ARRAY[1, 2, 3]::{array}"
    two, plane = model_of(db, "two"), model_of(db, "plane")
    assert value(db, f"SELECT pgml.predict_joint('two', {features})") == pytest.approx([3, -1], abs=1e-3)
    assert value(db, f"SELECT pgml.predict_joint({two}, {features})") == pytest.approx([3, -1], abs=1e-3)
    several = f"{features} || {features}"
    rows = db.execute(f"SELECT pgml.predict_batch('plane', {several})").fetchall()
    assert [row[0] for row in rows] == pytest.approx([24, 24], rel=1e-4)
    assert value(db, f"SELECT pgml.predict_batch({plane}, {several})") == pytest.approx([24, 24], rel=1e-4)
    assert len(value(db, f"SELECT pgml.decompose('cut', {features})")) == 2


def test_batch_goes_in_step_with_unnest(db: Database) -> None:
    rows = db.execute(
        "SELECT pgml.predict_batch('plane', array_agg(ARRAY[a, b, c])), unnest(array_agg(target))"
        " FROM (SELECT * FROM plane LIMIT 7) AS few"
    ).fetchall()
    assert len(rows) == 7
    for predicted, target in rows:
        assert predicted == pytest.approx(target, rel=1e-4)


def test_text_labels(db: Database) -> None:
    model = model_of(db, "flower")
    for by in ("'flower'", str(model)):
        assert value(db, f"SELECT pgml.predict_label({by}, (120, 'round'))") == "rose"
        assert value(db, f"SELECT pgml.predict_label({by}, (7, 'long'))") == "tulip"
    labels = "SELECT count(*) FROM flower AS f WHERE pgml.predict_label('flower', (size, leaf)) = kind"
    assert value(db, labels) == 60
    codes = {
        label: value(
            db, "SELECT pgml.predict('flower', (size, leaf)) FROM flower WHERE kind = %s LIMIT 1", [label]
        )
        for label in ("rose", "tulip")
    }
    assert codes["rose"] != codes["tulip"]


def test_a_row_of_the_table_goes_by_its_names(db: Database) -> None:
    assert value(
        db, "SELECT pgml.predict('plane', p) FROM (SELECT 3::real AS c, 1::real AS a, 2::real AS b) AS p"
    ) == (pytest.approx(24, rel=1e-4))
    assert value(db, "SELECT max(abs(pgml.predict('plane', p) - p.target)) FROM plane AS p") < 0.01


def test_probabilities(db: Database) -> None:
    model = model_of(db, "flower")
    for by in ("'flower'", str(model)):
        found = value(db, f"SELECT pgml.predict_proba_row({by}, (120, 'round'))")
        assert len(found) == 2
        assert sum(found) == pytest.approx(1, abs=1e-4)
    with pytest.raises(psycopg.Error, match="can't predict probabilities for a regression model"):
        db.execute("SELECT pgml.predict_proba('plane', ARRAY[1, 2, 3])")


@pytest.mark.parametrize(
    ("project", "features"), [("flower", "{1, 2}"), ("cut", "{1, 2, 3}"), ("odd", "{1, 2, 3}")]
)
def test_joint_predictions_are_for_regression(project: str, features: str, db: Database) -> None:
    for by in (f"'{project}'", str(model_of(db, project))):
        with pytest.raises(errors.InvalidParameterValue) as caught, db.transaction():
            db.execute(f"SELECT pgml.predict_joint({by}, '{features}')")
        assert "can't predict several targets with a" in str(caught.value)
        assert "pgml.train_joint" in str(caught.value.diag.message_hint)


def test_anomalies(db: Database) -> None:
    model = model_of(db, "odd")
    for by in ("'odd'", str(model)):
        for near, far in (("ARRAY[3, 3, 2]", "ARRAY[90, 90, -80]"), ("(3, 3, 2)", "(90, 90, -80)")):
            strange = value(db, f"SELECT pgml.anomaly_score({by}, {far})")
            assert strange > value(db, f"SELECT pgml.anomaly_score({by}, {near})")
            assert value(db, f"SELECT pgml.is_anomaly({by}, {far})") is True
            assert value(db, f"SELECT pgml.is_anomaly({by}, {near})") is False


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
        assert value(db, f"SELECT {call}") is None


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
    found = value(db, """SELECT pgml.predict('plane', '{"c": 3, "a": 1, "b": 2}'::jsonb)""")
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
    found = value(db, "SELECT sum(pgml.predict('plane', ARRAY[a, b, c])) FROM plane")
    assert found == pytest.approx(value(db, "SELECT sum(target) FROM plane"), rel=1e-4)


def test_the_catalogue_says_how_safe_they_are(db: Database) -> None:
    rows = db.execute(
        "SELECT proname, provolatile::text, proparallel::text, prosecdef FROM pg_proc"
        " WHERE pronamespace = 'pgml'::regnamespace"
        "   AND proname ~ '^(predict|decompose|anomaly_score|is_anomaly|forecast$|predict_)'"
        "   AND proname <> 'predict_rows'"
    ).fetchall()
    assert len(rows) > 30
    assert {row[1:] for row in rows} == {("s", "s", False)}


# -- rights ----------------------------------------------------------------------------------------


def test_only_whom_a_model_is_granted_to_predicts(trained: TestStack, db: Database) -> None:
    trained.role("doors_stranger")
    artifact = value(db, "SELECT serving FROM pgml.projects WHERE name = 'plane'")
    with trained.connect("doors_stranger") as stranger:
        with pytest.raises(errors.UndefinedObject, match="No deployed model"):
            stranger.execute("SELECT pgml.predict('plane', ARRAY[1, 2, 3])")
        with pytest.raises(errors.InsufficientPrivilege):
            stranger.execute(
                "SELECT prediction FROM pgml.prediction WHERE artifact = %s AND features = '{1,2,3}'",
                [artifact],
            )
