"""Fits as a whole: what is told, stored and refused; the same call gives the same bytes."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from typing import Any

import numpy as np
import pytest
from pgannex_server.tabular import artifact, estimators, predictor, search, tries
from pgannex_server.tabular.fit import check, fit
from pgannex_server.tabular.outcome import Outcome
from pgannex_wire import WireError
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from tabular_rows import Told, features_of, spec_of, table_of

IRIS, SPECIES = load_iris(return_X_y=True)
NAMES = ["setosa", "versicolor", "virginica"]


def fitted(
    columns: dict[str, Any], labels: list[str], task: str, algorithm: str = "linear", **more: Any
) -> tuple[Outcome, Told]:
    told = Told()
    nulls = more.pop("nulls", None)
    batch = more.pop("batch", 1000)
    spec = spec_of(columns, labels, task, algorithm, **more)
    return fit(spec, table_of(columns, labels, batch, nulls, spec), told), told


def loaded(outcome: Outcome) -> predictor.Predictor:
    found = predictor.load(*artifact.read(artifact.sign(outcome.body, b"k" * 32)))
    assert isinstance(found, predictor.Predictor)
    return found


def iris(**more: Any) -> tuple[Outcome, Told]:
    columns = {**features_of(IRIS), "species": SPECIES.astype(np.int32)}
    return fitted(columns, ["species"], "classification", **more)


def test_what_is_told_and_what_the_result_says() -> None:
    outcome, told = iris(algorithm="xgboost", hyperparams={"n_estimators": 3})
    assert told.lines[:4] == [
        "Dataset { num_features: 4, num_labels: 1, num_distinct_labels: 3, num_rows: 150, "
        "num_train_rows: 112, num_test_rows: 38 }",
        "Training Model { task: classification, algorithm: xgboost, runtime: python }",
        "Hyperparameter searches: 1, cross validation folds: 1",
        'Hyperparams: {"n_estimators": 3}',
    ]
    assert told.lines[4].startswith("Metrics: {")
    assert all(0 <= fraction <= 1 for fraction, _text in told.steps)
    found = outcome.result
    assert (found["rows"], found["train_rows"], found["test_rows"]) == (150, 112, 38)
    assert (found["num_features"], found["deployable"], found["reason"]) == (4, True, None)
    assert found["versions"]["xgboost"]
    assert found["analysis"] == {"samples": 150}
    assert len(found["rows_sha256"]) == 64
    column = found["columns"][-1]
    assert (column["name"], column["label"], column["pg_type"], column["position"]) == (
        "species",
        True,
        "int4",
        5,
    )
    assert set(column["statistics"]) == {
        "min", "max", "max_abs", "mean", "median", "mode", "variance", "std_dev", "missing", "distinct",
        "histogram", "ventiles", "categories",
    }  # fmt: skip


@pytest.mark.parametrize("algorithm", ["xgboost", "lightgbm", "random_forest", "linear"])
def test_the_same_rows_and_call_give_the_same_bytes(algorithm: str) -> None:
    more = {"algorithm": algorithm, "hyperparams": {} if algorithm == "linear" else {"n_estimators": 5}}
    first, _told = iris(**more)
    assert iris(**more, batch=37)[0].body == first.body
    if algorithm == "random_forest":
        assert iris(**more, seed=1)[0].body != first.body


@pytest.mark.parametrize("algorithm", ["linear", "xgboost", "lightgbm"])
def test_text_labels_have_codes_and_texts(algorithm: str) -> None:
    columns = {**features_of(IRIS), "species": [NAMES[at] for at in SPECIES]}
    outcome, _told = fitted(columns, ["species"], "classification", algorithm)
    model = loaded(outcome)
    values = model.predict(model.features(IRIS[[0, 60, 120]], 3))
    assert values.tolist() == [0, 1, 2]
    assert model.labels(values) == NAMES
    assert "roc_auc" not in outcome.result["metrics"]
    assert outcome.result["metrics"]["accuracy"] > 0.8


def test_numeric_classes_are_predicted_as_they_were_given() -> None:
    columns = {**features_of(IRIS), "species": (10 * SPECIES + 5).astype(np.float64)}
    outcome, _told = fitted(columns, ["species"], "classification", "xgboost")
    model = loaded(outcome)
    assert model.predict(model.features(IRIS[[0, 60, 120]], 3)).tolist() == [5, 15, 25]


def test_a_class_that_is_only_held_out_counts_as_missed() -> None:
    columns = {**features_of(IRIS[:120]), "species": SPECIES[:120].astype(np.int32)}
    outcome, _told = fitted(
        columns, ["species"], "classification", "xgboost", test_sampling="last", test_size=40
    )
    model = loaded(outcome)
    right = model.predict(model.features(IRIS[80:100], 20)) == 1
    assert outcome.result["metrics"]["accuracy"] == pytest.approx(right.sum() / 40)


def test_two_classes_are_measured_for_the_second() -> None:
    matrix, y = load_breast_cancer(return_X_y=True)
    columns = {**features_of(matrix[:, :5]), "malignant": (y == 0)}
    outcome, _told = fitted(columns, ["malignant"], "classification", "random_forest")
    found = outcome.result["metrics"]
    assert {"roc_auc", "log_loss", "roc_auc_proba", "f1", "precision", "recall", "accuracy", "mcc"} <= set(
        found
    )
    assert found["roc_auc_proba"] > found["roc_auc"] > 0.8


# -- what is refused -------------------------------------------------------------------------------


def test_null_labels_are_refused_and_counted() -> None:
    columns = {"x": np.arange(20.0), "y": np.arange(20.0)}
    nulls = {"y": np.arange(20) % 10 == 0}
    with pytest.raises(WireError, match='The training data labels in "y" contain 2 NULL values'):
        fitted(columns, ["y"], "regression", nulls=nulls)


def test_missing_features_are_refused_and_counted() -> None:
    columns = {"x": np.arange(20.0), "y": np.arange(20.0)}
    nulls = {"x": np.arange(20) % 4 == 0}
    with pytest.raises(WireError, match=r"\d missing values for x\. You may provide a preprocessor"):
        fitted(columns, ["y"], "regression", nulls=nulls)
    outcome, _told = fitted(columns, ["y"], "regression", nulls=nulls, preprocess={"x": {"impute": "mean"}})
    assert loaded(outcome).rows(['{"x": null}']).shape == (1, 1)


@pytest.mark.parametrize(
    ("label", "task", "message"),
    [
        (["a", "b"] * 10, "regression", "which regression cannot predict"),
        (np.zeros(20), "classification", "the training rows have 1 class"),
        (np.r_[np.zeros(19), np.inf], "regression", "infinite values"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(label: Any, task: str, message: str) -> None:
    with pytest.raises(WireError, match=message) as caught:
        fitted({"x": np.arange(20.0), "y": label}, ["y"], task)
    assert caught.value.code == "bad_argument"


def test_no_rows_are_refused() -> None:
    spec = spec_of({"x": np.empty(1), "y": np.empty(1)}, ["y"], "regression")
    with pytest.raises(WireError, match="there are no rows"):
        fit(spec, table_of({"x": np.empty(0), "y": np.empty(0)}, ["y"]), Told())


@pytest.mark.parametrize(
    ("algorithm", "hyperparams", "message", "hint"),
    [
        ("ridge", {"alfa": 1}, "ridge has no hyperparameter `alfa`", "alpha"),
        ("xgboost", {"depth": 1}, "xgboost has no hyperparameter `depth`", "max_depth"),
        ("lightgbm", {"leafs": 1}, "lightgbm has no hyperparameter `leafs`", "num_leaves"),
        ("xgboost", {"eta": 0.1, "learning_rate": 0.1}, "are the same: learning_rate", "one of them"),
        ("ridge", {"alpha": "much"}, "ridge cannot be fitted: ", "much"),
    ],
)
def test_hyperparameters_that_the_library_has_not(
    algorithm: str, hyperparams: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(WireError, match=message) as caught:
        fitted(
            {"x": np.arange(20.0), "y": np.arange(20.0)},
            ["y"],
            "regression",
            algorithm,
            hyperparams=hyperparams,
        )
    assert caught.value.code == "bad_argument"
    assert hint in caught.value.hint


def has_gpu() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
@pytest.mark.parametrize(
    ("algorithm", "hyperparams"),
    [
        ("lightgbm", {"device": "cuda"}),
        ("xgboost", {"device": "cuda:0"}),
        ("xgboost", {"tree_method": "gpu_hist"}),
    ],
)
def test_a_gpu_that_is_not_there_is_said(algorithm: str, hyperparams: dict[str, Any]) -> None:
    columns = {"x": np.arange(20.0), "y": np.arange(20.0)}
    with pytest.raises(WireError) as caught:
        fitted(columns, ["y"], "regression", algorithm, hyperparams=hyperparams)
    assert caught.value.code == "engine_missing"
    assert "leave device out" in caught.value.hint


def test_a_wrong_hyperparameter_is_refused_before_the_rows() -> None:
    with pytest.raises(WireError, match="has no hyperparameter `nothing`"):
        check(
            spec_of({"x": np.empty(1), "y": np.empty(1)}, ["y"], "regression", search_params={"nothing": [1]})
        )


@pytest.mark.parametrize(
    ("algorithm", "task", "old", "new"),
    [
        ("xgboost", "regression", {"eta": 0.1, "lambda": 2, "boost_rounds": 7, "objective": "reg:linear"},
         {"learning_rate": 0.1, "reg_lambda": 2, "n_estimators": 7, "objective": "reg:squarederror"}),
        ("xgboost", "classification", {"grow_policy": "loss_guide", "booster": "linear", "sketch_eps": 1},
         {"grow_policy": "lossguide", "booster": "gblinear"}),
        ("linear", "classification", {"alpha": 4, "max_iterations": 9}, {"C": 0.25, "max_iter": 9}),
        ("svm", "regression", {"kernel": "poli", "eps": 0.01}, {"kernel": "poly", "tol": 0.01}),
        ("lightgbm", "regression", {"num_leaves": 3}, {"num_leaves": 3}),
    ],
)  # fmt: skip
def test_names_of_the_other_runtime_are_translated(
    algorithm: str, task: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    spec = spec_of(
        {"x": np.empty(1), "y": np.empty(1)}, ["y"], task, algorithm, runtime="rust", hyperparams=old
    )
    check(spec)
    assert estimators.translated(spec, old) == new


def test_an_objective_for_many_classes_does_for_two() -> None:
    columns = {**features_of(IRIS[:100]), "y": SPECIES[:100].astype(np.int32)}
    for objective in ("multi:softmax", "multi:softprob", "binary:logistic"):
        outcome, _told = fitted(
            columns, ["y"], "classification", "xgboost", hyperparams={"objective": objective}
        )
        assert outcome.result["metrics"]["accuracy"] == 1.0


# -- models that should not serve ------------------------------------------------------------------


def test_constant_predictions_are_not_deployable() -> None:
    matrix, y = load_diabetes(return_X_y=True)
    outcome, _told = fitted(
        {**features_of(matrix), "y": y}, ["y"], "regression", "lasso", hyperparams={"alpha": 1e6}
    )
    assert not outcome.result["deployable"]
    assert "the same value" in outcome.result["reason"]


def test_a_metric_that_is_no_number_is_null_and_not_deployable() -> None:
    columns = features_of(IRIS)
    outcome, _told = fitted(columns, [], "clustering", "kmeans", hyperparams={"n_clusters": 1})
    assert outcome.result["metrics"]["silhouette"] is None
    assert not outcome.result["deployable"]
    assert "not a number" in outcome.result["reason"]
    json.dumps(outcome.result, allow_nan=False)


# -- search ----------------------------------------------------------------------------------------


def test_a_grid_with_folds_is_fitted_anew_with_the_best() -> None:
    outcome, told = iris(
        algorithm="ridge", search="grid", search_params={"alpha": [1e6, 0.1]}, search_args={"cv": 3},
        hyperparams={"fit_intercept": True},
    )  # fmt: skip
    assert "Hyperparameter searches: 2, cross validation folds: 3" in told.lines
    found = outcome.result["metrics"]["search_results"]
    assert found["params"] == [{"alpha": 1e6}, {"alpha": 0.1}]
    assert (found["n_splits"], found["best_index"], found["param_alpha"]) == (3, 1, [1e6, 0.1])
    assert found["mean_test_score"][1] == pytest.approx(
        np.mean([found[f"split{k}_test_score"][1] for k in range(3)])
    )
    assert outcome.result["hyperparams"] == {"fit_intercept": True, "alpha": 0.1}
    assert outcome.body == iris(algorithm="ridge", hyperparams={"fit_intercept": True, "alpha": 0.1})[0].body
    for key in ("mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time", "std_test_score"):
        assert len(found[key]) == 2


def test_search_params_alone_are_a_grid_without_folds() -> None:
    outcome, told = iris(algorithm="ridge", search_params={"alpha": [0.1, 1]})
    assert "Hyperparameter searches: 2, cross validation folds: 1" in told.lines
    assert outcome.result["metrics"]["search_results"]["n_splits"] == 1


def test_random_search_draws_without_replacement_and_by_the_seed() -> None:
    columns = {**features_of(IRIS), "y": SPECIES}
    more = {"search": "random", "search_params": {"alpha": list(range(1, 9)), "tol": [0.1, 0.2]}}
    spec = spec_of(columns, ["y"], "classification", "ridge", search_args={"n_iter": 5}, **more)
    drawn = search.combinations(spec)
    assert len({json.dumps(found) for found in drawn}) == len(drawn) == 5
    assert search.combinations(spec) == drawn
    assert len(search.combinations(spec_of(columns, ["y"], "classification", "ridge", **more))) == 10
    assert search.folds_of(spec) == 5


def test_an_error_of_a_try_is_the_caller_s() -> None:
    with pytest.raises(WireError, match="ridge cannot be fitted"):
        iris(algorithm="ridge", search="grid", search_params={"alpha": [1, -1]}, search_args={"cv": 2})


def test_tries_run_side_by_side_and_keep_their_order() -> None:
    done: list[int] = []
    found = tries.run(lambda index: {"score": float(index)}, 7, 3, done.append)
    assert [scores["score"] for scores in found] == [0, 1, 2, 3, 4, 5, 6]
    assert done == [1, 2, 3, 4, 5, 6, 7]


def test_a_try_that_dies_is_want_of_memory() -> None:
    def die(index: int) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    with pytest.raises(MemoryError, match="was killed"):
        tries.run(die, 3, 2, lambda done: None)
