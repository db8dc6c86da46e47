"""pgml.load_dataset: the tables, whose they are, and what is refused."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import errors
from teststack import TestStack

Database = psycopg.Connection[tuple[Any, ...]]
ROWS = {"breast_cancer": 569, "diabetes": 442, "digits": 1797, "iris": 150, "linnerud": 20, "wine": 178}
COLUMNS = {
    "diabetes": dict.fromkeys(
        ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "target"], "real"
    ),
    "digits": {"image": "smallint[]", "target": "smallint"},
    "iris": dict.fromkeys(["sepal_length", "sepal_width", "petal_length", "petal_width"], "real")
    | {"target": "integer"},
    "linnerud": dict.fromkeys(["chins", "situps", "jumps", "weight", "waist", "pulse"], "real"),
    "wine": dict.fromkeys(
        [
            "alcohol",
            "malic_acid",
            "ash",
            "alcalinity_of_ash",
            "magnesium",
            "total_phenols",
            "flavanoids",
            "nonflavanoid_phenols",
            "proanthocyanins",
            "hue",
            "color_intensity",
            "od280/od315_of_diluted_wines",
            "proline",
        ],
        "real",
    )
    | {"target": "integer"},
}


@pytest.fixture
def db(db: Database, host: str) -> Database:
    if host != "native":
        pytest.skip("data sets and trained models need the native host")
    return db


def _columns(db: Database, table: str) -> dict[str, str]:
    rows = db.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
        [f"pgml.{table}"],
    ).fetchall()
    return {str(name): str(type_) for name, type_ in rows}


@pytest.mark.parametrize("name", ROWS)
def test_a_bundled_set_has_the_rows_and_columns_of_postgresml(name: str, db: Database) -> None:
    loaded = db.execute("SELECT * FROM pgml.load_dataset(%s)", [name]).fetchone()
    assert loaded == (f"pgml.{name}", ROWS[name])
    assert db.execute(f"SELECT count(*) FROM pgml.{name}").fetchone() == (ROWS[name],)
    columns = _columns(db, name)
    if name in COLUMNS:
        assert columns == COLUMNS[name]
        assert list(columns) == list(COLUMNS[name])
    else:
        assert len(columns) == 31
        assert columns["mean radius"] == columns["worst fractal dimension"] == "real"
        assert columns["malignant"] == "boolean"


def test_values_arrive_as_they_are(db: Database) -> None:
    db.execute("SELECT pgml.load_dataset('digits'), pgml.load_dataset('breast_cancer')")
    image = db.execute("SELECT image[1:1], target, array_dims(image) FROM pgml.digits LIMIT 1").fetchone()
    assert image == ([[0, 0, 5, 13, 9, 1, 0, 0]], 0, "[1:8][1:8]")
    counted = db.execute("SELECT count(*) FILTER (WHERE malignant) FROM pgml.breast_cancer").fetchone()
    assert counted == (212,)


def test_limit_and_what_depends_on_the_old_table(db: Database) -> None:
    db.execute("SELECT pgml.load_dataset('iris')")
    db.execute("CREATE VIEW pg_temp.petals AS SELECT petal_length FROM pgml.iris")
    assert db.execute("""SELECT * FROM pgml.load_dataset('iris', "limit" => 7)""").fetchone() == (
        "pgml.iris",
        7,
    )
    assert db.execute("SELECT to_regclass('pg_temp.petals')").fetchone() == (None,)
    assert db.execute("""SELECT rows FROM pgml.load_dataset('iris', "limit" => 0)""").fetchone() == (0,)
    assert len(_columns(db, "iris")) == 5


def test_a_rollback_leaves_nothing(db: Database) -> None:
    before = db.execute("SELECT to_regclass('pgml.linnerud')").fetchone()
    db.rollback()
    db.execute("SELECT pgml.load_dataset('linnerud')")
    db.rollback()
    assert db.execute("SELECT to_regclass('pgml.linnerud')").fetchone() == before


def test_the_table_is_the_callers(db: Database, stack: TestStack) -> None:
    stack.role("doors_trainer", ("pgml_trainer",))
    stack.role("doors_other", ("pgml_trainer",))
    db.execute("DROP TABLE IF EXISTS pgml.wine")
    db.execute("SET ROLE doors_trainer")
    db.execute("SELECT pgml.load_dataset('wine')")
    owner = "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'pgml.wine'::regclass"
    assert db.execute(owner).fetchone() == ("doors_trainer",)
    assert db.execute("SELECT rows FROM pgml.load_dataset('wine')").fetchone() == (178,)
    db.execute("SET ROLE doors_other")
    with pytest.raises(errors.InsufficientPrivilege) as caught:
        db.execute("SELECT pgml.load_dataset('wine')")
    said = caught.value.diag
    assert said.message_primary == "table pgml.wine is there already and belongs to role doors_trainer"
    assert "DROP TABLE pgml.wine" in str(said.message_hint)


def test_a_member_of_the_owner_replaces_the_table(db: Database, stack: TestStack) -> None:
    stack.role("doors_trainer", ("pgml_trainer",))
    db.execute("CREATE ROLE doors_member IN ROLE doors_trainer")
    db.execute("DROP TABLE IF EXISTS pgml.wine; SET ROLE doors_trainer; SELECT pgml.load_dataset('wine')")
    db.execute("SET ROLE doors_member")
    assert db.execute("SELECT rows FROM pgml.load_dataset('wine')").fetchone() == (178,)


def test_a_superusers_session_makes_a_table_for_the_role_that_it_has_set(
    db: Database, stack: TestStack
) -> None:
    stack.role("doors_trainer", ("pgml_trainer",))
    make = "SELECT pgml.create_dataset_table('squatted', %s, %s::regrole)"
    columns = '[{"name": "a", "type": "real"}]'
    db.execute("SET ROLE doors_trainer")
    for owner in ("postgres", "pgml_admin"):
        with (
            pytest.raises(errors.InsufficientPrivilege, match="role doors_trainer may not make a table for"),
            db.transaction(),
        ):
            db.execute(make, [columns, owner])
    db.execute(make, [columns, "doors_trainer"])
    db.execute("RESET ROLE; DROP TABLE pgml.squatted")
    db.execute(make, [columns, "pgml_admin"])


def test_a_plain_user_makes_no_table(db: Database, stack: TestStack) -> None:
    stack.role("doors_user")
    db.execute("SET ROLE doors_user")
    with pytest.raises(errors.InsufficientPrivilege):
        db.execute("SELECT pgml.load_dataset('wine')")


def test_nobody_makes_a_table_for_somebody_else(stack: TestStack, db: Database) -> None:
    stack.role("doors_trainer", ("pgml_trainer",))
    with stack.connect("doors_trainer") as other:
        for owner in ("pgml_admin", "postgres"):
            with pytest.raises(errors.InsufficientPrivilege, match="may not make a table for"):
                other.execute(
                    "SELECT pgml.create_dataset_table('squatted', %s, %s::regrole)",
                    ['[{"name": "a", "type": "real"}]', owner],
                )
        with pytest.raises(errors.InvalidParameterValue, match="may not have a column of type"):
            other.execute(
                "SELECT pgml.create_dataset_table('squatted', %s, 'doors_trainer')",
                ['[{"name": "a", "type": "real DEFAULT pg_sleep(1)"}]'],
            )
    assert db.execute("SELECT to_regclass('pgml.squatted')").fetchone() == (None,)


@pytest.mark.parametrize("source", ["projects", "models"])
def test_a_table_of_the_extension_is_never_replaced(source: str, db: Database) -> None:
    before = db.execute("SELECT %s::regclass::oid", [f"pgml.{source}"]).fetchone()
    db.commit()
    with pytest.raises(errors.InvalidParameterValue, match=f'no data set is called "{source}"'):
        db.execute("SELECT pgml.load_dataset(%s)", [source])
    db.rollback()
    assert db.execute("SELECT %s::regclass::oid", [f"pgml.{source}"]).fetchone() == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("pgml.load_dataset('/etc/passwd')", 'no data set is called "/etc/passwd"'),
        ("pgml.load_dataset('csv', kwargs => '{\"data_files\": \"/etc/passwd\"}')", "data_files"),
        ("pgml.load_dataset('iris', \"limit\" => -1)", "limit is -1"),
    ],
)
def test_what_is_refused(call: str, message: str, db: Database) -> None:
    with pytest.raises(errors.InvalidParameterValue, match=message):
        db.execute(f"SELECT {call}")


def test_without_a_source(db: Database) -> None:
    with pytest.raises(errors.NullValueNotAllowed):
        db.execute("SELECT pgml.load_dataset(NULL)")


def test_the_names_of_snapshots_are_not_for_data_sets(db: Database) -> None:
    with pytest.raises(psycopg.errors.ReservedName, match="snapshot_7"):
        db.execute(
            "SELECT pgml.create_dataset_table('snapshot_7', %s, current_user::regrole)",
            ['[{"name": "a", "type": "real"}]'],
        )
