"""Every algorithm of the table: what pgannex predicts is what the library would have.

For each task of each algorithm a model is fitted here, stored, and read back; then the library
is fitted directly to the same rows with the same seed. Both must say the same of the held-out
rows, and the metrics must be scikit-learn's. A new line of the table is tested by being there.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pgannex_server.tabular import artifact, estimators, predictor, sampling
from pgannex_server.tabular.algorithms import ALGORITHMS, Algorithm
from pgannex_server.tabular.fit import fit
from pgannex_server.tabular.outcome import Outcome
from pgannex_server.tabular.spec import SEED, TrainSpec
from pgannex_wire import WireError
from sklearn import metrics as sk
from sklearn.datasets import load_diabetes, load_iris, load_linnerud
from sklearn.multioutput import MultiOutputRegressor
from tabular_rows import Array, Told, features_of, spec_of, table_of
from threadpoolctl import threadpool_limits

KEY = b"k" * 32


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These rows are few: threads would only wait for each other."""
    with threadpool_limits(1):
        yield


FAST: dict[str, dict[str, Any]] = {
    "xgboost": {"n_estimators": 20},
    "xgboost_random_forest": {"n_estimators": 20},
    "lightgbm": {"n_estimators": 20},
    "catboost": {"n_estimators": 20},
    "random_forest": {"n_estimators": 20},
    "extra_trees": {"n_estimators": 20},
    "gradient_boosting_trees": {"n_estimators": 20},
    "hist_gradient_boosting": {"max_iter": 20},
    "theil_sen": {"max_subpopulation": 200},
    "automatic_relevance_determination": {"max_iter": 50},
    "spectral": {"n_clusters": 3},
    "spectral_bi": {"n_clusters": 3},
    "spectral_co": {"n_clusters": 3},
    "pca": {"n_components": 2},
    "feature_agglomeration": {"n_clusters": 2},
    "dbscan": {"eps": 0.8},
}
QUIET: dict[str, dict[str, Any]] = {
    "lightgbm": {"verbosity": -1},
    "catboost": {"verbose": False, "allow_writing_files": False},
}
PAIRS = [
    pytest.param(row, task, id=f"{task}-{row.name}")
    for row in ALGORITHMS.values()
    for task in row.tasks
    if task in ("regression", "classification", "clustering", "decomposition")
]
JOINT = [pytest.param(row, id=row.name) for row in ALGORITHMS.values() if "regression" in row.tasks]


def rows_of(task: str) -> tuple[Array, Array | None]:
    if task == "regression":
        matrix, y = load_diabetes(return_X_y=True)
        return 20 * matrix[:200], y[:200]
    matrix, y = load_iris(return_X_y=True)
    return matrix, y.astype(np.int64) if task == "classification" else None


def trained(
    task: str, algorithm: str, matrix: Array, labels: Array | None, **more: Any
) -> tuple[Outcome, predictor.Predictor, TrainSpec]:
    columns: dict[str, Any] = dict(features_of(matrix))
    names: list[str] = []
    if labels is not None:
        for at, values in enumerate(labels.reshape(len(labels), -1).T):
            names.append(f"y{at}")
            columns[f"y{at}"] = np.ascontiguousarray(values)
    spec = spec_of(columns, names, task, algorithm, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = fit(spec, table_of(columns, names, spec=spec), Told())
    json.dumps(outcome.result, allow_nan=False)
    meta, blobs = artifact.read(artifact.sign(outcome.body, KEY))
    model = predictor.load(meta, blobs)
    assert isinstance(model, predictor.Predictor)
    return outcome, model, spec


def direct(row: Algorithm, task: str, settings: dict[str, Any]) -> Any:
    """The library's own estimator, with nothing set but the seed."""
    module, _, name = row.classes[task].partition(":")
    made = getattr(importlib.import_module(module), name)
    seed = {"random_state": SEED} if "random_state" in estimators.arguments_of(made) else {}
    if row.name == "catboost":
        seed = {"random_seed": SEED}
    return made(**seed, **QUIET.get(row.name, {}), **settings)


def skip_without(row: Algorithm) -> None:
    if row.extra:
        pytest.importorskip(row.extra, reason=f"{row.extra} is an extra")


@pytest.mark.parametrize(("row", "task"), PAIRS)
@pytest.mark.filterwarnings("ignore")
def test_what_it_predicts_is_what_the_library_predicts(row: Algorithm, task: str) -> None:
    skip_without(row)
    matrix, y = rows_of(task)
    settings = FAST.get(row.name, {})
    outcome, model, spec = trained(task, row.name, matrix, y, hyperparams=settings)
    test = sampling.split(spec, len(matrix), y).test
    train, held_out = matrix[~test], matrix[test]
    library = direct(row, task, settings)
    if y is None:
        library.fit(train)
        _check_unsupervised(row, task, outcome, model, library, train, held_out)
        return
    library.fit(train, y[~test])
    expected = np.asarray(library.predict(held_out)).reshape(len(held_out))
    found = model.predict(model.features(held_out, len(held_out)))
    assert np.ptp(expected) > 0 or row.name == "quantile"
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    _check_metrics(task, outcome.result["metrics"], y[test], expected)
    assert outcome.result["deployable"] == bool(np.ptp(expected) > 0)
    if task == "classification" and hasattr(library, "predict_proba"):
        np.testing.assert_allclose(
            model.proba(model.features(held_out, len(held_out))),
            library.predict_proba(held_out),
            rtol=1e-5,
            atol=1e-6,
        )


def _check_metrics(task: str, found: dict[str, float], y: Array, predicted: Array) -> None:
    if task == "regression":
        expected = {
            "r2": sk.r2_score(y, predicted),
            "mean_absolute_error": sk.mean_absolute_error(y, predicted),
            "mean_squared_error": sk.mean_squared_error(y, predicted),
        }
    else:
        expected = {
            "f1": sk.f1_score(y, predicted, average="macro"),
            "precision": sk.precision_score(y, predicted, average="macro", zero_division=0),
            "recall": sk.recall_score(y, predicted, average="macro"),
            "accuracy": sk.accuracy_score(y, predicted),
            "mcc": sk.matthews_corrcoef(y, predicted),
        }
    assert set(found) == {*expected, "fit_time", "score_time"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6), name


def _check_unsupervised(
    row: Algorithm,
    task: str,
    outcome: Outcome,
    model: predictor.Predictor,
    library: Any,
    train: Array,
    held_out: Array,
) -> None:
    scores = outcome.result["metrics"]
    if task == "decomposition":
        expected = library.transform(held_out)
        np.testing.assert_allclose(
            model.decompose(model.features(held_out, len(held_out))), expected, rtol=1e-6, atol=1e-8
        )
        assert 0.5 < scores["cumulative_explained_variance"] <= 1
        return
    found = model.predict(model.features(held_out, len(held_out)))
    if hasattr(library, "predict"):
        np.testing.assert_array_equal(found, library.predict(held_out))
    if row.labelled and row.name not in ("feature_agglomeration", "birch"):
        labels = getattr(library, "row_labels_", None)
        labels = library.labels_ if labels is None else labels
        np.testing.assert_array_equal(outcome.result["train_labels"], labels)
    if len(np.unique(found)) > 1:
        assert scores["silhouette"] == pytest.approx(sk.silhouette_score(held_out, found))
    else:
        assert scores["silhouette"] is None
        assert not outcome.result["deployable"]


@pytest.mark.parametrize("row", JOINT)
@pytest.mark.filterwarnings("ignore")
def test_several_targets_are_what_the_library_predicts_of_them(row: Algorithm) -> None:
    skip_without(row)
    matrix, y = load_linnerud(return_X_y=True)
    matrix = np.concatenate([matrix, matrix + 1, matrix * 1.1])
    y = np.concatenate([y, y + 1, y * 1.1])
    settings = FAST.get(row.name, {})
    outcome, model, spec = trained(
        "regression", row.name, matrix, y, hyperparams=settings, test_sampling="last"
    )
    test = sampling.split(spec, len(matrix), y[:, 0]).test
    library = direct(row, "regression", settings)
    if row.joint:
        library = MultiOutputRegressor(library)
    if row.name == "catboost":
        library.set_params(loss_function="MultiRMSE")
    library.fit(matrix[~test], y[~test])
    expected = library.predict(matrix[test])
    found = model.predict(model.features(matrix[test], int(test.sum())))
    assert found.shape == (int(test.sum()), 3)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert outcome.result["metrics"]["r2"] == pytest.approx(sk.r2_score(y[test], expected), rel=1e-5)


def test_an_algorithm_whose_library_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "catboost", None)
    matrix, y = rows_of("regression")
    with pytest.raises(WireError) as caught:
        trained("regression", "catboost", matrix, y)
    assert caught.value.code == "engine_missing"
    assert caught.value.hint == "pip install catboost"
