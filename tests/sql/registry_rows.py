"""Models in the registry without a fit: stored from rows like those that the server sends."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]
TABLES = ("projects", "snapshots", "models", "deployments", "files")
NUMBERS = "CREATE TABLE public.numbers AS SELECT g::real AS x, g % 2 AS y FROM generate_series(1, 20) AS g"


def one(db: Database, sql: str, *values: Any) -> Any:
    """The only row, or its only value."""
    rows = db.execute(sql, values).fetchall()
    assert len(rows) == 1, rows
    return rows[0][0] if len(rows[0]) == 1 else rows[0]


def stored(
    db: Database,
    project: str = "shop",
    score: float | None = 0.5,
    artifact: str = "hash",
    parts: int = 2,
    **facts: Any,
) -> int:
    """A model as pgml.train leaves it: its id. Deployed if it is no worse."""
    result = {
        "num_features": 1, "algorithm": "linear", "runtime": "python", "hyperparams": {}, "rows": 20,
        "metrics": {"r2": score, "fit_time": 1}, "hash": artifact, "seed": 7, "deployable": True,
    } | facts  # fmt: skip
    role = one(db, "SELECT current_user::text")
    db.execute(
        f"""
        CREATE OR REPLACE FUNCTION pg_temp.store_{role}(project text, result jsonb, parts int) RETURNS bigint
            LANGUAGE plpgsql AS $$
        DECLARE
            owner pgml.projects := pgml.project_to_train(project, 'regression');
            taken pgml.snapshots := pgml.take_snapshot('numbers', ARRAY['y'], 0.25, 'last', false, '{{}}');
            model pgml.models;
            rows CURSOR FOR SELECT p AS part, convert_to('part ' || p, 'UTF8') AS data, result
                FROM generate_series(0, parts - 1) AS p;
        BEGIN
            OPEN rows;
            model := pgml.store_model(
                rows, owner.id, taken.id, '{{"search_params": {{}}, "search_args": {{}}}}');
            CLOSE rows;
            PERFORM pgml.deploy_if_better(owner, model, true);
            RETURN model.id;
        END $$"""
    )
    return int(one(db, f"SELECT pg_temp.store_{role}(%s, %s, %s)", project, json.dumps(result), parts))


def said(db: Database) -> list[tuple[str, str]]:
    """A list that fills with (severity, message) of what the database says."""
    heard: list[tuple[str, str]] = []
    db.add_notice_handler(lambda d: heard.append((d.severity or "", d.message_primary or "")))
    return heard


def counts(db: Database) -> dict[str, int]:
    return {table: int(one(db, f"SELECT count(*) FROM pgml.{table}")) for table in TABLES}


def refused(db: Database, sql: str) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        db.execute(sql)
    return caught.value
