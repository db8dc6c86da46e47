"""The predictor: every algorithm says after a round trip through bytes what its library said."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pgannex_server.tabular import artifact, formats, predictor
from pgannex_server.tabular.algorithms import ALGORITHMS
from pgannex_server.tabular.fit import fit
from pgannex_server.tabular.outcome import Outcome
from pgannex_server.tabular.predictor import Predictor
from pgannex_wire import WireError
from sklearn.cluster import Birch
from sklearn.datasets import load_diabetes, load_iris
from sklearn.multioutput import MultiOutputRegressor
from tabular_rows import Told, features_of, spec_of, table_of

Matrix = NDArray[Any]

DIABETES, PROGRESSION = load_diabetes(return_X_y=True)
IRIS, KIND = load_iris(return_X_y=True)
TWO = np.column_stack((PROGRESSION, 100 - 2 * PROGRESSION + 50 * DIABETES[:, 0]))
QUICK = {"n_estimators": 20}


def of_task(*tasks: str) -> list[tuple[str, str]]:
    return [
        (row.name, task)
        for row in ALGORITHMS.values()
        for task in row.tasks
        if task in tasks and not row.extra and not row.labelled
    ]


def made(name: str, task: str) -> Any:
    module, _, class_ = ALGORITHMS[name].classes[task].partition(":")
    estimator = getattr(importlib.import_module(module), class_)()
    known = estimator.get_params()
    wanted: dict[str, float] = {
        "n_estimators": 20,
        "random_state": 0,
        "verbose": -1 if name == "lightgbm" else 0,
        "n_jobs": 1,
    }
    if name == "quantile":
        wanted["alpha"] = 0.1
    return estimator.set_params(**{key: value for key, value in wanted.items() if key in known})


def loaded(name: str, estimator: Any, meta: dict[str, Any]) -> Predictor:
    """The estimator through a signed artifact."""
    blob = formats.dump(estimator, ALGORITHMS[name].format)
    assert blob == formats.dump(estimator, ALGORITHMS[name].format)
    facts = {"algorithm": name, "format": ALGORITHMS[name].format, "columns": [], **meta}
    data = artifact.sign(artifact.build(facts, {"model": blob}), b"key")
    found = predictor.load(*artifact.read(data), threads=2)
    assert isinstance(found, Predictor)
    return found


@pytest.mark.parametrize(("name", "task"), of_task("regression", "classification", "clustering"))
def test_predictions_are_the_librarys(name: str, task: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows, y = (DIABETES, PROGRESSION) if task == "regression" else (IRIS, KIND)
        rows = rows.astype(ALGORITHMS[name].numbers)
        estimator = made(name, task).fit(rows, *([] if task == "clustering" else [y]))
        classes = [0.0, 1.0, 2.0] if task == "classification" else None
        model = loaded(name, estimator, {"task": task, "width": rows.shape[1], "classes": classes})
        matrix = model.features(rows.reshape(-1), len(rows))
        np.testing.assert_allclose(model.predict(matrix), estimator.predict(rows), rtol=1e-9, atol=1e-9)
        if task == "classification" and hasattr(estimator, "predict_proba"):
            np.testing.assert_allclose(model.proba(matrix), estimator.predict_proba(rows), atol=1e-9)


@pytest.mark.parametrize("name", [name for name, _task in of_task("regression")])
def test_several_targets(name: str) -> None:
    row = ALGORITHMS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = DIABETES[:200].astype(row.numbers)
        estimator = made(name, "regression")
        estimator = (MultiOutputRegressor(estimator) if row.joint else estimator).fit(rows, TWO[:200])
        model = loaded(name, estimator, {"task": "regression", "width": 10, "joint": True})
        found = model.predict(model.features(rows.reshape(-1), 200))
        assert found.shape == (200, 2)
        np.testing.assert_allclose(found, estimator.predict(rows), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "name", [name for name, _task in of_task("decomposition")] + ["feature_agglomeration"]
)
def test_components_are_the_librarys(name: str) -> None:
    estimator = made(name, "decomposition").fit(IRIS)
    model = loaded(name, estimator, {"task": "decomposition", "width": 4})
    np.testing.assert_allclose(model.decompose(IRIS), estimator.transform(IRIS), atol=1e-12)


@pytest.mark.parametrize("classes", [[0.0, 1.0, 2.0], [10.0, 20.0, 35.5]])
@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "random_forest", "svm", "linear"])
def test_codes_become_the_values_and_texts_of_classes(name: str, classes: list[float]) -> None:
    rows = IRIS.astype(np.float32)
    estimator = made(name, "classification").fit(rows, KIND)
    meta = {"task": "classification", "width": 4, "classes": classes, "label_texts": ["a", "b", "c"]}
    model = loaded(name, estimator, meta)
    found = model.predict(rows)
    np.testing.assert_array_equal(found, np.array(classes)[estimator.predict(rows)])
    assert model.labels(found) == [["a", "b", "c"][code] for code in estimator.predict(rows)]


# -- a whole fit ----------------------------------------------------------------------------------


def trained(task: str, algorithm: str, columns: dict[str, Any], **more: Any) -> tuple[Outcome, Predictor]:
    labels = ["y"] if "y" in columns else []
    outcome = fit(spec_of(columns, labels, task, algorithm, **more), table_of(columns, labels), Told())
    found = predictor.load(*artifact.read(artifact.sign(outcome.body, b"key")))
    assert isinstance(found, Predictor)
    return outcome, found


@pytest.mark.parametrize("algorithm", ["xgboost", "lightgbm", "random_forest", "bagging", "extra_trees"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_one_row_and_many_say_the_same(task: str, algorithm: str) -> None:
    rows = IRIS.astype(np.float32)
    y = KIND.astype(np.int32) if task == "classification" else IRIS @ np.array([1.0, 2.0, -3.0, 0.5])
    outcome, model = trained(task, algorithm, {**features_of(rows), "y": y}, hyperparams=QUICK)
    assert outcome.result["onnx"]
    many = model.predict(model.features(np.tile(rows, (2, 1)).reshape(-1), 300))[:150]
    each = np.array([model.predict_one(row.tobytes()) for row in rows])
    few = np.concatenate([model.predict(rows[at : at + 30]) for at in range(0, 150, 30)])
    for found in (each, few):
        if task == "classification":
            np.testing.assert_array_equal(found, many)
        else:
            np.testing.assert_allclose(found, many, rtol=1e-5, atol=1e-5)
    if task == "classification":
        one = np.concatenate([model.proba(rows[at : at + 1]) for at in range(150)])
        np.testing.assert_allclose(one, model.proba(rows), atol=1e-5)


def test_rows_by_name_are_preprocessed_as_in_training() -> None:
    rng = np.random.default_rng(3)
    size, colour = rng.normal(10, 4, 300), rng.choice(["red", "green", "blue"], 300)
    y = size * 3 + (colour == "red") * 40 + rng.normal(size=300)
    columns = {"size": size, "colour": colour.tolist(), "y": y}
    preprocess = {"size": {"impute": "mean", "scale": "standard"}, "colour": {"encode": "one_hot"}}
    _outcome, model = trained("regression", "linear", columns, preprocess=preprocess)
    found = model.predict(
        model.rows(
            ['{"size": 12, "colour": "red"}', '[12, "blue"]', '{"colour": "red", "size": null, "z": 1}']
        )
    )
    assert found == pytest.approx([76, 36, 3 * size.mean() + 40], abs=2)
    table = table_of({"size": np.array([12.0, 12.0]), "colour": ["red", "blue"]})
    np.testing.assert_allclose(model.predict(model.columns_matrix(table)), found[:2])


def test_text_labels_come_back() -> None:
    names = np.array(["setosa", "versicolor", "virginica"])[KIND].tolist()
    _outcome, model = trained(
        "classification", "xgboost", {**features_of(IRIS), "y": names}, hyperparams=QUICK
    )
    values = model.predict(IRIS)
    assert set(values) == {0.0, 1.0, 2.0}
    found = model.labels(values)
    assert found is not None
    assert np.mean([a == b for a, b in zip(found, names, strict=True)]) > 0.95


def test_missing_and_infinite_numbers_are_the_librarys() -> None:
    rows = IRIS.astype(np.float32)
    y = IRIS @ np.array([1.0, 2.0, -3.0, 0.5])
    _outcome, model = trained("regression", "xgboost", {**features_of(rows), "y": y}, hyperparams=QUICK)
    odd = rows[:1].copy()
    odd[0, 2] = np.nan
    assert model.predict_one(odd.tobytes()) == pytest.approx(float(model.native.predict(odd)[0]))
    huge = np.full((1, 4), 1e30, dtype=np.float32)
    assert model.predict(huge)[0] == pytest.approx(float(model.native.predict(huge)[0]))


@pytest.mark.parametrize(
    "algorithm", ["xgboost", "lightgbm", "random_forest", "svm", "bagging", "gaussian_process"]
)
def test_the_same_fit_gives_the_same_bytes(algorithm: str) -> None:
    hyperparams = QUICK if "n_estimators" in made(algorithm, "classification").get_params() else {}
    columns = {**features_of(IRIS), "y": KIND.astype(np.int32)}
    first, _ = trained("classification", algorithm, columns, hyperparams=hyperparams)
    second, _ = trained("classification", algorithm, columns, hyperparams=hyperparams)
    assert first.body == second.body


# -- what does not fit ------------------------------------------------------------------------------


def test_another_width_is_said_with_both_numbers() -> None:
    _outcome, model = trained(
        "regression", "xgboost", {**features_of(IRIS), "y": IRIS[:, 0]}, hyperparams=QUICK
    )
    for call in (
        lambda: model.features(np.zeros(5), 1),
        lambda: model.predict_one(np.zeros(5, dtype=np.float32).tobytes()),
        lambda: model.predict(np.zeros((1, 5), dtype=np.float32)),
        lambda: model.predict(np.zeros((100, 5), dtype=np.float32)),
    ):
        with pytest.raises(WireError, match="the model has 4 features, 5 came") as failed:
            call()
        assert failed.value.code == "bad_argument"


def test_questions_of_another_task() -> None:
    _outcome, model = trained("regression", "linear", {**features_of(IRIS), "y": IRIS[:, 0]})
    for ask, message in (
        (model.proba, "no probabilities"),
        (model.decompose, "does not decompose"),
        (model.score, "does not score"),
    ):
        with pytest.raises(WireError, match=message):
            ask(IRIS)
    assert model.labels(np.zeros(1)) is None
    _outcome, svm = trained("classification", "svm", {**features_of(IRIS), "y": KIND.astype(np.int32)})
    with pytest.raises(WireError, match="how probable a class is: it is a SVC") as failed:
        svm.proba(IRIS)
    assert "probability" in failed.value.hint


# -- what is no model -------------------------------------------------------------------------------


def blob_of(format: str) -> bytes:
    name = {"xgboost-ubj": "xgboost", "lightgbm-text": "lightgbm", "skops": "random_forest"}[format]
    estimator = made(name, "classification").set_params(n_estimators=2)
    return formats.dump(estimator.fit(IRIS, KIND), format)


@pytest.mark.parametrize("format", ["xgboost-ubj", "lightgbm-text", "skops"])
@pytest.mark.parametrize("data", [b"", b"nonsense", b"{}", b"tree\n", b"PK\x03\x04", bytes(100)])
def test_nonsense_is_no_model(format: str, data: bytes) -> None:
    with pytest.raises(WireError) as failed:
        formats.load(format, data)
    assert failed.value.code == "artifact_invalid"


@pytest.mark.parametrize("format", ["skops", "lightgbm-text"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_half_a_model_is_none(format: str, share: float) -> None:
    whole = blob_of(format)
    with pytest.raises(WireError) as failed:
        formats.load(format, whole[: int(len(whole) * share)])
    assert failed.value.code == "artifact_invalid"


_SKOPS = blob_of("skops")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(_SKOPS) - 1), st.integers(1, 255))
def test_a_damaged_skops_file_is_refused_or_loads(at: int, flip: int) -> None:
    damaged = bytearray(_SKOPS)
    damaged[at] ^= flip
    try:
        formats.load("skops", bytes(damaged))
    except WireError as err:
        assert err.code == "artifact_invalid"


def test_types_outside_the_list_are_neither_stored_nor_loaded() -> None:
    skops = importlib.import_module("skops.io")

    with pytest.raises(WireError, match="Birch with these hyperparameters cannot be stored"):
        formats.dump(Birch().fit(IRIS), "skops")
    outside = skops.dumps({"harmless": warnings.WarningMessage("m", UserWarning, "f", 1)})
    with pytest.raises(WireError) as failed:
        formats.load("skops", outside)
    assert failed.value.code == "artifact_invalid"
    with pytest.raises(WireError, match="holds a dict"):
        formats.load("skops", skops.dumps({"a": 1}))


def test_an_unknown_format_and_missing_metadata() -> None:
    with pytest.raises(WireError, match='the format "pickle"'):
        formats.load("pickle", b"")
    with pytest.raises(WireError, match="metadata are incomplete"):
        predictor.load({"task": "regression"}, {})
