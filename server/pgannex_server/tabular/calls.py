"""Questions to a predictor process that are no predictions: metrics, forecasts, its own Python."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
from pgannex_wire import WireError

Arguments = Mapping[str, Any]


def answer(name: str, arguments: Arguments, predictor: Any = None) -> Any:
    """What `name` gives, as something that JSON can say."""
    if name == "forecast":
        return _forecast(predictor, arguments)
    return _QUESTIONS[name](arguments)


# -- metrics -----------------------------------------------------------------------------------


def _metrics(arguments: Arguments) -> Any:
    kind = arguments["kind"]
    truth = np.array([float(v) for v in arguments["ground_truth"]], dtype=np.float64)
    found = np.array([float(v) for v in arguments["y_hat"]], dtype=np.float64)
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
    return metric(truth, found, arguments.get("num_classes"))


def _r2(truth: Any, found: Any, _classes: int | None) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(truth, found))


def _regression(truth: Any, found: Any, classes: int | None) -> dict[str, float]:
    from sklearn.metrics import mean_absolute_error, mean_squared_error

    return {
        "r2": _r2(truth, found, classes),
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


def _f1(truth: Any, found: Any, _classes: int | None) -> float:
    from sklearn.metrics import f1_score

    return _scored(f1_score, truth, found)


def _classification(truth: Any, found: Any, classes: int | None) -> dict[str, float]:
    from sklearn import metrics

    answer = {
        "f1": _f1(truth, found, classes),
        "f1_micro": float(metrics.f1_score(truth, found, average="micro", zero_division=0)),
        "precision": _scored(metrics.precision_score, truth, found),
        "recall": _scored(metrics.recall_score, truth, found),
        "accuracy": float(metrics.accuracy_score(truth, found)),
        "mcc": float(metrics.matthews_corrcoef(truth, found)),
    }
    if classes == 2 and len(np.unique(truth)) == 2:
        answer["roc_auc"] = float(metrics.roc_auc_score(truth, found))
    return answer


def _confusion(truth: Any, found: Any, classes: int | None) -> list[list[int]]:
    from sklearn.metrics import confusion_matrix

    labels = None if classes is None else list(range(classes))
    matrix: list[list[int]] = confusion_matrix(truth, found, labels=labels).tolist()
    return matrix


METRICS: dict[str, Callable[[Any, Any, int | None], Any]] = {
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


def _forecast(predictor: Any, arguments: Arguments) -> list[dict[str, Any]]:
    if predictor is None or not hasattr(predictor, "forecast"):
        raise WireError(
            "bad_argument", "the model does not forecast", hint="train one with task => 'forecasting'"
        )
    rows: list[dict[str, Any]] = predictor.forecast(arguments.get("horizon"), arguments.get("row") or None)
    return rows


_QUESTIONS: dict[str, Callable[[Arguments], Any]] = {"metrics": _metrics, "environment": _environment}
