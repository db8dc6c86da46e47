"""A trained model in memory: rows in, predictions out. It runs in predictor processes only.

Which question it answers: what an artifact says of a row. It knows which features the model
has, applies the preprocessing that was fitted with it to rows that come by name, and turns
what a library gives into class values, labels and scores. Rows of a `features` array are
taken as they are. Small matrices of a tree ensemble go to ONNX Runtime where the artifact has
such a blob, all others to the native model, which is loaded when it is first needed.
How a job travels is process.py's business, an answer's bytes answers.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError

from pgannex_server.tabular import formats, preprocessing
from pgannex_server.tabular.algorithms import ALGORITHMS
from pgannex_server.tabular.artifact import Blob
from pgannex_server.tabular.columns import Table
from pgannex_server.tabular.formats.base import Model
from pgannex_server.tabular.onnx_runtime import Graph
from pgannex_server.tabular.preprocessing import Encoder

if TYPE_CHECKING:
    from pgannex_server.tabular.forecaster import Forecaster

Matrix = NDArray[Any]

ONNX_ROWS: Final = 48
"""Up to how many rows ONNX serves; above, the libraries' own threads are faster."""


def load(meta: Mapping[str, Any], blobs: Mapping[str, Blob], threads: int = 0) -> Predictor | Forecaster:
    """The model of an artifact. Raises artifact_invalid where it cannot be one."""
    try:
        if meta["task"] == "forecasting":
            from pgannex_server.tabular.forecaster import Forecaster

            return Forecaster(meta, blobs, threads)
        return Predictor(meta, blobs, threads)
    except (KeyError, TypeError, ValueError) as err:
        raise WireError(
            "artifact_invalid",
            f"the artifact's metadata are incomplete: {type(err).__name__} {err}",
            hint="train the model again",
        ) from err


class Predictor:
    """See the module. Matrices are rows × width, float32 or float64."""

    def __init__(self, meta: Mapping[str, Any], blobs: Mapping[str, Blob], threads: int = 0) -> None:
        self.meta = meta
        self.task = str(meta["task"])
        self.algorithm = str(meta["algorithm"])
        self.width = int(meta["width"])
        self.raw_width = int(meta.get("raw_width") or self.width)
        self.columns: list[Mapping[str, Any]] = list(meta["columns"])
        self.label_names = [str(name) for name in meta.get("labels") or ()]
        self.is_classifier = self.task == "classification"
        self._values = None if meta.get("classes") is None else np.asarray(meta["classes"], dtype=np.float64)
        self._texts: list[str | None] | None = meta.get("label_texts")
        self._format = str(meta["format"])
        self._blob: Blob | None = blobs["model"]
        self._threads = threads
        self._native: Model | None = None
        self._graph = Graph(blobs["onnx"], str(meta["onnx_output"])) if "onnx" in blobs else None
        self._single = bool(meta.get("single"))
        self._encoders: list[Encoder] | None = None
        row = ALGORITHMS.get(self.algorithm)
        self._dtype = row.numbers if row is not None else "float64"
        if self._graph is None:
            self.native.predict  # noqa: B018 - loads it now, so that a broken blob is said now

    @property
    def native(self) -> Model:
        """The library's own model."""
        if self._native is None:
            assert self._blob is not None
            self._native = formats.load(self._format, self._blob, self._threads)
            self._blob = None
        return self._native

    # -- matrices -------------------------------------------------------------------------------

    def features(self, flat: Matrix, n: int) -> Matrix:
        """The rows of a flat array, as they are. Raises bad_argument where the width is another."""
        if flat.size != n * self.raw_width or not n:
            raise self._wrong_width(flat.size // n if n and flat.size % n == 0 else flat.size)
        if flat.dtype != np.float32 and flat.dtype != np.float64:
            flat = flat.astype(np.float64)
        return flat.reshape(n, self.raw_width)

    def _wrong_width(self, got: int) -> WireError:
        names = [str(column["name"]) for column in self.columns]
        return WireError(
            "bad_argument",
            f"the model has {self.raw_width} features, {got} came",
            detail=f"its columns: {', '.join(names)}"[:1000],
            hint=f"pass {self.raw_width} numbers for one row, or a multiple of that for several",
        )

    def columns_matrix(self, table: Table) -> Matrix:
        """The rows of a table that has the model's columns, preprocessed as in training."""
        return preprocessing.matrix(self.encoders, table, self._dtype)

    def unusable(self, table: Table) -> dict[int, WireError]:
        """The rows that `columns_matrix` would refuse, by position."""
        return preprocessing.unusable(self.encoders, table)

    def rows(self, texts: Sequence[str]) -> Matrix:
        """Rows as JSON objects, by the columns' names, preprocessed as in training."""
        from pgannex_server.tabular import json_rows

        return self.columns_matrix(json_rows.table_of(self.encoders, texts))

    @property
    def encoders(self) -> list[Encoder]:
        """What each column's cells become."""
        if self._encoders is None:
            self._encoders = preprocessing.encoders_of(self.meta)
        return self._encoders

    # -- predictions ----------------------------------------------------------------------------

    def predict(self, matrix: Matrix) -> Matrix:
        """Values per row: rows, or rows × targets, as float64."""
        by_graph = self._many_by_graph(matrix) if len(matrix) > 1 else self._by_graph(matrix)
        if by_graph is not None:
            return np.atleast_1d(by_graph)
        native = self.native
        found = native.predict(self._checked(matrix))
        if self.is_classifier:
            return self._class_values(found, native.classes)
        if self.task == "anomaly":
            return (found < 0).astype(np.float64)
        return found.astype(np.float64, copy=False)

    def predict_one(self, features: bytes | memoryview) -> float:
        """The value of one row, of float32 in the machine's order: the shortest way through."""
        row = np.frombuffer(features, dtype=np.float32)
        if row.size != self.raw_width:
            raise self._wrong_width(row.size)
        matrix = row.reshape(1, -1)
        one = self._by_graph(matrix)
        return float(self.predict(matrix).reshape(-1)[0]) if one is None else one

    def _by_graph(self, row: Matrix) -> float | None:
        """What ONNX says of a single row; None where the native model has to be asked."""
        graph = self._graph_for(row)
        if graph is None:
            return None
        found = graph.one(self._for_graph(row))
        if found is None or not self.is_classifier or self._values is None:
            return found
        return float(self._values[int(found)])

    def _many_by_graph(self, matrix: Matrix) -> Matrix | None:
        """The same of a few rows, all of them or none."""
        graph = self._graph_for(matrix)
        if graph is None:
            return None
        raw = graph.raw(self._for_graph(matrix))
        if not self.is_classifier:
            return (raw.reshape(len(raw)) if raw.shape[1] == 1 else raw).astype(np.float64)
        return self._class_values(graph.classes(raw)) if graph.is_sure(raw).all() else None

    def proba(self, matrix: Matrix) -> Matrix:
        """Probabilities per row and class, in the order of `classes`."""
        if not self.is_classifier:
            raise WireError(
                "bad_argument",
                f"a model of {self.task} has no probabilities: "
                "You can't predict probabilities for a regression model",
                hint="pgml.predict gives its prediction; probabilities are for classification",
            )
        graph = self._graph_for(matrix)
        if graph is not None:
            return graph.proba(self._for_graph(matrix)).astype(np.float64)
        return self.native.proba(self._checked(matrix)).astype(np.float64, copy=False)

    def labels(self, values: Matrix) -> list[str | None] | None:
        """The texts of predicted classes, None where the label column is no text."""
        if self._texts is None:
            return None
        at = self._index(np.asarray(values, dtype=np.float64).reshape(-1))
        return [self._texts[i] if 0 <= i < len(self._texts) else None for i in at.tolist()]

    def decompose(self, matrix: Matrix) -> Matrix:
        """Components per row."""
        if self.task != "decomposition":
            raise WireError(
                "bad_argument",
                f"a model of {self.task} does not decompose",
                hint="train one with the task decomposition",
            )
        return self.native.decompose(self._checked(matrix)).astype(np.float64, copy=False)

    def score(self, matrix: Matrix) -> Matrix:
        """How unusual each row is: above 0 it is an anomaly."""
        if self.task != "anomaly":
            raise WireError(
                "bad_argument",
                f"a model of {self.task} does not score anomalies",
                hint="train one with the task anomaly",
            )
        return self.native.score(self._checked(matrix)).astype(np.float64, copy=False)

    # -- inside ---------------------------------------------------------------------------------

    def _graph_for(self, matrix: Matrix) -> Graph | None:
        """ONNX, where it gives what the native model would of these rows."""
        if self._graph is None or len(matrix) > ONNX_ROWS:
            return None
        if matrix.dtype != np.float32 and not self._single:
            return None
        if matrix.shape[1] != self.width:
            raise self._wrong_width(matrix.shape[1])
        # What NaN and infinity mean is the library's to say.
        return self._graph if np.isfinite(matrix).all() else None

    @staticmethod
    def _for_graph(matrix: Matrix) -> Matrix:
        return np.ascontiguousarray(matrix, dtype=np.float32)

    def _checked(self, matrix: Matrix) -> Matrix:
        if matrix.ndim != 2 or matrix.shape[1] != self.width:
            raise self._wrong_width(matrix.shape[-1])
        # Some of scikit-learn's code takes the type it was fitted with and no other.
        exact = self._format == "skops" and not self.native.single
        return np.ascontiguousarray(matrix, dtype=np.float64 if exact else None)

    def _class_values(self, found: Matrix, known: Matrix | None = None) -> Matrix:
        """The values of classes that a model gave as values of its own, or as indices."""
        if self._values is None or (known is not None and np.array_equal(known, self._values)):
            return found.astype(np.float64, copy=False)
        values: Matrix = self._values[found.astype(np.intp)]
        return values

    def _index(self, values: Matrix) -> NDArray[np.intp]:
        if self._values is None:
            return values.astype(np.intp)
        return np.searchsorted(self._values, values)
