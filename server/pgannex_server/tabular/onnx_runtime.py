"""A tree ensemble in ONNX Runtime: one row in microseconds, where the libraries take hundreds.

Which question it answers: what the second blob of an artifact, "onnx", predicts. One thread and
plain sessions, because it serves single rows; batches go to the native model (predictor.py
decides). What the graph's outputs mean stands in the artifact's metadata, under "onnx_output":
"values" for a regression, "classes" for probabilities, "margin" for the log-odds of the second
of two classes.
Two classes that are closer than rounding are not its to choose between (`is_sure`).
Whether there is such a blob at all, onnx_export.py decided at the end of the fit.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError

from pgannex_server.tabular.artifact import Blob

Matrix = NDArray[Any]

CLOSE: Final = 2e-5
"""A difference of probabilities that float32 in another order could turn round."""
CLOSE_MARGIN: Final = 2e-4
"""The same of log-odds."""


class Graph:
    """A session that takes a matrix of float32."""

    __slots__ = ("_input", "_outputs", "_run", "output")

    def __init__(self, blob: Blob, output: str) -> None:
        try:
            import onnxruntime
        except ImportError as err:
            raise WireError(
                "engine_missing",
                "the model needs onnxruntime, which the server's Python does not have",
                hint="install pgannex[tabular]",
            ) from err
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(bytes(blob), options, providers=["CPUExecutionProvider"])
            self._input = session.get_inputs()[0].name
            self._outputs = [session.get_outputs()[-1].name]
        except Exception as err:  # its errors have no class in common but this
            raise WireError(
                "artifact_invalid",
                f"the blob is no ONNX model: {str(err).splitlines()[0] if str(err) else type(err).__name__}",
                hint="restore pgml.files from a backup, or train the model again",
            ) from err
        # The session's own run() looks at its arguments before it calls this.
        self._run = session._sess.run
        self.output = output

    def raw(self, matrix: Matrix) -> Matrix:
        """What the graph gives: rows × targets, or rows × classes."""
        found: list[Matrix] = self._run(self._outputs, {self._input: matrix}, None)
        return found[0]

    def values(self, matrix: Matrix) -> Matrix:
        """What the native model's `predict` gives: values, or indices of classes."""
        raw = self.raw(matrix)
        if self.output == "values":
            return raw.reshape(len(matrix)) if raw.size == len(matrix) else raw
        return self.classes(raw)

    def classes(self, raw: Matrix) -> Matrix:
        """The index of each row's most probable class."""
        if self.output == "margin":
            return (raw.reshape(len(raw)) > 0.0).astype(np.intp)
        found: Matrix = np.argmax(raw, axis=1)
        return found

    def proba(self, matrix: Matrix) -> Matrix:
        """Rows × classes."""
        raw = self.raw(matrix)
        if self.output == "margin":
            positive = 1.0 / (1.0 + np.exp(-raw.reshape(len(matrix))))
            return np.column_stack((1.0 - positive, positive))
        return raw

    def is_sure(self, raw: Matrix) -> NDArray[np.bool_]:
        """Where no other class is so close that rounding could decide: there the library does."""
        if self.output == "margin":
            sure: NDArray[np.bool_] = np.abs(raw.reshape(len(raw))) > CLOSE_MARGIN
            return sure
        two = np.partition(raw, -2, axis=1)[:, -2:]
        found: NDArray[np.bool_] = two[:, 1] - two[:, 0] > CLOSE
        return found

    def one(self, row: Matrix) -> float | None:
        """What `values` gives of a single row; None where a class is not sure."""
        raw = self.raw(row)[0].tolist()
        if self.output == "values":
            return float(raw[0])
        if self.output == "margin":
            return None if -CLOSE_MARGIN <= raw[0] <= CLOSE_MARGIN else float(raw[0] > 0.0)
        best = max(raw)
        at = raw.index(best)
        raw[at] = -1.0
        return None if best - max(raw) <= CLOSE else float(at)
