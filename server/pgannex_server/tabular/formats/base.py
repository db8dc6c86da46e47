"""What every format promises: a model that takes a matrix, and errors for what it cannot do."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError

from pgannex_server.tabular.artifact import Blob

Matrix = NDArray[Any]

MANY_ROWS: Final = 1000
"""From how many rows on several threads are worth waiting for each other."""

_DAMAGED_HINT = "restore pgml.files from a backup, or train the model again"


class Model:
    """A model in memory. Rows are those of a C-contiguous matrix of float32 or float64."""

    classes: Matrix | None = None
    """The values that `predict` gives and `proba` counts; None where they are numbered from 0."""

    single: bool = False
    """Whether the model itself computes with float32, so that a cast changes nothing."""

    def predict(self, matrix: Matrix) -> Matrix:
        """One value per row, or one per row and target. Of a classifier its class."""
        raise cannot("predict", self)

    def proba(self, matrix: Matrix) -> Matrix:
        """Rows × classes."""
        raise cannot("say how probable a class is", self)

    def decompose(self, matrix: Matrix) -> Matrix:
        """Rows × components."""
        raise cannot("decompose", self)

    def score(self, matrix: Matrix) -> Matrix:
        """How unusual each row is: higher is more so, above 0 is an anomaly."""
        raise cannot("score anomalies", self)


def cannot(what: str, model: object, hint: str = "") -> WireError:
    """The error of a question that the model has no answer to."""
    return WireError(
        "bad_argument",
        f"the model cannot {what}: it is a {getattr(model, 'title', type(model).__name__)}",
        hint=hint or "ask a model of another algorithm or task",
    )


def damaged(format: str, err: BaseException | str) -> WireError:
    """The error of a blob that its library does not take."""
    why = str(err).strip().splitlines()
    return WireError(
        "artifact_invalid",
        f"the blob is no {format} model: {why[0] if why else type(err).__name__}",
        hint=_DAMAGED_HINT,
    )


def largest(proba: Matrix) -> Matrix:
    """The index of each row's most probable class; the first of equals, as the libraries do."""
    found: Matrix = np.argmax(proba, axis=1)
    return found


def two_columns(positive: Matrix) -> Matrix:
    """Probabilities of both classes where a library gives that of the second."""
    return np.column_stack((1.0 - positive, positive))


# -- one model per target ---------------------------------------------------------------------

_SEVERAL: Final = b"PGANNEXM"
_COUNT = struct.Struct("!I")
_SIZE = struct.Struct("!Q")


class Several(Model):
    """A model for each target, side by side."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = models
        self.single = all(model.single for model in models)

    def predict(self, matrix: Matrix) -> Matrix:
        return np.column_stack([model.predict(matrix) for model in self.models])


def dump_several(estimator: Any, dump_one: Callable[[Any], bytes]) -> bytes:
    """The blob of an estimator, or of the estimators that a MultiOutputRegressor holds."""
    inner = getattr(estimator, "estimators_", None)
    if inner is None or not hasattr(estimator, "estimator"):
        return dump_one(estimator)
    blobs = [dump_one(one) for one in inner]
    return b"".join((_SEVERAL, _COUNT.pack(len(blobs)), *(_SIZE.pack(len(b)) + b for b in blobs)))


def load_several(blob: Blob, format: str, load_one: Callable[[bytes], Model]) -> Model:
    """The model of what `dump_several` made."""
    data = bytes(blob)
    if not data.startswith(_SEVERAL):
        return load_one(data)
    at = len(_SEVERAL) + _COUNT.size
    models: list[Model] = []
    try:
        (count,) = _COUNT.unpack_from(data, len(_SEVERAL))
        for _ in range(count):
            (size,) = _SIZE.unpack_from(data, at)
            at += _SIZE.size
            if size > len(data) - at:
                raise damaged(format, f"a target has {size} bytes, {len(data) - at} are left")
            models.append(load_one(data[at : at + size]))
            at += size
    except struct.error as err:
        raise damaged(format, err) from err
    if at != len(data) or not models:
        raise damaged(format, f"{len(data) - at} bytes follow {len(models)} targets")
    return Several(models)
