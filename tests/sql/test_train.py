"""pgml.train and its like as SQL: what they refuse, what they write, whose rows they read.

Models are small and quick; that each algorithm learns what it should is tested elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from registry_rows import TABLES, counts, one, refused, said

Database = psycopg.Connection[tuple[Any, ...]]
FLOWERS = """
    CREATE TABLE {name} AS
    SELECT (g % 7)::real AS a, (g % 5)::float8 AS b, (g * 37 % 11)::smallint AS c, (g % 7 > 3)::int AS y
    FROM generate_series(1, 200) AS g
"""
CLASSIFIER = "'p', 'classification', 'flowers', 'y'"
PLAIN = "'p', 'regression', 'flowers', 'y'"


@pytest.fixture(autouse=True)
def native(host: str) -> None:
    if host != "native":
        pytest.skip("only the native host trains")


@pytest.fixture
def flowers(db: Database) -> Database:
    """A table of 200 rows whose label y follows from a, in the transaction of the test."""
    db.execute(FLOWERS.format(name="public.flowers"))
    return db


def train(db: Database, more: str = "", relation: str = "flowers") -> tuple[Any, ...]:
    """Train a classifier of y for project p; `more` arguments begin with a comma. The row that comes."""
    call = f"SELECT * FROM pgml.train('p', 'classification', %s, 'y'{more})"
    return tuple(one(db, call, relation))


# -- what is refused ---------------------------------------------------------------------------


REFUSALS = (
    ("'p'", "42704", "Project `p` does not exist. To create a new project, you must specify a `task`."),
    ("'p', 'telling fortunes'", "22023", 'there is no task "telling fortunes"'),
    ("'p', 'text-classification'", "22023", "use pgml.tune for transformers tasks"),
    ("'p', 'regression'", "22023", "You must pass a `relation_name` and `y_column"),
    ("'p', 'regression', 'flowers'", "22023", "You must pass a `y_column_name` when you pass a `"),
    ("NULL, 'regression', 'flowers', 'y'", "22004", "a project needs a name"),
    ("'', 'regression', 'flowers', 'y'", "22023", "the name of the project is empty"),
    (PLAIN + ", 'xgbost'::text", "22023", 'there is no algorithm "xgbost"'),
    (PLAIN + ", search => 'gird'::text", "22023", 'there is no search "gird"'),
    (PLAIN + ", test_sampling => 'shuffled'::varchar", "22023", 'there is no sampling "shuffled"'),
    (PLAIN + ", preprocess => '[]'", "22023", "preprocess is [], not an object"),
    (PLAIN + ", preprocess => 'null'", "22023", "preprocess is null, not an object"),
    ("'p', 'regression', 'nowhere', 'y'", "42P01", 'Relation "nowhere" could not be found in the public'),
    ("'p', 'regression', 'some.where', 'y'", "42P01", 'Relation "some"."where" doesn\'t exist'),
    ("'p', 'regression', 'flowers', 'z'", "42703", "Column `z` not found. Did you pass the correct"),
    ("'p', 'regression', 'odd', 'y'", "0A000", 'Unhandled type for quantitative scalar column: j "jsonb"'),
    ("'p', 'regression', 'texts', 'y'", "0A000", 'Unhandled type for quantitative array column: t "text[]"'),
    ("'p', 'regression', 'holes', 'y'", "22023", "missing values for a. You may provide a preprocessor"),
    ("'p', 'regression', 'holes', 'a'", "22023", 'training data labels in "a" contain 2 NULL values'),
    ("'p', 'regression', 'uneven', 'y'", "22023", "Mismatched array length for feature `v`. Expected: 2"),
    (PLAIN + ", test_size => 5000", "22023", "is too large. There are only 200 samples."),
    (PLAIN + ", 'ridge', '{\"alpha\": 1}', 'grid', '{\"alpha\": [1]}'", "22023", "`alpha` is in both"),
    (PLAIN + ", search => 'grid', search_args => '{\"n\": 1}'", "22023", "Unknown search_args => n"),
    (PLAIN + ", 'ridge', search => 'grid', search_params => '{\"alpha\": 1}'", "22023", "alpha"),
    (PLAIN + ", 'perceptron'", "22023", "perceptron does not support regression"),
    ("'p', 'clustering', 'flowers', NULL, 'xgboost'", "22023", "xgboost does not support clustering"),
    (PLAIN + ", runtime => 'openai'", "0A000", "OpenAI runtime is not supported"),
    (PLAIN + ", 'ridge', '{\"no_such\": 1}'", "22023", "no_such"),
    (PLAIN + ", preprocess => '{\"a\": {\"scale\": \"huge\"}}'", "22023", "huge"),
    (PLAIN + ", preprocess => '{\"a\": 1}'", "22023", "preprocess of column"),
)  # fmt: skip


@pytest.mark.parametrize(("call", "sqlstate", "message"), REFUSALS)
def test_what_it_refuses(call: str, sqlstate: str, message: str, flowers: Database) -> None:
    flowers.execute("""
        CREATE TABLE odd AS SELECT 1 AS y, '{}'::jsonb AS j;
        CREATE TABLE texts AS SELECT 1 AS y, '{a}'::text[] AS t;
        CREATE TABLE holes AS SELECT nullif(g % 5, 0) % 3 AS a, g % 2 AS y FROM generate_series(1, 14) AS g;
        CREATE TABLE uneven AS SELECT CASE g WHEN 9 THEN '{1,2,3}' ELSE '{1,2}' END::real[] AS v, g AS y
            FROM generate_series(1, 10) AS g""")
    before = counts(flowers)
    error = refused(flowers, f"SELECT * FROM pgml.train({call})")
    assert message in str(error), error
    assert error.sqlstate == sqlstate, error
    assert error.diag.message_hint, "no hint"
    assert counts(flowers) == before


def test_another_task_for_a_project_that_is_there(flowers: Database) -> None:
    flowers.execute("SELECT * FROM pgml.train('p', 'regression', 'flowers', 'y')")
    error = refused(flowers, "SELECT * FROM pgml.train('p', 'classification', 'flowers', 'y')")
    assert error.sqlstate == "22023"
    assert "Project `p` already exists with a different task: `regression`. Create a new project" in str(
        error
    )


# -- what it writes ------------------------------------------------------------------------------


def test_the_answer_is_postgresmls(flowers: Database) -> None:
    cursor = flowers.execute(f"SELECT * FROM pgml.train({CLASSIFIER}, 'xgboost')")
    assert [c.name for c in cursor.description or ()] == ["project", "task", "algorithm", "deployed"]
    assert cursor.fetchall() == [("p", "classification", "xgboost", True)]
    model = one(flowers, "SELECT id FROM pgml.models")
    facts = one(flowers, """
        SELECT status, algorithm, num_features, rows, length(artifact), length(rows_sha256), seed IS NOT NULL,
               versions ? 'xgboost', reason FROM pgml.models""")  # fmt: skip
    assert facts == ("successful", "xgboost", 3, 200, 64, 64, True, True, None)
    f1, metrics, hash_ = one(flowers, "SELECT (metrics->>'f1')::float, metrics, artifact FROM pgml.models")
    assert f1 > 0.9 and {"accuracy", "mcc", "fit_time"} <= set(metrics)
    assert one(flowers, "SELECT serving_model, serving FROM pgml.projects") == (model, hash_)
    assert one(flowers, "SELECT model_id, strategy FROM pgml.deployments") == (model, "new_score")
    assert one(flowers, "SELECT encode(sha256(data), 'hex') FROM pgml.files") == hash_
    snapshot = one(
        flowers, "SELECT relation_name, y_column_name, status, analysis->>'samples' FROM pgml.snapshots"
    )
    assert snapshot == ("public.flowers", ["y"], "successful", "200")
    stats = flowers.execute("""
        SELECT name, label, min, max, missing FROM pgml.feature_stats((SELECT id FROM pgml.snapshots))
        ORDER BY "position" """).fetchall()  # fmt: skip
    assert stats == [
        ("a", False, 0, 6, 0),
        ("b", False, 0, 4, 0),
        ("c", False, 0, 10, 0),
        ("y", True, 0, 1, 0),
    ]


def test_the_same_call_on_the_same_rows_gives_the_same_model(flowers: Database) -> None:
    for sampling in ("random", "stratified"):
        for _ in range(2):
            train(flowers, f", 'random_forest', test_sampling => '{sampling}'")
    hashes = [row[0] for row in flowers.execute("SELECT artifact FROM pgml.models ORDER BY id")]
    assert hashes[0] == hashes[1] and hashes[2] == hashes[3] and hashes[0] != hashes[2]


def test_search_params_are_tried_without_a_search(flowers: Database) -> None:
    call = "SELECT * FROM pgml.train('p', 'regression', 'flowers', 'y', 'ridge', search_params => %s)"
    flowers.execute(call, ['{"alpha": [1000000, 0.001]}'])
    chosen, tried, folds = one(flowers, """
        SELECT hyperparams, metrics->'search_results'->'params', metrics->'search_results'->'n_splits'
        FROM pgml.models""")  # fmt: skip
    assert chosen == {"alpha": 0.001} and tried == [{"alpha": 1000000}, {"alpha": 0.001}]
    assert folds == 1
    flowers.execute(call, ['{"alpha": [7]}'])
    assert one(flowers, "SELECT hyperparams FROM pgml.models ORDER BY id DESC LIMIT 1") == {"alpha": 7}


def test_a_column_that_there_is_not_in_preprocess_is_a_warning(flowers: Database) -> None:
    heard = said(flowers)
    train(flowers, """, preprocess => '{"z": {"scale": "standard"}}'""")
    assert ("WARNING", "preprocess names what is no column of flowers: z") in heard


def test_arguments_of_a_driver_are_text(flowers: Database) -> None:
    flowers.execute(f"""
        PREPARE t (text, text, varchar) AS
        SELECT deployed FROM pgml.train({CLASSIFIER}, algorithm => $1, test_sampling => $2, runtime => $3)""")
    assert one(flowers, "EXECUTE t ('ridge', 'last', 'python')") is True


def test_without_a_relation_the_last_snapshot_is_used(flowers: Database) -> None:
    train(flowers, """, test_size => 0.5, preprocess => '{"b": {"scale": "standard"}}'""")
    flowers.execute("SELECT * FROM pgml.train('p', algorithm => 'ridge')")
    assert counts(flowers)["snapshots"] == 1
    rows = flowers.execute(
        "SELECT algorithm, snapshot_id = (SELECT id FROM pgml.snapshots) FROM pgml.models ORDER BY id"
    ).fetchall()
    assert rows == [("linear", True), ("ridge", True)]
    scaled = one(flowers, """
        SELECT c->'preprocessor'->>'scale' FROM pgml.snapshots, jsonb_array_elements(columns) AS c
        WHERE c->>'name' = 'b'""")  # fmt: skip
    assert scaled == "standard"


def test_a_materialized_snapshot_keeps_the_rows(flowers: Database) -> None:
    train(flowers, ", materialize_snapshot => true")
    flowers.execute("DELETE FROM flowers WHERE a < 6; DROP TABLE flowers")
    flowers.execute("SELECT * FROM pgml.train('p', algorithm => 'ridge')")
    assert flowers.execute("SELECT rows FROM pgml.models").fetchall() == [(200,), (200,)]
    assert one(flowers, "SELECT DISTINCT count(DISTINCT rows_sha256) FROM pgml.models") == 1


def test_a_worse_model_is_not_deployed_and_says_so(flowers: Database) -> None:
    heard = said(flowers)
    train(flowers, ", 'xgboost'")
    row = one(flowers, "SELECT deployed FROM pgml.train('p', algorithm => 'xgboost', hyperparams =>"
                       " '{\"n_estimators\": 1, \"max_depth\": 1, \"learning_rate\": 0.0001}')")  # fmt: skip
    assert row is False
    assert ("WARNING", "Not deploying newly trained model.") in heard
    assert one(flowers, "SELECT count(*) FROM pgml.deployments") == 1


def test_a_model_that_is_no_good_is_not_deployed_and_says_why(flowers: Database) -> None:
    heard = said(flowers)
    flowers.execute("CREATE TABLE noise AS SELECT 1::real AS a, g % 2 AS y FROM generate_series(1, 40) AS g")
    assert train(flowers, relation="noise")[3] is False
    reason = one(flowers, "SELECT reason FROM pgml.models")
    assert reason and any(level == "WARNING" and reason in text for level, text in heard)
    assert one(flowers, "SELECT serving_model FROM pgml.projects") is None
    model = one(flowers, "SELECT id FROM pgml.models")
    assert one(flowers, "SELECT strategy FROM pgml.deploy(%s::bigint)", model) == "specific"


def test_deploying_can_be_left_out(flowers: Database) -> None:
    heard = said(flowers)
    assert train(flowers, ", automatic_deploy => false")[3] is False
    assert ("WARNING", "Automatic deployment disabled via configuration.") in heard
    assert one(flowers, "SELECT deployed FROM pgml.train('p', automatic_deploy => NULL)") is True


def test_it_tells_what_it_does(flowers: Database) -> None:
    heard = said(flowers)
    train(flowers)
    infos = "\n".join(text for level, text in heard if level == "INFO")
    for words in ("Snapshotting table", "num_train_rows", "Metrics", "Deploying model id"):
        assert words in infos, infos


def test_a_notice_in_a_transaction_block_alone(flowers: Database, connect: Callable[..., Database]) -> None:
    heard = said(flowers)
    train(flowers)
    assert any(level == "NOTICE" and "not committed yet" in text for level, text in heard)
    flowers.rollback()
    alone = connect(autocommit=True)
    heard = said(alone)
    alone.execute("DROP TABLE IF EXISTS public.flowers")
    alone.execute(FLOWERS.format(name="public.flowers"))
    try:
        train(alone)
        assert heard and not any("not committed" in text for _, text in heard)
    finally:
        alone.execute("DROP TABLE public.flowers; DELETE FROM pgml.projects; DELETE FROM pgml.snapshots")


# -- whose rows ------------------------------------------------------------------------------------


def test_rollback_leaves_nothing(flowers: Database, connect: Callable[..., Database]) -> None:
    before = counts(flowers)
    with pytest.raises(ZeroDivisionError), flowers.transaction():
        train(flowers, ", materialize_snapshot => true")
        kept = one(flowers, "SELECT 'pgml.snapshot_' || max(id) FROM pgml.snapshots")
        raise ZeroDivisionError
    assert counts(flowers) == before
    assert one(flowers, "SELECT to_regclass(%s)", kept) is None


def test_from_a_function_with_an_exception_block(flowers: Database) -> None:
    flowers.execute("""
        CREATE FUNCTION pg_temp.try(relation text) RETURNS text LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pgml.train('p', 'classification', relation, 'y');
            RETURN 'trained';
        EXCEPTION WHEN undefined_table OR invalid_parameter_value THEN
            RETURN sqlstate;
        END $$""")  # fmt: skip
    flowers.execute(
        "CREATE TABLE holes AS SELECT nullif(g, 3) AS a, g % 2 AS y FROM generate_series(1, 20) AS g"
    )
    assert one(flowers, "SELECT pg_temp.try('nowhere')") == "42P01"
    assert one(flowers, "SELECT pg_temp.try('holes')") == "22023"
    assert counts(flowers) == dict.fromkeys(TABLES, 0)
    assert one(flowers, "SELECT pg_temp.try('flowers')") == "trained"


@pytest.mark.parametrize(
    ("setup", "name", "rows"),
    [
        (FLOWERS.format(name="pg_temp.mine"), "mine", 200),
        ("CREATE VIEW few AS SELECT * FROM flowers WHERE a > 1", "few", 143),
        ("INSERT INTO flowers SELECT * FROM flowers", "flowers", 400),
        (FLOWERS.format(name='"My Data/set.v1"'), "My Data/set.v1", 200),
        ('CREATE SCHEMA "Big"; ' + FLOWERS.format(name='"Big"."set/one"'), "Big.set/one", 200),
        ('CREATE SCHEMA "Big"; ' + FLOWERS.format(name='"Big"."a.b"'), '"Big"."a.b"', 200),
        ("CREATE SCHEMA near; SET LOCAL search_path = near; " + FLOWERS.format(name="near.x"), "x", 200),
        ("SET LOCAL search_path = pg_catalog", "flowers", 200),
    ],
    ids=["temporary", "view", "uncommitted", "a strange name", "a strange name in a schema", "quoted",
         "search_path", "not in the search_path"],
)  # fmt: skip
def test_the_relation_may_be(setup: str, name: str, rows: int, flowers: Database) -> None:
    flowers.execute(setup)
    train(flowers, relation=name)
    assert one(flowers, "SELECT rows FROM pgml.models") == rows


def test_every_type_of_column(flowers: Database) -> None:
    flowers.execute(
        "CREATE TYPE public.colour AS ENUM ('red', 'green'); CREATE DOMAIN public.small AS numeric(4, 1)"
    )
    flowers.execute("""
        CREATE TABLE kinds AS SELECT g AS i4, g::bigint AS i8, g::smallint AS i2, g::real AS f4,
            g::float8 AS f8,
            (g / 3.0)::numeric AS n, (g % 10)::public.small AS d, g % 2 = 0 AS flag, 't' || g % 3 AS words,
            ('v' || g % 3)::varchar(9) AS v, (g % 4)::text::char(3) AS padded,
            (CASE WHEN g % 2 = 0 THEN 'red' ELSE 'green' END)::public.colour AS colour,
            '2024-01-01'::date + g AS day, '2024-01-01'::timestamp + g * interval '1 h' AS at,
            '2024-01-01'::timestamptz + g * interval '1 h' AS atz, ARRAY[g, g + 1]::numeric[] AS ns,
            ARRAY[[g, 1], [2, g]]::smallint[] AS square, ARRAY[g % 2 = 0, true] AS flags,
            g % 2 AS "Die Antwort"
        FROM generate_series(1, 60) AS g""")  # fmt: skip
    flowers.execute(
        "SELECT * FROM pgml.train('p', 'classification', 'kinds', 'Die Antwort', 'random_forest')"
    )
    rows = flowers.execute(
        "SELECT name, pg_type, size FROM pgml.feature_stats((SELECT id FROM pgml.snapshots))"
    ).fetchall()
    assert rows[-1][0] == "Die Antwort" and ("square", "int2[]", 4) in rows and ("d", "numeric", 1) in rows


def test_a_text_label(flowers: Database) -> None:
    flowers.execute(
        "ALTER TABLE flowers ALTER COLUMN y TYPE text USING CASE y WHEN 1 THEN 'rose' ELSE 'tulip' END"
    )
    assert (
        one(flowers, "SELECT deployed FROM pgml.train('p', 'classification', 'flowers', 'y', 'xgboost')")
        is True
    )


def test_several_labels(flowers: Database) -> None:
    row = one(flowers, "SELECT * FROM pgml.train_joint('p', 'regression', 'flowers', ARRAY['y', 'a'])")
    assert row == ("p", "regression", "linear", True)
    assert one(flowers, "SELECT y_column_name FROM pgml.snapshots") == ["y", "a"]
    error = refused(flowers, "SELECT * FROM pgml.train_joint('q', 'regression', 'flowers', ARRAY['y', 'z'])")
    assert error.sqlstate == "42703" and "`z`" in str(error)


@pytest.mark.parametrize(
    ("task", "algorithm"), [("clustering", "kmeans"), ("decomposition", "pca"), ("cluster", "kmeans")]
)
def test_without_a_label(task: str, algorithm: str, flowers: Database) -> None:
    row = one(flowers, "SELECT * FROM pgml.train('p', %s, 'flowers')", task)
    assert row == ("p", "clustering" if task == "cluster" else task, algorithm, True)
