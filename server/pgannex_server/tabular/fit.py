"""One fit from collected rows to an unsigned artifact: `fit`.

Which question it answers: what happens between a table of rows and a model with its metrics, in
which order, and what the caller is told of it. Each step is a neighbour: targets, sampling,
learning, preprocessing, search, estimators, metrics, formats. `check` says what can be said
before a row is read. Anomalies and forecasts take another way from the table on.
"""

from __future__ import annotations

import importlib
import json
import math
import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from pgannex_wire import WireError
from threadpoolctl import threadpool_limits

from pgannex_server.tabular import (
    artifact,
    estimators,
    formats,
    learning,
    metrics,
    onnx_export,
    preprocessing,
    sampling,
    search,
    targets,
)
from pgannex_server.tabular.cells import Array
from pgannex_server.tabular.columns import Table
from pgannex_server.tabular.learning import Learnt
from pgannex_server.tabular.outcome import (
    Outcome,
    Paced,
    Report,
    cores,
    give_back,
    json_numbers,
    threads_for,
    versions,
)
from pgannex_server.tabular.sampling import Split
from pgannex_server.tabular.spec import TrainSpec
from pgannex_server.tabular.targets import Target

_OTHER_WAYS: Final = ("anomaly", "forecasting")
_LABELS_TOLD: Final = 10_000
_ROWS_KEPT: Final = onnx_export.ROWS
_FITTED: Final = 0.9
"""How far a fit is when only metrics and the artifact are left."""


def check(spec: TrainSpec) -> None:
    """Raises WireError for what is wrong without regard to the rows."""
    if spec.task not in _OTHER_WAYS:
        estimators.check(spec)


def fit(spec: TrainSpec, table: Table, report: Report) -> Outcome:
    """Fit what `spec` asks for. The table's columns are gone afterwards."""
    paced = Paced(report)
    if not table.nrows:
        raise WireError(
            "bad_argument",
            "there are no rows to train on",
            hint="does the role see any, under the table's row-level security?",
        )
    if spec.task in _OTHER_WAYS:
        outcome: Outcome = importlib.import_module(f"pgannex_server.tabular.{spec.task}").fit(
            spec, table, paced
        )
        return outcome
    check(spec)
    target, split = _divide(spec, table)
    learnt, data = prepare(spec, table, target, split, paced)
    threads = threads_for(spec.limits, data.train.size)
    with estimators.warnings_told(paced), threadpool_limits(threads):
        hyperparams, estimator, scores = _fit(spec, data, threads, paced)
        paced.progress(_FITTED, "measuring")
        began = time.perf_counter()
        scores |= metrics.of(spec.task, estimator, data.test, data.y_test, data.classes, spec.seed)
        scores["score_time"] = time.perf_counter() - began
    told = json_numbers(scores)
    paced.info(f"Metrics: {json.dumps({k: v for k, v in told.items() if k != 'search_results'})}")
    reason = _why_not(spec, estimator, data, scores)
    meta = metadata(spec, learnt, target, hyperparams)
    labels = _train_labels(estimator, data.train) if spec.row.labelled and spec.task == "clustering" else None
    # The rows are not needed any more, but for some that a conversion is compared on.
    some = data.train[:: -(-len(data.train) // _ROWS_KEPT)].copy()
    del data
    table.grid = None
    table.series.clear()
    body, also = store(spec, estimator, some, meta)
    result = {
        **summary(spec, table, learnt, split),
        "hyperparams": dict(hyperparams),
        "metrics": told,
        "deployable": not reason,
        "reason": reason or None,
        "bytes": len(body),
        **also,
    }
    if labels is not None:
        result["train_labels"] = labels
    return Outcome(body, result)


# -- before the fit --------------------------------------------------------------------------------


def _divide(spec: TrainSpec, table: Table) -> tuple[Target, Split]:
    target = targets.read(spec, table)
    split = sampling.split(spec, table.nrows, target.first)
    if spec.task == "classification":
        label = table.labels[0]
        target = targets.classify(target, label.categories, label.kind == "category", split)
    return target, split


def prepare(
    spec: TrainSpec, table: Table, target: Target, split: Split, report: Report
) -> tuple[Learnt, search.Data]:
    """Learn the columns, tell of the data set, and make the matrices of both sides."""
    report.progress(0.0, "preparing")
    first = target.first
    if table.grid is not None:
        table.grid.divide(split.test)
    weights = None if first is None else _class_values(target, first)[~split.test]
    learnt = learning.learn(spec, table, split, weights, cores(spec.limits))
    give_back()
    report.info(_dataset(table, learnt, target, split))
    train, test = preprocessing.split_matrix(learnt.encoders, table, split, spec.row.numbers)
    y_train, y_test = target.rows(split)
    return learnt, search.Data(train, test, y_train, y_test, len(target.classes or ()))


def _class_values(target: Target, first: Array) -> Array:
    """Codes as the values that they stand for: what a target encoding is the mean of."""
    if target.classes is None:
        return np.asarray(first, dtype=np.float64)
    values = np.array([*target.classes, *[math.nan] * int(max(0, first.max() + 1 - len(target.classes)))])
    return np.asarray(values[first])


def _dataset(table: Table, learnt: Learnt, target: Target, split: Split) -> str:
    distinct = len(target.classes) if target.classes else 0
    if not distinct and target.first is not None:
        distinct = next(int(c["statistics"]["distinct"]) for c in learnt.columns if c["label"])
    return (
        f"Dataset {{ num_features: {preprocessing.width_of(learnt.encoders)}, "
        f"num_labels: {len(table.labels)}, num_distinct_labels: {distinct}, num_rows: {table.nrows}, "
        f"num_train_rows: {split.train_rows}, num_test_rows: {split.test_rows} }}"
    )


# -- the fit ---------------------------------------------------------------------------------------


def _fit(
    spec: TrainSpec, data: search.Data, threads: int, report: Report
) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """(hyperparameters, the fitted estimator, what is known of it already)."""
    sets = search.combinations(spec)
    folds = search.folds_of(spec)
    report.info(
        f"Training Model {{ task: {spec.task}, algorithm: {spec.algorithm}, "
        f"runtime: {spec.runtime or 'python'} }}"
    )
    report.info(f"Hyperparameter searches: {len(sets)}, cross validation folds: {folds}")
    hyperparams: dict[str, Any] = dict(spec.hyperparams)
    scores: dict[str, Any] = {}
    if len(sets) * folds > 1:
        found = search.run(spec, data, report)
        hyperparams, scores["search_results"] = found.hyperparams, found.results
    elif spec.search_params:
        hyperparams |= sets[0]
    report.info(f"Hyperparams: {json.dumps(hyperparams)}")
    report.progress(0.0, "fitting")
    began = time.perf_counter()
    estimator = estimators.create(spec, hyperparams, data.classes, threads)
    estimator = estimators.fit(
        spec,
        estimator,
        data.train,
        data.y_train,
        lambda done, total: report.progress(_FITTED * done / total, f"fitting: {done} of {total}"),
    )
    scores["fit_time"] = time.perf_counter() - began
    return hyperparams, estimator, scores


def _why_not(spec: TrainSpec, estimator: Any, data: search.Data, scores: Mapping[str, Any]) -> str:
    """Why the model should not serve without being asked to; empty where it may."""
    key = metrics.DECIDING[spec.task]
    if not math.isfinite(scores[key]):
        return f"its {key} on {len(data.test)} held-out rows is not a number"
    if data.y_test is None or len(data.y_test) < 2 or bool((data.y_test == data.y_test[0]).all()):
        return ""
    found = np.asarray(estimator.predict(data.test[:_LABELS_TOLD])).reshape(
        min(len(data.test), _LABELS_TOLD), -1
    )
    if bool((found == found[0]).all()):
        return f"it predicts the same value for each of {len(found)} held-out rows"
    return ""


# -- what is left of it ----------------------------------------------------------------------------


def metadata(
    spec: TrainSpec, learnt: Learnt, target: Target, hyperparams: Mapping[str, Any]
) -> dict[str, Any]:
    """Of the artifact. No times: the same rows and call give the same bytes."""
    width = preprocessing.width_of(learnt.encoders)
    return {
        "format": spec.row.format,
        "onnx": False,
        "task": spec.task,
        "algorithm": spec.algorithm,
        "labels": [column.name for column in spec.labels],
        "classes": target.classes,
        "label_texts": target.texts,
        "columns": [encoder.to_meta() for encoder in learnt.encoders],
        "width": width,
        "raw_width": width,
        "joint": len(spec.labels) > 1,
        "seed": spec.seed,
        "versions": _versions(spec),
        "extra": {"project": spec.project, "hyperparams": json_numbers(dict(hyperparams))},
    }


def store(spec: TrainSpec, estimator: Any, rows: Array, meta: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """(the artifact's body, what the result says of it)."""
    native = formats.dump(estimator, spec.row.format)
    blobs: dict[str, bytes] = {"model": native}
    if spec.row.onnx and len(spec.labels) <= 1:
        export = onnx_export.export(estimator, spec.row.format, native, rows, spec.seed)
        meta |= export.meta
        if export.blob is not None:
            blobs["onnx"] = export.blob
    return artifact.build(meta, blobs), {"onnx": bool(meta["onnx"])}


def summary(spec: TrainSpec, table: Table, learnt: Learnt, split: Split) -> dict[str, Any]:
    """The part of a result that is about the call and the rows."""
    return {
        "project": spec.project,
        "task": spec.task,
        "algorithm": spec.algorithm,
        "runtime": spec.runtime or "python",
        "num_features": preprocessing.width_of(learnt.encoders),
        "columns": json_numbers(learnt.columns),
        "analysis": {"samples": table.nrows},
        "rows": table.nrows,
        "train_rows": split.train_rows,
        "test_rows": split.test_rows,
        "rows_sha256": table.sha256,
        "seed": spec.seed,
        "versions": _versions(spec),
    }


def _versions(spec: TrainSpec) -> dict[str, str]:
    module = spec.row.classes[spec.task].partition(":")[0].partition(".")[0]
    return versions(*({"skops"} if spec.row.format == "skops" else {module}))


def _train_labels(estimator: Any, rows: Array) -> list[int]:
    return [int(label) for label in estimator.predict(rows[:_LABELS_TOLD])]
