"""The specification of a training: what is taken, and what is said of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pgannex_server.tabular.algorithms import ALGORITHMS, for_task
from pgannex_server.tabular.spec import SEED, TrainSpec
from pgannex_wire import WireError

COLUMNS = [{"name": "x", "pg_type": "float8"}, {"name": "y", "pg_type": "int4", "label": True}]


def parse(**more: Any) -> TrainSpec:
    call = {"project": "p", "task": "regression", "algorithm": "linear", "columns": COLUMNS, **more}
    return TrainSpec.parse(json.dumps(call))


def test_what_is_left_out_has_a_default() -> None:
    spec = parse()
    assert (spec.seed, spec.test_size, spec.test_sampling, spec.search) == (SEED, 0.25, "stratified", None)
    assert [column.name for column in spec.features] == ["x"]
    assert [column.name for column in spec.labels] == ["y"]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("clustering", "kmeans"),
        ("cluster", "kmeans"),
        ("decomposition", "pca"),
        ("anomaly", "isolation_forest"),
    ],
)
def test_linear_is_the_task_s_own_default_where_nothing_is_linear(task: str, expected: str) -> None:
    assert parse(task=task).algorithm == expected


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"task": "cooking"}, "there is no task"),
        ({"algorithm": "magic"}, 'there is no algorithm "magic"'),
        ({"algorithm": "pca"}, "pca does not support regression"),
        ({"algorithm": "lasso", "task": "classification"}, "lasso does not support classification"),
        ({"runtime": "openai"}, "OpenAI runtime is not supported for training or inference"),
        ({"hyperparams": [1]}, "hyperparams is [1]"),
        ({"hyperparams": {"a": 1}, "search_params": {"a": [1]}}, "`a` is in both"),
        ({"search_params": {"a": 1}}, "search_params `a` is 1"),
        ({"search_args": {"folds": 2}}, "Unknown search_args => folds"),
        ({"search": "all"}, 'search is "all"'),
        ({"test_size": 0}, "test_size = 0"),
        ({"test_sampling": "middle"}, 'test_sampling is "middle"'),
        ({"preprocess": {"x": {"impute": "guess"}}}, 'impute of column "x" is "guess"'),
        ({"preprocess": {"x": {"scale": "big"}}}, 'scale of column "x" is "big"'),
        ({"preprocess": {"x": {"encode": "hash"}}}, 'encode of column "x" is "hash"'),
        ({"seed": -1}, "seed is -1"),
        ({"columns": []}, "no columns"),
        ({"columns": COLUMNS[:1]}, "You must pass a `y_column_name`"),
        ({"columns": [*COLUMNS, COLUMNS[0]]}, 'two columns "x"'),
        ({"columns": COLUMNS[1:]}, "no column to learn from"),
    ],
)
def test_what_cannot_be_fitted_is_a_bad_argument_that_names_it(more: dict[str, Any], message: str) -> None:
    with pytest.raises(WireError) as caught:
        parse(**more)
    assert caught.value.code == "bad_argument"
    assert message in caught.value.message
    assert caught.value.hint


def test_unknown_columns_of_preprocess_are_ignored() -> None:
    assert parse(preprocess={"z": {"impute": "mean", "more": 1}}).preprocess["z"].impute == "mean"


def test_the_counts_of_the_table() -> None:
    assert len(for_task("regression")) == 31
    assert len(for_task("classification")) == 20
    assert {"kmeans", "mini_batch_kmeans", "affinity_propagation", "birch", "mean_shift"} <= set(
        for_task("clustering")
    )
    assert "pca" in for_task("decomposition")
    assert all(row.tasks for row in ALGORITHMS.values())
