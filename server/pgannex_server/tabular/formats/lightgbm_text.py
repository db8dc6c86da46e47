"""LightGBM as text, its own format: what `Booster.save_model` writes.

Classes are numbered from 0; the estimator's own are in the artifact's metadata.
"""

from __future__ import annotations

import re
from typing import Any

import lightgbm
import numpy as np
from lightgbm.basic import LightGBMError

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

FORMAT = "lightgbm-text"
_END = re.compile(rb"\nend of trees\n.*\nend of parameters\n\s*pandas_categorical:[^\n]*\s*\Z", re.DOTALL)
_BINARY = ("binary", "cross_entropy", "xentropy")
_MANY = ("multiclass", "multiclassova")


def dump(estimator: Any) -> bytes:
    """The model of an LGBM… estimator, or of a Booster."""
    return dump_several(estimator, _dump_one)


def load(blob: Blob, threads: int) -> Model:
    return load_several(blob, FORMAT, lambda data: Lightgbm(data, threads))


def _dump_one(estimator: Any) -> bytes:
    booster = estimator if isinstance(estimator, lightgbm.Booster) else estimator.booster_
    text: str = booster.model_to_string()
    return text.encode()


class Lightgbm(Model):
    """A booster."""

    title = "model of LightGBM"

    def __init__(self, data: bytes, threads: int) -> None:
        # The library reads past the end of a text that was cut off.
        if not data.startswith(b"tree\n") or not _END.search(data):
            raise damaged(FORMAT, "it does not begin with a tree, or does not end")
        try:
            self.booster = lightgbm.Booster(model_str=data.decode())
            objective = str(self.booster.dump_model(num_iteration=1).get("objective") or "regression")
        except (LightGBMError, ValueError, TypeError) as err:
            raise damaged(FORMAT, err) from err
        self.threads = threads
        name = objective.split(" ")[0]
        self.is_binary = name in _BINARY
        self.is_many = name in _MANY

    def _raw(self, matrix: Matrix) -> Matrix:
        threads = self.threads if len(matrix) >= MANY_ROWS else 1
        found: Any = self.booster.predict(matrix, num_threads=threads)
        raw: Matrix = np.asarray(found)
        return raw

    def predict(self, matrix: Matrix) -> Matrix:
        if self.is_binary or self.is_many:
            return largest(self.proba(matrix))
        return self._raw(matrix)

    def proba(self, matrix: Matrix) -> Matrix:
        if not (self.is_binary or self.is_many):
            raise cannot("say how probable a class is", self, "only models of classification can")
        raw = self._raw(matrix)
        return two_columns(raw) if self.is_binary else raw
