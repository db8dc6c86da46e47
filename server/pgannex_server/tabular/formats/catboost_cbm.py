"""CatBoost as cbm, its own format. An extra: its absence is said when it is needed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from pgannex_wire import WireError

from pgannex_server.tabular.artifact import Blob
from pgannex_server.tabular.formats.base import (
    Matrix,
    Model,
    cannot,
    damaged,
    dump_several,
    load_several,
)

FORMAT = "catboost-cbm"
_PASSING = ("model_guid", "train_finish_time")
"""Notes that differ from fit to fit of the same rows."""


def dump(estimator: Any) -> bytes:
    """The model of a CatBoost… estimator."""
    return dump_several(estimator, _dump_one)


def load(blob: Blob, threads: int) -> Model:
    return load_several(blob, FORMAT, lambda data: Catboost(data, threads))


def _dump_one(estimator: Any) -> bytes:
    noted = estimator.get_metadata()
    for key in _PASSING:
        if key in noted.keys():  # noqa: SIM118 - it is no mapping
            noted[key] = ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        estimator.save_model(str(path), format="cbm")
        return path.read_bytes()


def _library() -> Any:
    try:
        import catboost
    except ImportError as err:
        raise WireError(
            "engine_missing",
            "the model needs catboost, which the server's Python does not have",
            hint="install pgannex[catboost]",
        ) from err
    return catboost


class Catboost(Model):
    """A model of CatBoost. Its classes are in the file."""

    title = "model of CatBoost"

    def __init__(self, data: bytes, threads: int) -> None:
        catboost = _library()
        if data[:4] != b"CBM1":
            raise damaged(FORMAT, f"it begins with 0x{data[:4].hex()}")
        self.model = catboost.CatBoost()
        try:
            self.model.load_model(blob=data)
            known = self.model.classes_
        except (catboost.CatBoostError, ValueError) as err:
            raise damaged(FORMAT, err) from err
        self.threads = threads
        self.classes = np.asarray(known, dtype=np.float64) if len(known) else None

    def _ask(self, matrix: Matrix, what: str) -> Matrix:
        found: Matrix = np.asarray(
            self.model.predict(matrix, prediction_type=what, thread_count=self.threads), dtype=np.float64
        )
        return found

    def predict(self, matrix: Matrix) -> Matrix:
        if self.classes is not None:
            return self._ask(matrix, "Class").reshape(len(matrix))
        return self._ask(matrix, "RawFormulaVal")

    def proba(self, matrix: Matrix) -> Matrix:
        if self.classes is None:
            raise cannot("say how probable a class is", self, "only models of classification can")
        return self._ask(matrix, "Probability")
