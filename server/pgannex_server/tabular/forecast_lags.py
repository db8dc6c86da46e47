"""Forecasts by boosted trees: the past values of a series as features of its next one.

Which question it answers: what a model of rows sees of a series, the same in a fit and in a
forecast. A row is a step; its features are past values, means and spreads, the calendar and
covariates. Values are taken relative to the level of the last season and to how much the series
usually changes, so that one model serves large and small series and follows a trend. Several
steps are forecast one after the other, each from the ones before.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pgannex_server.tabular.forecast_clock import Clock, calendar
from pgannex_server.tabular.forecast_series import One

Array = NDArray[Any]
Predict = Callable[[Array], Array]

_SEASONS: Final = 8
_MOST_DEFAULT_LAGS: Final = 14
_SHORTEST_LEVEL: Final = 3
_MOST_ROWS: Final = 1_000_000
_LEAST_ROWS: Final = 100
_NUMBERS: Final = 4_000_000
"""Of all windows at a time."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which past values a row is made of."""

    lags: tuple[int, ...]
    season: int

    @property
    def level_window(self) -> int:
        return max(self.season, _SHORTEST_LEVEL)

    @property
    def window(self) -> int:
        """How many past values a row needs."""
        return max(self.lags[-1], _SEASONS * self.season, 2 * self.level_window)

    def to_meta(self) -> dict[str, Any]:
        return asdict(self)


def recipe_of(lags: tuple[int, ...], season: int) -> Recipe:
    """The lags asked for; else the last few values and those round the last seasons."""
    if lags:
        return Recipe(lags, season)
    found = set(range(1, min(max(season, _SHORTEST_LEVEL), _MOST_DEFAULT_LAGS) + 1))
    if season > 1:
        found |= {season - 1, season, season + 1, 2 * season}
    return Recipe(tuple(sorted(found)), season)


def scale_of(values: Array, season: int) -> float:
    """How much a series usually changes in a season; what its errors are measured in."""
    for found in (np.abs(values[season:] - values[:-season]) if len(values) > season else [],
                  np.abs(np.diff(values)), np.abs(values)):  # fmt: skip
        if len(found) and (mean := float(np.mean(found))) > 0:
            return mean
    return 1.0


def rows_at(
    history: Array, scale: Array, places: Array, times: Array, covariates: Array, recipe: Recipe, clock: Clock
) -> tuple[Array, Array]:
    """(features, level) of steps whose past values are `history`: rows × window, the newest last."""
    season, scale = recipe.season, scale.reshape(-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing known is NaN, as it should be
        level = np.nanmean(history[:, -recipe.level_window :], axis=1)
        columns = [(history[:, -lag] - level) / scale for lag in recipe.lags]
        for past in (history[:, -2 * recipe.level_window :], history):
            columns.append((np.nanmean(past, axis=1) - level) / scale)
        columns.append(np.nanstd(history[:, -recipe.level_window :], axis=1) / scale)
        if season > 1:
            seasonal = history[:, [-season * back for back in range(1, _SEASONS + 1)]]
            columns.append((np.nanmean(seasonal, axis=1) - level) / scale)
            columns.append(np.round(clock.places(times)) % season)
    columns += calendar(times, clock)
    columns.append(places.astype(np.float64))
    return np.column_stack([*columns, covariates]), level


def design(series: Sequence[One], recipe: Recipe, clock: Clock) -> tuple[Array, Array]:
    """(features, targets) of all steps that have a past worth the name; of very many the latest."""
    most = max(_LEAST_ROWS, _MOST_ROWS // len(series))
    parts = [part for at, one in enumerate(series) for part in _design_one(one, at, recipe, clock, most)]
    return np.concatenate([x for x, _y in parts]), np.concatenate([y for _x, y in parts])


def _design_one(
    one: One, place: int, recipe: Recipe, clock: Clock, most: int
) -> Iterator[tuple[Array, Array]]:
    """In pieces, because a piece's windows are all in memory at once."""
    count = len(one.values)
    padded = np.concatenate((np.full(recipe.window, np.nan), one.values))
    windows = np.lib.stride_tricks.sliding_window_view(padded, recipe.window)
    scale = scale_of(one.values, recipe.season)
    piece = max(1, _NUMBERS // recipe.window)
    for start in range(max(min(recipe.level_window, count // 2), count - most), count, piece):
        rows = slice(start, min(start + piece, count))
        size = rows.stop - rows.start
        x, level = rows_at(
            windows[rows],
            np.full(size, scale),
            np.full(size, place),
            one.times[rows],
            one.covariates[rows],
            recipe,
            clock,
        )
        yield x, (one.values[rows] - level) / scale


@dataclass(slots=True)
class Tail:
    """What is left of a series: enough to go on from."""

    name: str | None
    last: int
    values: Array
    scale: float


def tail_of(one: One, recipe: Recipe) -> Tail:
    return Tail(one.name, one.last, one.values[-recipe.window :], scale_of(one.values, recipe.season))


def go_on(
    tails: Sequence[Tail], predict: Predict, covariates: Array, recipe: Recipe, clock: Clock, dtype: str
) -> Array:
    """Series × steps; `covariates` are series × steps × covariates."""
    steps = step_by_step(tails, 0, predict, covariates, recipe, clock, dtype)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Array = end.value
            return found


def step_by_step(
    tails: Sequence[Tail],
    first: int,
    predict: Predict,
    covariates: Array,
    recipe: Recipe,
    clock: Clock,
    dtype: str,
) -> Generator[None, None, Array]:
    """The same, with a stop after every step. `first`: how many series of the model are before these."""
    steps, window = covariates.shape[1], recipe.window
    values = np.full((len(tails), window + steps), np.nan)
    for at, tail in enumerate(tails):
        values[at, window - len(tail.values) : window] = tail.values
    scale = np.array([tail.scale for tail in tails])
    places = np.arange(first, first + len(tails))
    for step in range(steps):
        times = np.array([clock.time_of(tail.last, step + 1) for tail in tails], dtype=np.int64)
        x, level = rows_at(
            values[:, step : step + window], scale, places, times, covariates[:, step], recipe, clock
        )
        found = predict(np.ascontiguousarray(x, dtype=dtype))
        values[:, window + step] = level + np.asarray(found, dtype=np.float64) * scale
        yield
    return values[:, window:]
