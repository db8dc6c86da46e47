"""How good a model is on rows that it has not seen: the keys of pgml.models.metrics.

Which question it answers: what is measured for a task, and which of it decides. Everything is
scikit-learn's. `roc_auc` and `log_loss` are those of the predicted classes, as PostgresML has
them; `roc_auc_proba` and `log_loss_proba` those of the probabilities, where a model has some.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
from sklearn import metrics as sk

from pgannex_server.tabular.cells import Array

DECIDING: Final = {
    "regression": "r2",
    "classification": "f1",
    "clustering": "silhouette",
    "decomposition": "cumulative_explained_variance",
}
"""The metric that versions and hyperparameters are compared by; more is better."""

_SILHOUETTE_ROWS: Final = 10_000
_NAN: Final = float("nan")


def of(
    task: str, estimator: Any, matrix: Array, y: Array | None, classes: int, seed: int
) -> dict[str, float]:
    """Of a fitted estimator on held-out rows. NaN where a metric is not defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if task == "regression":
            assert y is not None
            return regression(y, estimator.predict(matrix))
        if task == "classification":
            assert y is not None
            return classification(y, _codes(estimator.predict(matrix)), classes, _proba(estimator, matrix))
        if task == "clustering":
            return {"silhouette": silhouette(matrix, estimator.predict(matrix), seed)}
        return {"cumulative_explained_variance": explained(estimator, matrix)}


def regression(y: Array, found: Array) -> dict[str, float]:
    """Several targets count alike."""
    r2 = float(sk.r2_score(y, found)) if len(y) > 1 else _NAN
    return {
        "r2": r2,
        "mean_absolute_error": float(sk.mean_absolute_error(y, found)),
        "mean_squared_error": float(sk.mean_squared_error(y, found)),
    }


def classification(y: Array, found: Array, classes: int, proba: Array | None = None) -> dict[str, float]:
    """`y` and `found` are codes. Two classes: of the second; more: the mean over classes."""
    is_binary = classes == 2 and not (y > 1).any()
    average = "binary" if is_binary else "macro"
    scores: dict[str, float] = {}
    if is_binary:
        both = len(np.unique(y)) == 2
        scores["roc_auc"] = float(sk.roc_auc_score(y, found)) if both else _NAN
        scores["log_loss"] = float(sk.log_loss(y, found, labels=[0, 1]))
        if proba is not None:
            scores["roc_auc_proba"] = float(sk.roc_auc_score(y, proba[:, 1])) if both else _NAN
            scores["log_loss_proba"] = float(sk.log_loss(y, proba, labels=[0, 1]))
    scores["f1"] = float(sk.f1_score(y, found, average=average, zero_division=0))
    scores["precision"] = float(sk.precision_score(y, found, average=average, zero_division=0))
    scores["recall"] = float(sk.recall_score(y, found, average=average, zero_division=0))
    scores["accuracy"] = float(sk.accuracy_score(y, found))
    scores["mcc"] = float(sk.matthews_corrcoef(y, found))
    return scores


def silhouette(matrix: Array, found: Array, seed: int) -> float:
    """Of at most 10,000 rows: it compares each row with each other."""
    if len(matrix) > _SILHOUETTE_ROWS:
        rows = np.sort(np.random.default_rng(seed).permutation(len(matrix))[:_SILHOUETTE_ROWS])
        matrix, found = matrix[rows], found[rows]
    if not 2 <= len(np.unique(found)) < len(found):
        return _NAN
    return float(sk.silhouette_score(matrix, found))


def explained(estimator: Any, matrix: Array) -> float:
    """The share of the variance that the components keep."""
    ratio = getattr(estimator, "explained_variance_ratio_", None)
    if ratio is not None:
        return float(np.sum(ratio))
    back = estimator.inverse_transform(estimator.transform(matrix))
    centred, back = matrix - matrix.mean(axis=0), back - back.mean(axis=0)
    whole = float((centred**2).sum())
    return 1.0 - float(((centred - back) ** 2).sum()) / whole if whole else _NAN


def _codes(found: Array) -> Array:
    return np.asarray(found).reshape(len(found)).astype(np.int64)


def _proba(estimator: Any, matrix: Array) -> Array | None:
    ask = getattr(estimator, "predict_proba", None)
    if ask is None:
        return None
    found: Array = np.asarray(ask(matrix))
    return found if found.ndim == 2 and np.isfinite(found).all() else None
