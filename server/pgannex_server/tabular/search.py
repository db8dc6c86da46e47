"""Trying hyperparameters: the grid or some of it, on folds of the training rows.

Which question it answers: which set of hyperparameters is best, and what was measured of each.
With two folds or more a set's score is its mean over the folds, and the winner is fitted anew to
all training rows, so that what is said of it is measured on rows that played no part in the
choice. With fewer, each set is fitted to the training rows and scored on the test rows, and the
winner is already fitted. Each try is in a process with its share
of the cores (`tries.py`), so that all cores are used and none twice.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from pgannex_server.tabular import estimators, metrics, sampling, tries
from pgannex_server.tabular.cells import Array
from pgannex_server.tabular.outcome import Report, cores, threads_for
from pgannex_server.tabular.spec import TrainSpec

_N_ITER: Final = 10
_CV: Final = 5
_LARGE: Final = 1 << 29
"""A matrix of this size is not fitted several times at once."""


@dataclass(frozen=True, slots=True)
class Data:
    """The rows of a fit. `classes`: how many the training rows have."""

    train: Array
    test: Array
    y_train: Array | None
    y_test: Array | None
    classes: int = 0

    @property
    def first(self) -> Array | None:
        y = self.y_train
        return y if y is None or y.ndim == 1 else y[:, 0]


@dataclass(frozen=True, slots=True)
class Found:
    """The best set, and `search_results` of pgml.models.metrics."""

    hyperparams: dict[str, Any]
    results: dict[str, Any]


def combinations(spec: TrainSpec) -> list[dict[str, Any]]:
    """The sets to try, each with the fixed hyperparameters. One where nothing is searched for."""
    names = list(spec.search_params)
    product = [
        dict(zip(names, values, strict=True)) for values in itertools.product(*spec.search_params.values())
    ]
    wanted = spec.search_args.get("n_iter", _N_ITER)
    if spec.search == "random" and wanted < len(product):
        chosen = np.random.default_rng(spec.seed).permutation(len(product))[: max(1, wanted)]
        product = [product[at] for at in sorted(chosen.tolist())]
    return product


def folds_of(spec: TrainSpec) -> int:
    """How many folds; below 2 the test rows are scored."""
    return spec.search_args.get("cv", _CV if spec.search else 1)


def run(spec: TrainSpec, data: Data, report: Report) -> Found:
    """Try every set on every fold. Raises the first error of a try."""
    sets = combinations(spec)
    count = folds_of(spec)
    splits: list[Any] = [None]
    if count >= 2:
        splits = list(sampling.folds(spec, count, data.first, len(data.train)))
    todo = [(at, fold) for at in range(len(sets)) for fold in range(len(splits))]
    workers = 1 if data.train.nbytes > _LARGE else min(cores(spec.limits), len(todo))
    threads = min(max(1, cores(spec.limits) // workers), threads_for(spec.limits, data.train.size))

    def attempt(index: int) -> dict[str, float]:
        at, fold = todo[index]
        return _attempt(spec, {**spec.hyperparams, **sets[at]}, data, splits[fold], threads)

    def told(done: int) -> None:
        report.progress(0.95 * done / len(todo), f"searching: {done} of {len(todo)} fits")

    scores = tries.run(attempt, len(todo), workers, told)
    results = _results(spec, sets, len(splits), scores)
    best = sets[results["best_index"]]
    return Found({**spec.hyperparams, **best}, results)


def _attempt(
    spec: TrainSpec, hyperparams: Mapping[str, Any], data: Data, rows: Any, threads: int
) -> dict[str, float]:
    """Fit one set to one fold and score it."""
    train, test, y_train, y_test = data.train, data.test, data.y_train, data.y_test
    if rows is not None:
        fitted, scored = rows
        test, train = train[scored], train[fitted]
        if y_train is not None:
            y_test, y_train = y_train[scored], y_train[fitted]
    classes = data.classes
    with threadpool_limits(threads):
        began = time.perf_counter()
        estimator = estimators.create(spec, hyperparams, classes, threads)
        estimator = estimators.fit(spec, estimator, train, y_train)
        middle = time.perf_counter()
        found = metrics.of(spec.task, estimator, test, y_test, classes, spec.seed)
    return {
        "score": found[metrics.DECIDING[spec.task]],
        "fit_time": middle - began,
        "score_time": time.perf_counter() - middle,
    }


def _results(
    spec: TrainSpec, sets: Sequence[Mapping[str, Any]], splits: int, found: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    def table(key: str) -> Array:
        return np.array([scores[key] for scores in found], dtype=np.float64).reshape(len(sets), splits)

    scores, fit, score = table("score"), table("fit_time"), table("score_time")
    means = scores.mean(axis=1)
    best = int(np.argmax(np.where(np.isnan(means), -math.inf, means)))
    return {
        "params": [dict(found) for found in sets],
        "n_splits": splits,
        "best_index": best,
        "mean_fit_time": fit.mean(axis=1).tolist(),
        "std_fit_time": fit.std(axis=1).tolist(),
        "mean_score_time": score.mean(axis=1).tolist(),
        "std_score_time": score.std(axis=1).tolist(),
        "mean_test_score": means.tolist(),
        "std_test_score": scores.std(axis=1).tolist(),
        **{f"split{fold}_test_score": scores[:, fold].tolist() for fold in range(splits)},
        **{f"param_{name}": [json.loads(json.dumps(s[name])) for s in sets] for name in spec.search_params},
    }
