"""xgboost as UBJSON, its own format: what `Booster.save_model` writes.

Predicts through `inplace_predict`, which takes a matrix as it lies there; building a DMatrix
costs more than small predictions. Classes are numbered from 0, as xgboost's labels are.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xgboost
from pgannex_wire import WireError
from xgboost.core import XGBoostError

from pgannex_server.tabular.artifact import Blob
from pgannex_server.tabular.formats.base import (
    MANY_ROWS,
    Matrix,
    Model,
    cannot,
    damaged,
    dump_several,
    largest,
    load_several,
    two_columns,
)

FORMAT = "xgboost-ubj"


def dump(estimator: Any) -> bytes:
    """The model of an XGB… estimator of xgboost.sklearn, or of a Booster."""
    return dump_several(estimator, _dump_one)


def load(blob: Blob, threads: int) -> Model:
    return load_several(blob, FORMAT, lambda data: Xgboost(data, threads))


def _dump_one(estimator: Any) -> bytes:
    booster = estimator if isinstance(estimator, xgboost.Booster) else estimator.get_booster()
    return bytes(booster.save_raw("ubj"))


class Xgboost(Model):
    """A booster."""

    title = "model of xgboost"
    single = True

    def __init__(self, data: bytes, threads: int) -> None:
        if data[:1] != b"{":
            raise damaged(FORMAT, f"it begins with 0x{data[:1].hex()}, not with an object")
        self.booster = xgboost.Booster()
        try:
            self.booster.load_model(bytearray(data))
            self.booster.set_param({"nthread": threads, "device": "cpu"})
            learner = json.loads(self.booster.save_config())["learner"]
            self.width = int(self.booster.num_features())
        except (XGBoostError, ValueError, KeyError) as err:
            raise damaged(FORMAT, err) from err
        objective = str(learner["objective"]["name"])
        self.is_linear = learner["gradient_booster"]["name"] == "gblinear"
        self.is_classifier = objective.startswith(("binary:", "multi:"))
        self.is_binary = objective.startswith("binary:")
        self.is_hard = objective in ("binary:hinge", "multi:softmax")
        self.is_raw = objective == "binary:logitraw"
        self.many = max(2, int(learner["learner_model_param"]["num_class"]))
        self.threads = self._set = threads
        best = self.booster.attributes().get("best_iteration")
        self.trees = (0, int(best) + 1) if best is not None else (0, 0)

    def _raw(self, matrix: Matrix) -> Matrix:
        if matrix.shape[1] != self.width:
            raise WireError("internal", f"xgboost has {self.width} features, the matrix {matrix.shape[1]}")
        wanted = self.threads if len(matrix) >= MANY_ROWS else 1
        if wanted != self._set:
            self.booster.set_param({"nthread": wanted})
            self._set = wanted
        if self.is_linear:
            found: Matrix = self.booster.predict(xgboost.DMatrix(matrix), iteration_range=self.trees)
        else:
            found = self.booster.inplace_predict(matrix, iteration_range=self.trees, validate_features=False)
        return found

    def predict(self, matrix: Matrix) -> Matrix:
        raw = self._raw(matrix)
        if not self.is_classifier:
            return raw
        if self.is_hard:
            return raw.astype(np.intp)
        if self.is_binary:
            return (raw > (0.0 if self.is_raw else 0.5)).astype(np.intp)
        return largest(raw)

    def proba(self, matrix: Matrix) -> Matrix:
        if not self.is_classifier:
            raise cannot("say how probable a class is", self, "only models of classification can")
        raw = self._raw(matrix)
        if self.is_raw:
            raw = 1.0 / (1.0 + np.exp(-raw))
        if self.is_hard:
            return np.eye(self.many, dtype=np.float32)[raw.astype(np.intp)]
        return two_columns(raw) if self.is_binary else raw
