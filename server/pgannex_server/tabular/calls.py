"""Questions to a predictor process that are no predictions: metrics, forecasts, its own Python."""

from __future__ import annotations

import base64
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
from pgannex_wire import WireError

Arguments = Mapping[str, Any]

_SENT = {"f": ">f4", "d": ">f8"}
_MOST_PAIRS = 1_000_000
_MOST_CLASSES = 1000
"""Of a table of all pairs of them."""


def steps(name: str, arguments: Arguments, predictor: Any = None) -> Iterator[Any]:
    """What `name` gives, as something that JSON can say, perhaps in several parts.

    Where None comes nothing is wrong: it is a moment in which other work may go first.
    """
    if name == "forecast":
        yield from _forecast(predictor, arguments)
    elif name == "metrics":
        yield from _metrics(arguments)
    else:
        yield _QUESTIONS[name](arguments)


# -- metrics -----------------------------------------------------------------------------------


def _metrics(arguments: Arguments) -> Iterator[Any]:
    kind = arguments["kind"]
    truth, found = _array(arguments["ground_truth"]), _array(arguments["y_hat"])
    most = max(len(truth), len(found))
    if most > _MOST_PAIRS:
        raise WireError(
            "bad_argument",
            f"{most} elements are too many for one measure",
            hint=f"give {_MOST_PAIRS} pairs at most, such as a sample",
        )
    yield None
    if len(truth) != len(found):
        raise WireError(
            "bad_argument", f"ground_truth has {len(truth)} elements, y_hat {len(found)}", hint="give pairs"
        )
    if not len(truth):
        raise WireError("bad_argument", "ground_truth is empty", hint="give at least one pair")
    if not np.isfinite(truth).all() or not np.isfinite(found).all():
        raise WireError("bad_argument", "ground_truth and y_hat hold NaN or infinity", hint="leave them out")
    metric = METRICS.get(kind)
    if metric is None:
        raise WireError("bad_argument", f'kind = "{kind}" is unknown', hint=f"known: {', '.join(METRICS)}")
    yield from metric(truth, found, arguments.get("num_classes"))


def _array(given: Any) -> Any:
    """Elements that came as texts, or in their send form."""
    if isinstance(given, dict):
        item = np.dtype([("size", ">i4"), ("value", _SENT[given["type"]])])
        return np.frombuffer(base64.b64decode(given["sent"]), item)["value"].astype(np.float64)
    return np.array([float(v) for v in given], dtype=np.float64)


def _r2(truth: Any, found: Any, _classes: int | None) -> Iterator[Any]:
    from sklearn.metrics import r2_score

    yield float(r2_score(truth, found))


def _regression(truth: Any, found: Any, _classes: int | None) -> Iterator[Any]:
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    yield {
        "r2": float(r2_score(truth, found)),
        "mse": float(mean_squared_error(truth, found)),
        "mae": float(mean_absolute_error(truth, found)),
    }


def _average(truth: Any, found: Any) -> str:
    return "macro" if len(np.union1d(truth, found)) > 2 else "binary"


def _scored(metric: Callable[..., Any], truth: Any, found: Any) -> float:
    """A metric of classes: of the larger one where there are two, else the mean over all."""
    average = _average(truth, found)
    named = {"pos_label": float(max(truth.max(), found.max()))} if average == "binary" else {}
    return float(metric(truth, found, average=average, zero_division=0, **named))


def _f1(truth: Any, found: Any, _classes: int | None) -> Iterator[Any]:
    from sklearn.metrics import f1_score

    yield _scored(f1_score, truth, found)


def _classification(truth: Any, found: Any, classes: int | None) -> Iterator[Any]:
    from sklearn import metrics

    _check_classes(len(np.union1d(truth, found)))
    answer = {}
    measures: dict[str, Callable[[], Any]] = {
        "f1": lambda: _scored(metrics.f1_score, truth, found),
        "f1_micro": lambda: metrics.f1_score(truth, found, average="micro", zero_division=0),
        "precision": lambda: _scored(metrics.precision_score, truth, found),
        "recall": lambda: _scored(metrics.recall_score, truth, found),
        "accuracy": lambda: metrics.accuracy_score(truth, found),
        "mcc": lambda: metrics.matthews_corrcoef(truth, found),
    }
    if classes == 2 and len(np.unique(truth)) == 2:
        measures["roc_auc"] = lambda: metrics.roc_auc_score(truth, found)
    for name, measure in measures.items():
        yield None
        answer[name] = float(measure())
    yield answer


def _confusion(truth: Any, found: Any, classes: int | None) -> Iterator[Any]:
    from sklearn.metrics import confusion_matrix

    _check_classes(len(np.union1d(truth, found)) if classes is None else classes)
    labels = None if classes is None else list(range(classes))
    yield confusion_matrix(truth, found, labels=labels).tolist()


def _check_classes(count: int) -> None:
    if count > _MOST_CLASSES:
        raise WireError(
            "bad_argument",
            f"{count} classes are too many",
            hint=f"{_MOST_CLASSES} at most; for numbers there is pgml.regression_metrics",
        )


METRICS: dict[str, Callable[[Any, Any, int | None], Iterator[Any]]] = {
    "r2_score": _r2,
    "regression_metrics": _regression,
    "f1_score": _f1,
    "classification_metrics": _classification,
    "confusion_matrix": _confusion,
}


# -- the environment --------------------------------------------------------------------------


def _environment(arguments: Arguments) -> list[str]:
    question = arguments["question"]
    asked = ENVIRONMENT.get(question)
    if asked is None:
        raise WireError(
            "bad_argument", f'question = "{question}" is unknown', hint=f"known: {', '.join(ENVIRONMENT)}"
        )
    return list(asked(arguments.get("argument") or ""))


def _package_version(name: str) -> Sequence[str]:
    if not name:
        raise WireError("bad_argument", "package_version needs the name of a package", hint="argument = …")
    for known in (name, *metadata.packages_distributions().get(name, ())):
        try:
            return [metadata.version(known)]
        except metadata.PackageNotFoundError:
            continue
    raise WireError("bad_argument", f'the server\'s Python has no package "{name}"', hint="see pip_freeze")


def _freeze(_: str) -> Sequence[str]:
    found = {(d.metadata["Name"] or "", d.version) for d in metadata.distributions()}
    return sorted((f"{name}=={version}" for name, version in found if name), key=str.lower)


_NEEDED = ("numpy", "sklearn", "xgboost", "lightgbm")


def _dependencies(_: str) -> Sequence[str]:
    lines = []
    for name in _NEEDED:
        try:
            lines.append(f"{name} {importlib.import_module(name).__version__}")
        except ImportError as err:
            raise WireError(
                "engine_missing", f"the {name} package is missing", hint="install pgannex[tabular]"
            ) from err
    return [f"python {sys.version.split()[0]}", *lines]


def _cuda(_: str) -> Sequence[str]:
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return ["unavailable: torch is not installed"]
    if not torch.cuda.is_available():
        return ["unavailable: no GPU"]
    return [f"available: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]


ENVIRONMENT: dict[str, Callable[[str], Sequence[str]]] = {
    "python_version": lambda _: [sys.version],
    "package_version": _package_version,
    "pip_freeze": _freeze,
    "dependencies": _dependencies,
    "xgboost_version": lambda _: _package_version("xgboost-cpu" if _has("xgboost-cpu") else "xgboost"),
    "cuda": _cuda,
}


def _has(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


# -- forecasts --------------------------------------------------------------------------------


def _forecast(predictor: Any, arguments: Arguments) -> Iterator[Any]:
    if predictor is None or not hasattr(predictor, "forecast"):
        raise WireError(
            "bad_argument", "the model does not forecast", hint="train one with task => 'forecasting'"
        )
    for rows in predictor.steps(arguments.get("horizon"), arguments.get("row") or None):
        yield rows or None


_QUESTIONS: dict[str, Callable[[Arguments], Any]] = {"environment": _environment}
