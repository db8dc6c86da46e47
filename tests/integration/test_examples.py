"""The tours in examples/ run to their end, and what they leave behind is what they promise.

Each file gets a database of its own and is fed to psql, which stops at the first error. Then the
registry is asked: is every algorithm of the tour there, are the models any good, is what was
deployed deployed? What psql printed is in the message of a failure.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from teststack import TestStack

Database = psycopg.Connection[tuple[Any, ...]]
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
LINEAR = "ridge stochastic_gradient_descent passive_aggressive"
BOTH = (
    "svm nu_svm linear_svm knn ada_boost bagging extra_trees gradient_boosting_trees"
    " hist_gradient_boosting random_forest xgboost xgboost_random_forest lightgbm gaussian_process"
)
CLASSIFICATION = {*f"linear perceptron {LINEAR} {BOTH}".split()}
REGRESSION = {
    *f"linear lasso elastic_net least_angle lasso_least_angle orthogonal_matching_pursuit bayesian_ridge"
    f" automatic_relevance_determination ransac theil_sen huber quantile kernel_ridge {LINEAR} {BOTH}".split()
}
CLUSTERING = {*["kmeans", "mini_batch_kmeans", "affinity_propagation", "birch", "mean_shift"]}
FURTHER_CLUSTERING = {"dbscan", "optics", "spectral", "agglomerative", "feature_agglomeration"}

pytestmark = pytest.mark.timeout(400)


def _rows(db: Database, sql: str) -> list[tuple[Any, ...]]:
    return db.execute(sql).fetchall()


def _metrics(db: Database, project: str, metric: str) -> dict[str, float]:
    """The best figure of each algorithm of a project."""
    found = db.execute(
        "SELECT m.algorithm, max((m.metrics ->> %s)::float8) FROM pgml.models AS m"
        " JOIN pgml.projects AS p ON p.id = m.project_id WHERE p.name = %s GROUP BY 1",
        [metric, project],
    )
    return {str(algorithm): float(value) for algorithm, value in found}


def _deployed(db: Database, project: str) -> str:
    row = db.execute("SELECT algorithm FROM pgml.deployed_models WHERE name = %s", [project]).fetchone()
    assert row is not None
    return str(row[0])


def _sections(output: str, *heads: str) -> str:
    """The part of the output that begins with a table of these columns."""
    pattern = r"^ *" + r" *\| *".join(map(re.escape, heads)) + r" *$"
    match = re.search(pattern, output, re.MULTILINE)
    assert match is not None, f"no table of {heads}"
    return output[match.end() :].split("\n(")[0]


def binary_classification(db: Database, output: str) -> None:
    f1 = _metrics(db, "Breast Cancer Detection", "f1")
    assert set(f1) == CLASSIFICATION
    for algorithm in ("linear", "xgboost", "random_forest", "lightgbm", "ada_boost"):
        assert f1[algorithm] > 0.85, algorithm
    search = _rows(
        db, "SELECT metrics -> 'search_results' -> 'params' FROM pgml.models WHERE search = 'grid'"
    )
    assert [len(row[0]) for row in search] == [6]
    best = _rows(
        db, "SELECT algorithm FROM pgml.models ORDER BY (metrics ->> 'f1')::float8 DESC, id DESC LIMIT 1"
    )
    scores = _metrics(db, "Breast Cancer Detection", "f1")
    assert scores[_deployed(db, "Breast Cancer Detection")] == pytest.approx(scores[best[0][0]])
    strategies = [row[0] for row in _rows(db, "SELECT strategy::text FROM pgml.deployments ORDER BY id")]
    assert {"new_score", "most_recent", "best_score", "rollback"} <= set(strategies)
    counts = dict.fromkeys(("t 1", "f 0", "t 0", "f 1"), 0)
    for line in _sections(output, "malignant", "prediction", "count").splitlines()[2:]:
        truth, predicted, count = (cell.strip() for cell in line.split("|"))
        counts[f"{truth} {predicted}"] += int(count)
    assert sum(counts.values()) == 569
    assert counts["t 1"] + counts["f 0"] > 500


def image_classification(db: Database, output: str) -> None:
    accuracy = _metrics(db, "Handwritten Digits", "accuracy")
    assert set(accuracy) == CLASSIFICATION - {"gaussian_process"}
    assert accuracy["linear"] > 0.9
    assert accuracy["svm"] > 0.95
    assert accuracy["random_forest"] > 0.85
    scores = _rows(
        db,
        "SELECT metrics -> 'search_results' -> 'mean_test_score' FROM pgml.models WHERE search = 'grid'",
    )
    assert [len(row[0]) for row in scores] == [2]
    lines = _sections(output, "predicted", "target").splitlines()[2:]
    assert len(lines) == 5
    assert sum(line.split("|")[0].strip() == "0" for line in lines) >= 4


def multi_classification(db: Database, output: str) -> None:
    f1 = _metrics(db, "Iris Flower Types", "f1")
    assert set(f1) - {"catboost"} == CLASSIFICATION
    assert max(f1.values()) > 0.9
    assert f1["random_forest"] > 0.85
    lines = _sections(output, "species", "predicted").splitlines()[2:]
    assert len(lines) == 10
    assert sum(len({cell.strip() for cell in line.split("|")}) == 1 for line in lines) >= 9


def regression(db: Database, output: str) -> None:
    r2 = _metrics(db, "Diabetes Progression", "r2")
    assert set(r2) - {"catboost"} == REGRESSION
    for algorithm in ("linear", "ridge", "lasso", "bayesian_ridge"):
        assert r2[algorithm] > 0.3, algorithm
    deployed = _deployed(db, "Diabetes Progression")
    assert r2[deployed] == max(r2.values())
    searched = _rows(db, "SELECT search, algorithm FROM pgml.models WHERE search IS NOT NULL ORDER BY id")
    assert searched == [("grid", "xgboost"), ("random", "ridge")]
    seeds = _rows(
        db, "SELECT count(*) FROM pgml.models WHERE seed IS NULL OR rows <> 442 OR versions IS NULL"
    )
    assert seeds == [(0,)]
    assert '"mae"' in output


def joint_regression(db: Database, output: str) -> None:
    r2 = _metrics(db, "Exercise vs Physiology", "r2")
    assert set(r2) == REGRESSION - {"hist_gradient_boosting"}
    ((answer,),) = _rows(db, "SELECT pgml.predict_joint('Exercise vs Physiology', ARRAY[5, 160, 60])")
    assert len(answer) == 3
    assert 100 < answer[0] < 300
    assert 25 < answer[1] < 50
    assert 40 < answer[2] < 80


def clustering(db: Database, output: str) -> None:
    silhouettes = _metrics(db, "Handwritten Digit Clusters", "silhouette")
    assert set(silhouettes) == CLUSTERING - {"mean_shift"}
    assert silhouettes["kmeans"] > 0.1
    assert set(_metrics(db, "Few Digit Clusters", "silhouette")) == {"mean_shift", *FURTHER_CLUSTERING}
    assert set(_metrics(db, "Iris Clusters", "silhouette")) == {"spectral_bi", "spectral_co"}
    lines = _sections(output, "cluster", "mostly", "images", "share").splitlines()[2:]
    assert len(lines) == 10
    assert len({line.split("|")[1].strip() for line in lines}) >= 7


def decomposition(db: Database, output: str) -> None:
    kept = [row[0] for row in _rows(
        db, "SELECT (metrics ->> 'cumulative_explained_variance')::float8 FROM pgml.models"
            " WHERE algorithm = 'pca' ORDER BY id")]  # fmt: skip
    assert kept[0] == pytest.approx(1, abs=1e-3)
    assert 0.35 < kept[1] < 0.5
    ((components,),) = _rows(
        db, "SELECT pgml.decompose('Handwritten Digits Reduction', image) FROM pgml.digits LIMIT 1"
    )
    assert len(components) == 3
    nearest = _sections(output, "id", "target", "distance").splitlines()[2:]
    assert sum(line.split("|")[1].strip() == "0" for line in nearest) >= 3


def vectors(db: Database, output: str) -> None:
    for said in (
        "{4,5,6}",
        "3.7417",
        "{-1,-2,-3,-4}",
        "{-2,-4,-6,-8}",
        "{1,2,3,4}",
        "{0,0,0,0}",
        "{2,4,6,8}",
    ):
        assert said in output


def preprocessing(db: Database, output: str) -> None:
    r2 = _metrics(db, "Diamond Prices", "r2")
    assert r2["lightgbm"] > 0.85
    ((fine, poor, unknown),) = _rows(
        db,
        "SELECT pgml.predict('Diamond Prices', (1.5, 'Ideal', 'D', 61)),"
        " pgml.predict('Diamond Prices', (1.5, 'Fair', 'J', 61)),"
        " pgml.predict('Diamond Prices', (NULL::float8, 'Good', 'G', 61))",
    )
    assert fine > 1.2 * poor > 0
    assert unknown > 0


def anomalies(db: Database, output: str) -> None:
    assert _deployed(db, "Odd Payments") == "isolation_forest"
    ((algorithms,),) = _rows(db, "SELECT count(DISTINCT algorithm) FROM pgml.models")
    assert algorithms == 3
    ((right, wrong),) = _rows(
        db,
        "SELECT count(*) FILTER (WHERE odd AND flagged), count(*) FILTER (WHERE flagged AND NOT odd)"
        " FROM (SELECT odd, pgml.is_anomaly('Odd Payments', ARRAY[amount, hour, items]) AS flagged"
        "       FROM payment) AS p",
    )
    assert right >= 9
    assert wrong <= 10
    assert _sections(output, "key", "odd").count("| t") >= 9


def forecasting(db: Database, output: str) -> None:
    rows = _rows(db, "SELECT series, step, at::date - DATE '2025-12-30', prediction, lower, upper"
                     " FROM pgml.forecast('Sales') ORDER BY series, step")  # fmt: skip
    steps = range(1, 15)
    assert [(row[0], row[1]) for row in rows] == [(s, i) for s in ("north", "south") for i in steps]
    assert [row[2] for row in rows] == [*range(1, 15)] * 2
    for series, _step, _at, prediction, lower, upper in rows:
        assert lower < prediction < upper
        level = {"north": 236, "south": 156}[series]
        assert abs(prediction - level) < 60


CHECKS: dict[str, Callable[[Database, str], None]] = {
    check.__name__: check
    for check in (binary_classification, image_classification, multi_classification, regression,
                  joint_regression, clustering, decomposition, vectors, preprocessing, anomalies, forecasting)
}  # fmt: skip


def test_every_tour_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.sql")} == set(CHECKS)


@pytest.fixture
def database(stack: TestStack, request: pytest.FixtureRequest) -> Iterator[str]:
    name = "example_" + re.sub(r"\W", "_", request.node.callspec.params["name"])
    with stack.connect() as db:
        db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        db.execute(f"CREATE DATABASE {name}")
        yield name
        db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.mark.parametrize("name", CHECKS)
def test_a_tour_does_what_it_promises(name: str, stack: TestStack, database: str) -> None:
    dsn = f"{stack.dsn} dbname={database}"
    psql = str(stack.stack.cluster.installation.bin / "psql")
    ended = subprocess.run(
        [psql, "-X", "-d", dsn, "-f", str(EXAMPLES / f"{name}.sql")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=380,
        env={**os.environ, "PAGER": "", "LC_ALL": "C.UTF-8"},
    )
    assert ended.returncode == 0, ended.stdout[-6000:]
    with psycopg.connect(dsn, autocommit=True) as db:
        CHECKS[name](db, ended.stdout)
