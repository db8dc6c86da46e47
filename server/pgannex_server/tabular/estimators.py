"""From an algorithm's name and hyperparameters to an estimator, and its fit.

Which question it answers: which class it is, whether it takes those hyperparameters, and what
is set where the call says nothing: the seed, the threads, silence. Names and values that
PostgresML's other runtime knew are translated here. The library is imported here and nowhere
before. What the numbers are worth is `metrics.py`; trying several sets of them `search.py`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from pgannex_wire import WireError

from pgannex_server.tabular import boosting, permitted
from pgannex_server.tabular.algorithms import Algorithm
from pgannex_server.tabular.cells import Array
from pgannex_server.tabular.outcome import Report
from pgannex_server.tabular.spec import TrainSpec

Progress = Callable[[int, int], None]
"""Called with how many iterations are done, and of how many."""

_THREADED: Final = frozenset({"random_forest", "extra_trees", "knn", "isolation_forest"})
"""Estimators of scikit-learn whose n_jobs is threads that compute."""

_COUNTS: Final = frozenset({"n_estimators", "num_iterations", "iterations", "n_clusters", "n_neighbors"})

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def class_of(row: Algorithm, task: str) -> type[Any]:
    """The class, imported. Raises engine_missing where its library is not installed."""
    module, _, name = row.classes[task].partition(":")
    try:
        found: type[Any] = getattr(importlib.import_module(module), name)
    except ImportError as err:
        package = row.extra or module.partition(".")[0]
        raise WireError(
            "engine_missing",
            f"{row.name} needs the package {package}, which the server's Python does not have",
            detail=str(err),
            hint=f"pip install {package}",
        ) from err
    return found


def check(spec: TrainSpec) -> None:
    """Raises WireError where the algorithm cannot be used so: before any row is read."""
    class_of(spec.row, spec.task)
    for name in (*spec.hyperparams, *spec.search_params):
        _check_name(spec, name)
    for given in (spec.hyperparams, spec.search_params):
        for name, value in given.items():
            permitted.check_value(spec.row, name, value)
            _check_count(spec, name, value if given is spec.search_params else [value])
    translated(spec, {**spec.hyperparams, **{name: values[0] for name, values in spec.search_params.items()}})


def _check_count(spec: TrainSpec, name: str, values: Any) -> None:
    """The libraries grow no tree at all for a count below 1, and stumble over it later."""
    own = spec.row.renamed.get(name, name)
    for value in values if isinstance(values, list | tuple) else [values]:
        if own in _COUNTS and isinstance(value, int | float) and value < 1:
            raise WireError(
                "bad_argument", f"{name} = {value} is less than 1", hint="how many there shall be: 1 or more"
            )


def names_of(row: Algorithm, task: str) -> list[str]:
    """The hyperparameters that the algorithm takes."""
    own = arguments_of(class_of(row, task))
    known = permitted.of(row, {*own, *boosting.more_names(row)})
    renamed = {name for name, own_name in row.renamed.items() if own_name in known}
    return sorted({*known, *renamed, *boosting.aliases_of(row, known)})


def arguments_of(made: type[Any]) -> frozenset[str]:
    """The names that a class is made with; where it passes on what it does not know, its bases' too."""
    found: set[str] = set()
    for base in made.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        found |= {p.name for p in parameters if p.kind in _POSITIONAL}
        if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters):
            break
    return frozenset(found - {"self"})


def _check_name(spec: TrainSpec, name: str) -> None:
    known = names_of(spec.row, spec.task)
    if spec.algorithm == "linear" and spec.task == "classification":
        known.append("alpha")
    if name not in known:
        raise WireError(
            "bad_argument",
            f"{spec.algorithm} has no hyperparameter `{name}`",
            hint=f"known for {spec.task}: {', '.join(boosting.without_aliases(spec.row, known))}",
        )


def translated(spec: TrainSpec, hyperparams: Mapping[str, Any]) -> dict[str, Any]:
    """The same under the class's own names. Raises where one comes under two names."""
    found: dict[str, Any] = {}
    for name, value in hyperparams.items():
        own = spec.row.renamed.get(name, name)
        if own == "tol" and name == "eps" and spec.algorithm != "svm":
            own = name
        if own in found:
            raise WireError(
                "bad_argument",
                f"`{name}` and another hyperparameter are the same: {own}",
                hint="give one of them",
            )
        found[own] = value
    if spec.algorithm == "linear" and spec.task == "classification" and "alpha" in found:
        alpha = found.pop("alpha")
        found.setdefault("C", 1.0 / alpha if alpha else np.inf)
    if spec.algorithm == "svm" and found.get("kernel") == "poli":
        found["kernel"] = "poly"
    return boosting.translated(spec.row, found)


def create(spec: TrainSpec, hyperparams: Mapping[str, Any], classes: int = 0, threads: int = 1) -> Any:
    """An estimator that is not fitted yet."""
    row = spec.row
    made = class_of(row, spec.task)
    settings = boosting.for_classes(row, translated(spec, hyperparams), classes)
    permitted.check_names(row, settings)
    takes = arguments_of(made)
    if "random_state" in takes:
        settings.setdefault("random_state", spec.seed)
    settings = permitted.bounded_threads(boosting.settled(row, settings, spec, threads), threads)
    if row.format == "skops" and row.name not in _THREADED:
        settings.pop("n_jobs", None)  # it would start processes, each with memory of its own
    if row.name in _THREADED and "n_jobs" in takes:
        settings.setdefault("n_jobs", threads)
    try:
        estimator = made(**settings)
    except (TypeError, ValueError) as err:
        raise unfit(spec, err) from err
    if row.joint and len(spec.labels) > 1:
        wrapper: type[Any] = importlib.import_module("sklearn.multioutput").MultiOutputRegressor
        return wrapper(estimator, n_jobs=1)
    return estimator


def fit(
    spec: TrainSpec, estimator: Any, matrix: Array, y: Array | None, progress: Progress | None = None
) -> Any:
    """The fitted estimator: another one where a clustering cannot predict. Raises bad_argument."""
    try:
        with boosting.told(spec.row, estimator, progress) as also:
            if y is None:
                estimator.fit(matrix, **also)
            else:
                estimator.fit(matrix, y, **also)
    except MemoryError:
        raise
    except Exception as err:  # the libraries' errors have no class in common but this
        raise unfit(spec, err) from err
    if spec.row.labelled and spec.task == "clustering":
        return _nearest(spec, estimator, matrix)
    if spec.row.name in _THREADED:
        estimator.set_params(n_jobs=None)
    return estimator


def unfit(spec: TrainSpec, err: Exception) -> Exception:
    """What the caller is told of a library's error; want of memory stays what it is."""
    if isinstance(err, WireError):
        return err
    text = str(err).strip()
    if any(words in text.lower() for words in ("bad_alloc", "bad allocation", "unable to allocate")):
        return MemoryError(text)
    if "was not enabled in this build" in text:
        return WireError(
            "engine_missing",
            f"this server's {spec.algorithm} cannot train on that device: {text}",
            hint="install a build of it for the device, or leave device out",
        )
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(err).__name__)
    return WireError(
        "bad_argument",
        f"{spec.algorithm} cannot be fitted: {boosting.plain(first)}"[:1000],
        detail=type(err).__name__,
        hint=f"hyperparams were {json.dumps(dict(spec.hyperparams))}"[:500],
    )


def _nearest(spec: TrainSpec, fitted: Any, matrix: Array) -> Any:
    """A clustering that only labels rows, as a model: a row is of the cluster of the nearest one.

    Birch has its own such rows, the centres of its subclusters, and the result is what its own
    predict gives. Features that were agglomerated put a row to the group that is highest in it.
    """
    made = importlib.import_module("sklearn.neighbors").KNeighborsClassifier
    rows = matrix
    if spec.algorithm == "birch":
        rows, labels = fitted.subcluster_centers_, fitted.subcluster_labels_
    elif spec.algorithm == "feature_agglomeration":
        labels = np.argmax(fitted.transform(matrix), axis=1)
    elif hasattr(fitted, "row_labels_"):
        labels = fitted.row_labels_
    else:
        labels = fitted.labels_
    return made(n_neighbors=1).fit(rows, np.asarray(labels, dtype=np.int64))


@contextmanager
def warnings_told(report: Report) -> Iterator[None]:
    """What the libraries warn of becomes lines for the caller, each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said: set[str] = set()
    for warning in caught:
        if issubclass(warning.category, FutureWarning | DeprecationWarning | ImportWarning | ResourceWarning):
            continue
        first = str(warning.message).strip().splitlines()
        text = f"{warning.category.__name__}: {first[0] if first else ''}"
        if text not in said and len(said) < 10:
            said.add(text)
            report.info(text)
