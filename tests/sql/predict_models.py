"""The models that the tests of prediction ask: made once for a module, in a schema `doors`.

A plane, flowers with text labels, two targets at once, a decomposition, anomalies, and a model
that was never deployed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
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


@contextlib.contextmanager
def predictors(stack: TestStack) -> Iterator[TestStack]:
    """The stack with these models in it, until the block ends."""
    with stack.connect() as db:
        db.execute(TEARDOWN)
        db.execute(SETUP)
        yield stack
        db.execute(TEARDOWN)


@contextlib.contextmanager
def asking(stack: TestStack) -> Iterator[Database]:
    """A superuser's connection in a transaction, with `doors` in its search_path."""
    with stack.connect(autocommit=False) as connection:
        connection.execute("SET search_path = doors, public")
        yield connection


def value(db: Database, sql: str, parameters: Any = None) -> Any:
    """The first value of the first row."""
    row = db.execute(sql, parameters).fetchone()
    assert row is not None
    return row[0]


def model_of(db: Database, project: str) -> int:
    return int(
        value(
            db,
            "SELECT m.id FROM pgml.models AS m JOIN pgml.projects AS p ON p.id = m.project_id"
            " WHERE p.name = %s",
            [project],
        )
    )
