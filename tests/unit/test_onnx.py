"""ONNX graphs of tree ensembles: they decide as the library does, or they are not kept."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from pgannex_server.tabular import formats, onnx_export
from pgannex_server.tabular.forest import Unsayable, forest_of, not_above
from pgannex_server.tabular.onnx_export import export, graph_of
from pgannex_server.tabular.onnx_runtime import Graph
from pgannex_wire import WireError
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression
from xgboost import XGBClassifier, XGBRegressor, XGBRFRegressor

RNG = np.random.default_rng(11)
# Values on a coarse grid: thresholds then lie between float32 numbers that occur.
ROWS = np.round(RNG.normal(size=(600, 6)), 1).astype(np.float32)
Y = ROWS[:, 0] * 3 + np.sin(ROWS[:, 1]) + RNG.normal(size=600) * 0.1
BINARY = (Y > 0).astype(int)
MANY = np.digitize(Y, [-2, 0, 2])

UBJ, TEXT, SKOPS = "xgboost-ubj", "lightgbm-text", "skops"
FOREST = LGBMRegressor(n_estimators=15, verbose=-1, boosting_type="rf", subsample=0.5, subsample_freq=1)
ENSEMBLES: dict[str, tuple[Any, str, Any]] = {
    "xgboost": (XGBRegressor(n_estimators=15), UBJ, Y),
    "xgboost, absolute error": (XGBRegressor(n_estimators=15, objective="reg:absoluteerror"), UBJ, Y),
    "xgboost, two classes": (XGBClassifier(n_estimators=15), UBJ, BINARY),
    "xgboost, four classes": (XGBClassifier(n_estimators=15), UBJ, MANY),
    "xgboost forest": (XGBRFRegressor(n_estimators=15), UBJ, Y),
    "lightgbm": (LGBMRegressor(n_estimators=15, verbose=-1), TEXT, Y),
    "lightgbm, two classes": (LGBMClassifier(n_estimators=15, verbose=-1), TEXT, BINARY),
    "lightgbm, four classes": (LGBMClassifier(n_estimators=15, verbose=-1), TEXT, MANY),
    "lightgbm forest": (FOREST, TEXT, Y),
    "lightgbm, one leaf": (LGBMRegressor(n_estimators=3, verbose=-1, min_child_samples=600), TEXT, Y),
    "forest": (RandomForestRegressor(15, random_state=0), SKOPS, Y),
    "forest, two classes": (RandomForestClassifier(15, random_state=0), SKOPS, BINARY),
    "forest, four classes": (RandomForestClassifier(15, random_state=0), SKOPS, MANY),
    "extra trees": (ExtraTreesClassifier(15, random_state=0), SKOPS, MANY),
    "boosting": (GradientBoostingRegressor(n_estimators=15), SKOPS, Y),
    "boosting, two classes": (GradientBoostingClassifier(n_estimators=15), SKOPS, BINARY),
    "boosting, four classes": (GradientBoostingClassifier(n_estimators=15), SKOPS, MANY),
    "bagging": (BaggingRegressor(random_state=0, max_features=0.5), SKOPS, Y),
    "bagging, four classes": (BaggingClassifier(random_state=0, max_features=0.5), SKOPS, MANY),
}  # fmt: skip


def fitted(name: str) -> tuple[Any, str, bytes]:
    estimator, format, y = ENSEMBLES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(ROWS, y)
    return estimator, format, formats.dump(estimator, format)


def beside_every_threshold(estimator: Any, format: str) -> NDArray[np.float32]:
    """A row for each split, with the feature at the threshold and at the float32 on either side."""
    rows: list[NDArray[np.float32]] = []
    for tree in forest_of(estimator, format).trees:
        for feature, value in zip(tree.feature, tree.threshold, strict=True):
            if feature >= 0:
                for moved in (value, np.nextafter(value, np.float32(9)), np.nextafter(value, np.float32(-9))):
                    row = ROWS[len(rows) % len(ROWS)].copy()
                    row[feature] = moved
                    rows.append(row)
    return np.array(rows) if rows else ROWS


@pytest.mark.parametrize("name", ENSEMBLES)
def test_the_graph_is_the_ensemble(name: str) -> None:
    estimator, format, native = fitted(name)
    found = export(estimator, format, native, ROWS)
    assert found.blob is not None, found.meta
    assert found.meta["onnx"] is True
    graph = Graph(found.blob, found.meta["onnx_output"])
    rows = np.concatenate((ROWS, beside_every_threshold(estimator, format)))
    if hasattr(estimator, "predict_proba"):
        wanted = estimator.predict_proba(rows)
        np.testing.assert_allclose(graph.proba(rows), wanted, atol=1e-5)
        sure = graph.is_sure(graph.raw(rows))
        assert sure.mean() > 0.8
        np.testing.assert_array_equal(graph.values(rows)[sure], np.argmax(wanted, axis=1)[sure])
        one = [graph.one(row[None]) for row in rows]
        assert [value is not None for value in one] == sure.tolist()
    else:
        np.testing.assert_allclose(graph.values(rows), estimator.predict(rows), rtol=1e-4, atol=1e-4)
        assert graph.one(rows[:1]) == pytest.approx(float(estimator.predict(rows[:1])[0]), abs=1e-4)


@pytest.mark.parametrize("name", ["xgboost, four classes", "lightgbm", "forest"])
def test_the_same_ensemble_gives_the_same_bytes(name: str) -> None:
    estimator, format, native = fitted(name)
    first, second = (export(estimator, format, native, ROWS, seed=5) for _ in range(2))
    assert first == second


def test_a_graph_that_differs_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator, format, native = fitted("xgboost")
    forest = forest_of(estimator, format)
    moved = replace(forest.trees[0], threshold=forest.trees[0].threshold + np.float32(1e-3))
    wrong = replace(forest, trees=[moved, *forest.trees[1:]])
    monkeypatch.setattr(onnx_export, "forest_of", lambda *_: wrong)
    found = export(estimator, format, native, ROWS)
    assert found.blob is None
    assert found.meta["onnx"] is False
    assert found.meta["onnx_check"]["reason"] == "it differs from the library"
    assert found.meta["onnx_check"]["largest_difference"] > 1e-5


def test_thresholds_that_were_rounded_up_would_be_seen() -> None:
    """What the comparison is for: doubles between two float32, rounded to the nearest."""
    estimator, format, native = fitted("lightgbm")
    forest = forest_of(estimator, format)
    up = [
        replace(tree, threshold=np.nextafter(tree.threshold, np.float32(np.inf)).astype(np.float32))
        for tree in forest.trees
    ]
    model = formats.load(format, native)
    found = onnx_export._compared(
        graph_of(replace(forest, trees=up), 6), replace(forest, trees=up), model, ROWS, 0
    )
    assert found.blob is None


@pytest.mark.parametrize(
    ("estimator", "format", "y", "reason"),
    [
        (XGBRegressor(n_estimators=3, booster="gblinear"), UBJ, Y, "gblinear"),
        (XGBRegressor(n_estimators=3, booster="dart"), UBJ, Y, "dart"),
        (XGBRegressor(n_estimators=3, objective="reg:gamma"), UBJ, np.exp(Y), "reg:gamma"),
        (LGBMRegressor(n_estimators=3, verbose=-1, objective="poisson"), TEXT, np.exp(Y), "poisson"),
        (LGBMRegressor(n_estimators=3, verbose=-1, linear_tree=True), TEXT, Y, "linear"),
        (GradientBoostingClassifier(n_estimators=3, loss="exponential"), SKOPS, BINARY, "exponential"),
        (
            GradientBoostingRegressor(n_estimators=3, init=LinearRegression()),
            SKOPS,
            Y,
            "estimator of its own",
        ),
        (BaggingRegressor(LinearRegression(), n_estimators=3), SKOPS, Y, "LinearRegression"),
        (LinearRegression(), SKOPS, Y, "no ensemble of trees"),
    ],
)
def test_what_cannot_be_said_stays_with_the_library(estimator: Any, format: str, y: Any, reason: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(ROWS, y)
    with pytest.raises(Unsayable, match=reason):
        forest_of(estimator, format)
    found = export(estimator, format, formats.dump(estimator, format), ROWS)
    assert found.blob is None
    assert reason in found.meta["onnx_check"]["reason"]


def test_rows_that_are_not_finite_are_no_comparison() -> None:
    estimator, format, native = fitted("xgboost")
    found = export(estimator, format, native, np.full((10, 6), np.nan, dtype=np.float32))
    assert found.blob is None
    assert "no finite rows" in found.meta["onnx_check"]["reason"]


def test_nonsense_is_no_graph() -> None:
    for blob in (b"", b"nonsense", bytes(100)):
        with pytest.raises(WireError, match="no ONNX model") as failed:
            Graph(blob, "values")
        assert failed.value.code == "artifact_invalid"


@given(st.floats(allow_nan=False, width=64), st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_threshold_that_is_not_above_decides_alike(threshold: float, value: float) -> None:
    found = not_above(np.array([threshold]))
    assert (np.float32(value) <= found[0]) == (value <= threshold)
