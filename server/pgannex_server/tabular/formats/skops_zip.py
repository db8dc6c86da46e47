"""scikit-learn by skops: arrays and named types in a zip file, never a pickle.

Only types of a closed list are constructed. skops names its files and notes after addresses
in memory and stamps them with the time, so what it writes is written anew with numbers in
order and no times: the same estimator gives the same bytes.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from typing import Any, Final

import numpy as np
from pgannex_wire import WireError

from pgannex_server.tabular.artifact import Blob
from pgannex_server.tabular.formats.base import MANY_ROWS, Matrix, Model, cannot, damaged


class _Refuse:
    """An import finder that says that some packages are not there."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"predictions do without {name}", name=name)
        return None


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Imports inside do not find `names`. No entries in sys.modules: scipy would take them for modules."""
    finder = _Refuse(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


# skops imports all of scikit-learn, whose adapters would import these for nothing: 130 MB and 2 s.
with _absent("torch", "cupy", "dask", "jax"):
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

FORMAT = "skops"
_KERNELS = (
    "CompoundKernel", "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation", "Matern",
    "PairwiseKernel", "Product", "RBF", "RationalQuadratic", "Sum", "WhiteKernel",
)  # fmt: skip
_DISTANCES = ("Euclidean", "Manhattan", "Chebyshev", "Minkowski", "SEuclidean", "Mahalanobis", "Canberra",
              "BrayCurtis", "Hamming", "Haversine")  # fmt: skip
TRUSTED: Final = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS),
    *(f"sklearn.metrics._dist_metrics.{name}Distance{bits}" for name in _DISTANCES for bits in ("64", "32")),
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._kd_tree.KDTree32",
    "sklearn.neighbors._kd_tree.KDTree64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._ball_tree.BallTree32",
    "sklearn.neighbors._ball_tree.BallTree64",
    "numpy.mean",
)
"""What skops does not trust by itself and our algorithms need. Nothing else is constructed."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
_SINGLE = (
    "RandomForestRegressor", "RandomForestClassifier", "ExtraTreesRegressor", "ExtraTreesClassifier",
    "GradientBoostingRegressor", "GradientBoostingClassifier",
)  # fmt: skip
"""Estimators that cast their rows to float32 before anything else."""
_DIVIDED = (*_SINGLE, "BaggingRegressor", "BaggingClassifier", "AdaBoostRegressor", "AdaBoostClassifier",
            "IsolationForest")  # fmt: skip
"""Estimators that compute with one thread, and let others run meanwhile."""
_PROBA_HINT = 'train with another algorithm; of svm and nu_svm with {"probability": true}'
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    UntrustedTypesFoundException,
    UnsupportedTypeException,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading a blob that is none raises, in zipfile, json, numpy, skops and scikit-learn."""


def dump(estimator: Any) -> bytes:
    """The blob of a fitted estimator. Raises WireError where skops cannot store it."""
    try:
        data = skops.io.dumps(estimator)
        unknown = set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED)
    except UnsupportedTypeException as err:
        raise _unsupported(estimator, str(err)) from err
    if unknown:
        raise _unsupported(estimator, f"it holds {', '.join(sorted(unknown))}")
    return _settled(data)


def load(blob: Blob, threads: int) -> Model:
    """The estimator of a blob that `dump` made."""
    try:
        estimator = skops.io.loads(bytes(blob), trusted=list(TRUSTED))
    except _UNREADABLE as err:
        raise damaged(FORMAT, err) from err
    if not hasattr(estimator, "get_params"):
        raise damaged(FORMAT, f"it holds a {type(estimator).__name__}")
    return Sklearn(estimator, threads)


def _unsupported(estimator: Any, why: str) -> WireError:
    return WireError(
        "bad_argument",
        f"a {type(estimator).__name__} with these hyperparameters cannot be stored: {why}",
        hint="leave out hyperparameters that are functions or objects",
    )


def _settled(data: bytes) -> bytes:
    """The same zip file with names and notes that depend on nothing but the estimator."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        schema = json.loads(old.read("schema.json"))
        numbers: dict[int, int] = {}
        files: dict[str, str] = {}
        _renumber(schema, numbers, files)
        for before, after in files.items():
            new.writestr(zipfile.ZipInfo(after, _EPOCH), old.read(before))
        new.writestr(zipfile.ZipInfo("schema.json", _EPOCH), json.dumps(schema, separators=(",", ":")))
    return out.getvalue()


def _renumber(root: Any, numbers: dict[int, int], files: dict[str, str]) -> None:
    """Number the notes and files of a schema in the order in which they appear."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(reversed(node))
        elif isinstance(node, dict):
            if isinstance(node.get("__id__"), int):
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
            name = node.get("file")
            if isinstance(name, str):
                suffix = name.rpartition(".")[2]
                node["file"] = files.setdefault(name, f"{len(files)}.{suffix}")
            waiting.extend(reversed([node[key] for key in node]))


class Sklearn(Model):
    """An estimator of scikit-learn."""

    def __init__(self, estimator: Any, threads: int) -> None:
        self.estimator = estimator
        self.title = type(estimator).__name__
        self.single = self.title in _SINGLE
        known = getattr(estimator, "classes_", None)
        if isinstance(known, np.ndarray) and known.ndim == 1:
            self.classes = np.asarray(known, dtype=np.float64)
        # n_jobs would start processes, or add up trees in any order: many rows are divided instead.
        if "n_jobs" in estimator.get_params(deep=False):
            estimator.set_params(n_jobs=None)
        self.threads = threads if self.title in _DIVIDED else 1

    def _ask(self, method: str, matrix: Matrix) -> Matrix:
        ask = getattr(self.estimator, method)
        if self.threads == 1 or len(matrix) < MANY_ROWS:
            return np.asarray(ask(matrix))
        with ThreadPoolExecutor(self.threads) as pool:
            return np.concatenate(list(pool.map(ask, np.array_split(matrix, self.threads))))

    def predict(self, matrix: Matrix) -> Matrix:
        return self._ask("predict", matrix)

    def proba(self, matrix: Matrix) -> Matrix:
        if not hasattr(self.estimator, "predict_proba"):
            raise cannot("say how probable a class is", self, _PROBA_HINT)
        return self._ask("predict_proba", matrix)

    def decompose(self, matrix: Matrix) -> Matrix:
        if not hasattr(self.estimator, "transform"):
            raise cannot("decompose", self, "only models of the task decomposition can")
        return self._ask("transform", matrix)

    def score(self, matrix: Matrix) -> Matrix:
        if not hasattr(self.estimator, "offset_"):
            raise cannot("score anomalies", self, "only models of the task anomaly can")
        # Not -x: what is exactly on the border has the score 0, not -0.
        return 0.0 - self._ask("decision_function", matrix)
