"""The task anomaly: rows that are not like the others, with or without labels to measure it by.

Which question it answers: how an outlier detector is fitted and what is said of it. It learns
from the feature columns of the training rows alone. A label column, if there is one, is never
shown to it: true or a number other than 0 marks a known anomaly, and the held-out rows are
measured against it. A score is higher the stranger a row is, and above 0 the row is flagged.
What the columns become is `preprocessing.py`, the order of things `fit.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from pgannex_wire import WireError
from sklearn import metrics as sk

from pgannex_server.tabular import estimators, sampling
from pgannex_server.tabular import fit as fitting
from pgannex_server.tabular.cells import Array, Cells
from pgannex_server.tabular.columns import Table
from pgannex_server.tabular.outcome import Outcome, Report, json_numbers, threads_for
from pgannex_server.tabular.preprocessing import missing_of
from pgannex_server.tabular.spec import TrainSpec
from pgannex_server.tabular.targets import Target

_QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def fit(spec: TrainSpec, table: Table, report: Report) -> Outcome:
    """A fitted detector as an artifact, and what it says of the held-out rows."""
    spec = _translated(spec)
    check(spec)
    truth = _truth(spec, table)
    split = sampling.split(spec, table.nrows, truth)
    unlabelled = replace(spec, columns=tuple(c for c in spec.columns if not c.label))
    learnt, data = fitting.prepare(unlabelled, _features_of(table), Target(None), split, report)
    report.info(f"Training Model {{ task: {spec.task}, algorithm: {spec.algorithm} }}")
    report.progress(0.0, "fitting")
    with estimators.warnings_told(report):
        began = time.perf_counter()
        threads = threads_for(spec.limits, data.train.size)
        estimator = estimators.create(spec, spec.hyperparams, threads=threads)
        estimator = estimators.fit(spec, estimator, data.train, None)
        fit_time = time.perf_counter() - began
        began = time.perf_counter()
        scores = -np.asarray(estimator.decision_function(data.test), dtype=np.float64)
        flags = np.asarray(estimator.predict(data.test)) < 0
        found: Mapping[str, float] = measured(scores, flags, None if truth is None else truth[split.test])
    told = json_numbers({**found, "fit_time": fit_time, "score_time": time.perf_counter() - began})
    report.info(f"Metrics: {json.dumps(told)}")
    meta = fitting.metadata(spec, learnt, Target(None), spec.hyperparams)
    body, also = fitting.store(spec, estimator, data.train, meta)
    reason = _why_not(scores, flags)
    result = {
        **fitting.summary(spec, table, learnt, split),
        "hyperparams": dict(spec.hyperparams),
        "metrics": told,
        "deployable": not reason,
        "reason": reason or None,
        "bytes": len(body),
        **also,
    }
    return Outcome(body, result)


def check(spec: TrainSpec) -> None:
    """Raises bad_argument for what cannot be asked of this task."""
    if spec.search or spec.search_params:
        raise WireError(
            "bad_argument",
            "there is nothing to search by: a task without labels has no score to compare",
            hint="leave out search and search_params, and compare the metrics of several trainings",
        )
    if len(spec.labels) > 1:
        raise WireError(
            "bad_argument",
            f"anomaly takes one column of known anomalies, not {len(spec.labels)}",
            hint="name the column that is true or 1 for an anomaly, or none",
        )
    estimators.check(spec)


def _translated(spec: TrainSpec) -> TrainSpec:
    """Hyperparameters under the classes' own names; a detector of rows that it has not seen."""
    hyperparams = dict(spec.hyperparams)
    if spec.algorithm == "one_class_svm" and "contamination" in hyperparams and "nu" not in hyperparams:
        hyperparams["nu"] = hyperparams.pop("contamination")
    if spec.algorithm == "local_outlier_factor":
        if hyperparams.get("novelty") is False:
            raise WireError(
                "bad_argument",
                "novelty = false: such a local_outlier_factor says nothing of rows to come",
                hint="leave novelty out",
            )
        hyperparams["novelty"] = True
    return replace(spec, hyperparams=hyperparams)


def _features_of(table: Table) -> Table:
    series = {name: found for name, found in table.series.items() if not found.column.label}
    return Table(table.nrows, table.sizes, series, table.sha256)


def _truth(spec: TrainSpec, table: Table) -> Array | None:
    """1 for each known anomaly, 0 for the others; None without a label column."""
    if not spec.labels:
        return None
    series = table.labels[0]
    if series.kind != "number":
        raise WireError(
            "bad_argument",
            f'the label `{series.name}` is of type "{series.column.pg_type}"',
            hint="a column that is true, or another number than 0, for a known anomaly",
        )
    values = series.values()
    missing = missing_of(Cells(values, series.nulls()))
    if missing is not None:
        raise WireError(
            "bad_argument",
            f'The training data labels in "{series.name}" contain {int(missing.sum())} NULL values.',
            hint="train without that column, or on rows that have it",
        )
    found: Array = (values != 0).astype(np.float64)
    return found


def measured(scores: Array, flags: Array, truth: Array | None) -> Mapping[str, float]:
    """Of the held-out rows."""
    found = {"flagged_share": float(flags.mean())}
    for at, value in zip(_QUANTILES, np.quantile(scores, _QUANTILES).tolist(), strict=True):
        found[f"score_p{round(at * 100):02d}"] = value
    if truth is None:
        return found
    known = truth > 0
    both = 0 < int(known.sum()) < len(known)
    found["roc_auc"] = float(sk.roc_auc_score(known, scores)) if both else float("nan")
    found["average_precision"] = float(sk.average_precision_score(known, scores)) if both else float("nan")
    found["f1"] = float(sk.f1_score(known, flags, zero_division=0))
    found["precision"] = float(sk.precision_score(known, flags, zero_division=0))
    found["recall"] = float(sk.recall_score(known, flags, zero_division=0))
    return found


def _why_not(scores: Array, flags: Array) -> str:
    if not np.isfinite(scores).all():
        return f"its score is not a number for {int((~np.isfinite(scores)).sum())} held-out rows"
    if len(scores) > 1 and bool((scores == scores[0]).all()):
        return f"it gives the same score to each of {len(scores)} held-out rows"
    if len(flags) > 1 and bool(flags.all()):
        return f"it flags each of {len(flags)} held-out rows"
    return ""
