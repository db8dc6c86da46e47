"""A rolling-origin backtest: what a way of forecasting would have said, and how wrong it was.

Which question it answers: how good are the forecasts, against repeating the last season, and
how wide is an interval that holds a given share of the values. Fold by fold the last steps are
taken away, the model is fitted to what is left and forecasts them. Errors are counted per
series in units of its usual change, so that large series do not drown small ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError

from pgannex_server.tabular.forecast_lags import scale_of
from pgannex_server.tabular.forecast_series import One

Array = NDArray[Any]
Ahead = Callable[[Sequence[One], Array], Array]
"""Fit to these series, then forecast: covariates (series × steps × covariates) → series × steps."""

_SHORTEST: Final = 8
_ENOUGH: Final = 4
"""How many times more errors than the interval leaves out, for a step to have its own width."""


@dataclass(frozen=True, slots=True)
class Tested:
    """Of every fold and series: steps ahead, one row each. `fold` says which rows are of which."""

    actual: Array
    found: Array
    naive: Array
    scale: Array
    fold: Array

    @property
    def errors(self) -> Array:
        """Rows × steps, in units of the series' usual change."""
        found: Array = np.abs(self.actual - self.found) / self.scale[:, None]
        return found


def shortest(season: int) -> int:
    """How many steps a series needs to be learnt from."""
    return max(2 * season, _SHORTEST)


def run(
    series: Sequence[One],
    horizon: int,
    season: int,
    folds: int,
    ahead: Ahead,
    told: Callable[[int, int], None],
) -> Tested:
    """Raises bad_argument where no series is long enough for one fold."""
    least = shortest(season)
    longest = max(len(one.values) for one in series)
    possible = min(folds, (longest - least) // horizon)
    if possible < 1:
        raise WireError(
            "bad_argument",
            f"the longest series has {longest} steps: too few to forecast {horizon} and to see how well",
            hint=f"at least {least + horizon} are needed with season {season}: give more rows, "
            "or a shorter horizon or season",
        )
    parts = []
    for number, back in enumerate(range(possible, 0, -1)):
        told(number, possible)
        there = [one for one in series if len(one.values) - back * horizon >= least]
        parts.append(_fold(there, back * horizon, horizon, season, ahead))
    actual, found, naive, scale = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    fold = np.repeat(np.arange(possible), [len(part[0]) for part in parts])
    return Tested(actual, found, naive, scale, fold)


def _fold(
    series: Sequence[One], back: int, horizon: int, season: int, ahead: Ahead
) -> tuple[Array, Array, Array, Array]:
    """(actual, found, naive, scale), a row per series."""
    past = [one.until(len(one.values) - back) for one in series]
    spans = [slice(len(one.values), len(one.values) + horizon) for one in past]
    covariates = np.stack([one.covariates[span] for one, span in zip(series, spans, strict=True)])
    return (
        np.stack([one.values[span] for one, span in zip(series, spans, strict=True)]),
        ahead(past, covariates),
        np.stack([np.resize(one.values[-season:], horizon) for one in past]),
        np.array([scale_of(one.values, season) for one in past]),
    )


def measured(tested: Tested, level: float) -> dict[str, float]:
    """The metrics of a forecast."""
    error, naive = np.abs(tested.actual - tested.found), np.abs(tested.actual - tested.naive)
    size = np.abs(tested.actual) + np.abs(tested.found)
    share = np.divide(2 * error, size, out=np.zeros_like(error), where=size > 0)
    mae, naive_mae = float(error.mean()), float(naive.mean())
    return {
        "mean_absolute_scaled_error": float(tested.errors.mean()),
        "mean_absolute_error": mae,
        "root_mean_squared_error": math.sqrt(float((error**2).mean())),
        "symmetric_mean_absolute_percentage_error": float(share.mean()),
        "seasonal_naive_mean_absolute_error": naive_mae,
        "seasonal_naive_mean_absolute_scaled_error": float((naive / tested.scale[:, None]).mean()),
        "skill": 1.0 - mae / naive_mae if naive_mae else float("nan"),
        "interval_coverage": coverage(tested, level),
        "interval_level": level,
        "folds": float(len(np.unique(tested.fold))),
    }


def widths(errors: Array, level: float) -> list[float]:
    """Half an interval's width at each step ahead, in units of the series' usual change.

    The conformal quantile of the errors at that step; where those are few, of the nearest steps
    too. It never shrinks with the distance.
    """
    count, horizon = errors.shape
    wanted = min(count * horizon, math.ceil(_ENOUGH / (1.0 - level)))
    found: list[float] = []
    for step in range(horizon):
        reach = 0
        while count * (min(horizon, step + reach + 1) - max(0, step - reach)) < wanted:
            reach += 1
        pool = np.sort(errors[:, max(0, step - reach) : step + reach + 1].reshape(-1))
        rank = min(len(pool), math.ceil((len(pool) + 1) * level))
        found.append(max([float(pool[rank - 1]), *found[-1:]]))
    return found


def coverage(tested: Tested, level: float) -> float:
    """The share of values inside intervals that other folds' errors gave; NaN for one fold."""
    inside, errors = [], tested.errors
    for fold in np.unique(tested.fold):
        others = errors[tested.fold != fold]
        if len(others):
            inside.append((errors[tested.fold == fold] <= np.array(widths(others, level))).reshape(-1))
    return float(np.concatenate(inside).mean()) if inside else float("nan")
