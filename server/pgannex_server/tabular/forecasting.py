"""The task forecasting: from a table of series to an artifact that goes on with them.

Which question it answers: in which order a forecast is made. Read the series, test the way of
forecasting on their past (backtest.py), fit it to all of it, keep the end of each series and
the widths of the intervals. Boosted trees see lags (forecast_lags.py); ets smooths
(forecast_ets.py). What the artifact says later is `forecaster.py`.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError

from pgannex_server.tabular import (
    artifact,
    backtest,
    estimators,
    forecast_ets,
    forecast_lags,
    formats,
    learning,
)
from pgannex_server.tabular import fit as fitting
from pgannex_server.tabular.columns import Table
from pgannex_server.tabular.forecast_series import NAMES, Many, One, Settings, read
from pgannex_server.tabular.outcome import Outcome, Report, cores, json_numbers, threads_for
from pgannex_server.tabular.sampling import Split
from pgannex_server.tabular.spec import Preprocessor, TrainSpec
from pgannex_server.tabular.targets import Target

Array = NDArray[Any]

_TESTED: Final = 0.8
"""How far a fit is when only the last model is left."""
_DEFAULT_HORIZON: Final = 12
_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "lightgbm": {"learning_rate": 0.05, "num_leaves": 15, "subsample": 0.7, "subsample_freq": 1,
                 "colsample_bytree": 0.5},
    "xgboost": {"learning_rate": 0.05, "max_depth": 4, "subsample": 0.7, "colsample_bytree": 0.5},
}  # fmt: skip


def fit(spec: TrainSpec, table: Table, report: Report) -> Outcome:
    """Raises bad_argument where the rows make no series, or are too few."""
    settings = Settings.of(spec)
    spec = replace(spec, hyperparams={k: v for k, v in spec.hyperparams.items() if k not in NAMES})
    check(spec, settings)
    spec = replace(spec, hyperparams=with_defaults(spec))
    report.progress(0.0, "preparing")
    learnt = _learn(spec, table)
    many = read(settings, table)
    season = settings.season or many.clock.season
    settings = replace(settings, season=season, horizon=settings.horizon or max(season, _DEFAULT_HORIZON))
    way: Lagged | Smoothing = (
        Smoothing(spec, settings) if spec.algorithm == "ets" else Lagged(spec, settings, many)
    )
    _tell(report, spec, settings, many, table)
    with estimators.warnings_told(report):
        began = time.perf_counter()
        tested = backtest.run(
            many.series, settings.horizon, season, settings.folds, way.ahead,
            lambda done, total: report.progress(_TESTED * done / total, f"backtest: {done} of {total}"),
        )  # fmt: skip
        score_time = time.perf_counter() - began
        report.progress(_TESTED, "fitting")
        began = time.perf_counter()
        blobs, facts = way.final(many.series)
        fit_time = time.perf_counter() - began
    scores = backtest.measured(tested, settings.level)
    told = json_numbers({**scores, "fit_time": fit_time, "score_time": score_time})
    report.info(f"Metrics: {json.dumps(told)}")
    hyperparams = {**_settings_json(settings), **spec.hyperparams}
    meta = fitting.metadata(spec, learnt, Target(None), hyperparams) | {
        "format": way.format,
        "width": way.width,
        "raw_width": way.width,
        "forecast": {
            "clock": many.clock.to_meta(),
            "horizon": settings.horizon,
            "season": season,
            "time_column": settings.time_column,
            "series_key": settings.series_key,
            "covariates": list(settings.covariates),
            "texts": many.texts,
            "level": settings.level,
            "widths": json_numbers(backtest.widths(tested.errors, settings.level)),
            **facts,
        },
    }
    body = artifact.build(meta, {**blobs, "series": _tails(many.series, way.window, season)})
    reason = _why_not(tested, scores)
    every_row = Split(np.zeros(table.nrows, dtype=bool))
    result = {
        **fitting.summary(spec, table, learnt, every_row),
        "num_features": way.width,
        "test_rows": int(tested.actual.size),
        "hyperparams": json_numbers(hyperparams),
        "metrics": told,
        "deployable": not reason,
        "reason": reason or None,
        "bytes": len(body),
        "onnx": False,
    }
    return Outcome(body, result)


def check(spec: TrainSpec, settings: Settings) -> None:
    """Raises WireError for what is wrong without regard to the rows."""
    if spec.search or spec.search_params:
        raise WireError(
            "bad_argument",
            "forecasting does not search for hyperparameters",
            hint="train several models: pgml.compare_models shows their backtests side by side",
        )
    if spec.algorithm == "ets":
        forecast_ets.check(spec.hyperparams)
        if settings.covariates or settings.lags:
            raise WireError(
                "bad_argument",
                "ets sees nothing but the series: no covariates, no lags",
                hint="leave them out, or use lightgbm or xgboost",
            )
    else:
        estimators.check(spec)


def with_defaults(spec: TrainSpec) -> dict[str, Any]:
    """The hyperparameters, and where the call says nothing those of a model that forgets noise.

    A series has few rows, and its lags say much the same: the libraries' own defaults learn by heart.
    """
    given = {spec.row.renamed.get(name, name) for name in spec.hyperparams}
    if spec.algorithm == "lightgbm":
        aliases = importlib.import_module("lightgbm.basic")._ConfigAliases
        given |= {name for name in _DEFAULTS["lightgbm"] if aliases.get(name) & given}
    defaults = _DEFAULTS.get(spec.algorithm, {})
    return {**{k: v for k, v in defaults.items() if k not in given}, **spec.hyperparams}


class Lagged:
    """Boosted trees on lags."""

    def __init__(self, spec: TrainSpec, settings: Settings, many: Many) -> None:
        self.spec = spec
        self.clock = many.clock
        self.recipe = forecast_lags.recipe_of(settings.lags, settings.season)
        self.format = spec.row.format
        self.window = self.recipe.window
        self.width = 0

    def _fit(self, series: Sequence[One]) -> Any:
        x, y = forecast_lags.design(series, self.recipe, self.clock)
        self.width = x.shape[1]
        x = np.ascontiguousarray(x, dtype=self.spec.row.numbers)
        threads = threads_for(self.spec.limits, x.size)
        estimator = estimators.create(self.spec, self.spec.hyperparams, threads=threads)
        return estimators.fit(self.spec, estimator, x, y)

    def ahead(self, past: Sequence[One], covariates: Array) -> Array:
        estimator = self._fit(past)
        tails = [forecast_lags.tail_of(one, self.recipe) for one in past]
        return forecast_lags.go_on(
            tails, estimator.predict, covariates, self.recipe, self.clock, self.spec.row.numbers
        )

    def final(self, series: Sequence[One]) -> tuple[dict[str, bytes], dict[str, Any]]:
        estimator = self._fit(series)
        facts = {"recipe": self.recipe.to_meta(), "numbers": self.spec.row.numbers}
        return {"model": formats.dump(estimator, self.format)}, facts


class Smoothing:
    """Exponential smoothing."""

    format = forecast_ets.FORMAT
    window = 1
    width = 1

    def __init__(self, spec: TrainSpec, settings: Settings) -> None:
        self.hyperparams = spec.hyperparams
        self.season = settings.season

    def ahead(self, past: Sequence[One], covariates: Array) -> Array:
        steps = covariates.shape[1]
        return np.stack(
            [forecast_ets.smooth(one, self.season, self.hyperparams).go_on(steps) for one in past]
        )

    def final(self, series: Sequence[One]) -> tuple[dict[str, bytes], dict[str, Any]]:
        found = [forecast_ets.smooth(one, self.season, self.hyperparams) for one in series]
        return {"model": forecast_ets.dump(found)}, {}


# -- what is told and kept ------------------------------------------------------------------------


def _learn(spec: TrainSpec, table: Table) -> learning.Learnt:
    """Statistics of the columns; missing values are the series' business, not theirs."""
    zero = {column.name: Preprocessor(impute="zero") for column in spec.features}
    split = Split(np.zeros(table.nrows, dtype=bool))
    learnt = learning.learn(replace(spec, preprocess=zero), table, split, None, cores(spec.limits))
    for column in learnt.columns:
        column["preprocessor"] = Preprocessor().to_json()
    return learnt


def _tell(report: Report, spec: TrainSpec, settings: Settings, many: Many, table: Table) -> None:
    report.info(
        f"Dataset {{ num_series: {len(many.series)}, num_rows: {table.nrows}, step: {many.clock.called}, "
        f"season: {settings.season}, horizon: {settings.horizon} }}"
    )
    if many.filled:
        report.info(f"Filled {many.filled} missing steps: {settings.fill}")
    used = {settings.time_column, settings.series_key, *settings.covariates}
    left = [column.name for column in spec.features if column.name not in used]
    if left:
        report.info(f"Not used: {', '.join(left)} (name columns whose future is known as covariates)")
    report.info(f"Training Model {{ task: {spec.task}, algorithm: {spec.algorithm} }}")


def _settings_json(settings: Settings) -> dict[str, Any]:
    found: Mapping[str, Any] = {name: getattr(settings, name) for name in NAMES}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in found.items()
        if value not in (None, ())
    }


def _tails(series: Sequence[One], window: int, season: int) -> bytes:
    """What go_on needs of each series."""
    tails = [
        {
            "name": one.name,
            "last": one.last,
            "values": one.values[-window:].tolist(),
            "scale": forecast_lags.scale_of(one.values, season),
        }
        for one in series
    ]
    return json.dumps(tails, separators=(",", ":")).encode()


def _why_not(tested: backtest.Tested, scores: Mapping[str, float]) -> str:
    if not np.isfinite(scores["mean_absolute_scaled_error"]):
        return "the errors of its backtest are not numbers"
    if tested.found.size > 1 and np.ptp(tested.found) == 0 and np.ptp(tested.actual) > 0:
        return f"it forecasts the same value for each of {tested.found.size} steps"
    return ""
