"""The series of a forecast: which columns are what, and each series at even steps.

Which question it answers: what `time_column`, `series_key`, `covariates` and the label hold, as
one array per series without gaps. Rows need not be sorted. A missing step is an error unless
`fill` says what stands there; two rows at one time are one always. What is learnt from a
series is `forecast_lags.py` and `forecast_ets.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError

from pgannex_server.tabular.cells import Cells
from pgannex_server.tabular.columns import Series, Table
from pgannex_server.tabular.forecast_clock import DAY, Clock, clock_of
from pgannex_server.tabular.preprocessing import missing_of
from pgannex_server.tabular.spec import TrainSpec

Array = NDArray[Any]

FILLS: Final = ("error", "previous", "linear", "zero")
NAMES: Final = (
    "time_column", "series_key", "covariates", "horizon", "lags", "season", "level", "fill", "folds",
)  # fmt: skip
_MOST_STEPS: Final = 10_000
_ROUNDING_US: Final = 4
"""Microseconds that a timestamp may lose on its way through days of double precision."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The hyperparameters that are about the forecast, not about the algorithm. `season` is 0
    until the clock is known, `lags` empty."""

    time_column: str
    series_key: str | None
    covariates: tuple[str, ...]
    horizon: int
    lags: tuple[int, ...]
    season: int
    level: float
    fill: str
    folds: int

    @classmethod
    def of(cls, spec: TrainSpec) -> Settings:
        """Raises bad_argument, with the hyperparameter's name and what it may be."""
        found = spec.hyperparams
        features = [column.name for column in spec.features]
        time_column = found.get("time_column")
        if not isinstance(time_column, str):
            raise _bad("forecasting needs time_column", f'hyperparams => {{"time_column": …}}: {features}')
        key = found.get("series_key")
        covariates = found.get("covariates") or []
        if isinstance(covariates, str):
            covariates = [covariates]
        if not isinstance(covariates, list):
            raise _bad(f"covariates is {json.dumps(covariates)}", "an array of columns' names")
        for name in [time_column, *([] if key is None else [key]), *covariates]:
            if name not in features:
                raise _bad(f'the rows have no feature "{name}"', f"their features: {', '.join(features)}")
        level = found.get("level", 0.9)
        if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
            raise _bad(f"level is {json.dumps(level)}", "the share of values within the interval: 0.9")
        fill = found.get("fill", "error")
        if fill not in FILLS:
            raise _bad(f"fill is {json.dumps(fill)}", f"one of: {', '.join(FILLS)}")
        return cls(
            time_column,
            key,
            tuple(covariates),
            _whole(found, "horizon", 0),
            _lags(found.get("lags")),
            _whole(found, "season", 0),
            float(level),
            fill,
            _whole(found, "folds", 5),
        )


def _bad(message: str, hint: str) -> WireError:
    return WireError("bad_argument", message, hint=hint)


def _whole(found: Mapping[str, Any], name: str, default: int) -> int:
    value = found.get(name, default)
    if value == default and name not in found:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_STEPS:
        raise _bad(f"{name} is {json.dumps(value)}", f"a whole number from 1 to {_MOST_STEPS}")
    return value


def _lags(value: object) -> tuple[int, ...]:
    if value is None:
        return ()
    lags = list(range(1, value + 1)) if isinstance(value, int) and 0 < value <= _MOST_STEPS else value
    fits = isinstance(lags, list) and all(type(lag) is int and 1 <= lag <= _MOST_STEPS for lag in lags)
    if not isinstance(lags, list) or not fits or not lags:
        raise _bad(f"lags is {json.dumps(value)}", "how many past values, or an array such as [1, 2, 7]")
    return tuple(sorted(set(lags)))


@dataclass(slots=True)
class One:
    """A series: a value per step up to `last`; covariates are steps × covariates."""

    name: str | None
    last: int
    values: Array
    covariates: Array
    times: Array = field(default_factory=lambda: np.empty(0))

    def until(self, count: int) -> One:
        """Its first `count` steps."""
        times = self.times[:count]
        return One(self.name, int(times[-1]), self.values[:count], self.covariates[:count], times)


@dataclass(frozen=True, slots=True)
class Many:
    """All series of a table. `texts`: per covariate its categories, None where it is a number."""

    clock: Clock
    series: list[One]
    texts: list[list[str] | None]
    filled: int


def read(settings: Settings, table: Table) -> Many:
    """Raises bad_argument where rows and settings do not make series."""
    times, is_time = _times(table[settings.time_column])
    values = _label(table.labels[0])
    covariates, texts = _covariates([table[name] for name in settings.covariates], table.nrows)
    names, codes = _keys(None if settings.series_key is None else table[settings.series_key], table.nrows)
    order = np.lexsort((times, codes))
    times, values, covariates, codes = times[order], values[order], covariates[order], codes[order]
    bounds = np.searchsorted(codes, np.arange(len(names) + 1))
    spans = [slice(int(bounds[at]), int(bounds[at + 1])) for at in range(len(names))]
    pg_type = table[settings.time_column].column.pg_type
    for name, span in zip(names, spans, strict=True):
        _check_distinct(name, times[span], pg_type, is_time)
    clock = clock_of([times[span] for span in spans], pg_type, is_time)
    series, filled = [], 0
    for name, span in zip(names, spans, strict=True):
        one = One(name, int(times[span][-1]), values[span], covariates[span], times[span])
        filled += _even(one, clock, settings.fill)
        series.append(one)
    return Many(clock, series, texts, filled)


def _times(series: Series) -> tuple[Array, bool]:
    if series.kind not in ("time", "number"):
        raise _bad(
            f'time_column "{series.name}" is of type "{series.column.pg_type}"',
            "a date, a timestamp, or a whole number",
        )
    values = series.values()
    if missing_of(Cells(values, series.nulls())) is not None or not np.isfinite(values).all():
        raise _bad(
            f'time_column "{series.name}" has NULL or infinite values', f"WHERE {series.name} IS NOT NULL"
        )
    if series.kind == "time":
        return np.round(values * DAY).astype(np.int64), True
    whole = values.astype(np.int64)
    if (whole != values).any():
        raise _bad(f'time_column "{series.name}" has fractions', "number the steps with whole numbers")
    return whole, False


def _label(series: Series) -> Array:
    if series.kind != "number":
        raise _bad(f'the label `{series.name}` is of type "{series.column.pg_type}"', "forecast a number")
    values = series.values().astype(np.float64)
    nulls = series.nulls()
    if nulls is not None:
        values[nulls] = np.nan
    if np.isinf(values).any():
        raise _bad(f'The training data labels in "{series.name}" contain infinite values', "leave them out")
    return values


def _keys(series: Series | None, nrows: int) -> tuple[list[str | None], Array]:
    """(the series' names, which of them each row belongs to)."""
    if series is None:
        return [None], np.zeros(nrows, dtype=np.int64)
    values = series.values()
    if series.nulls() is not None:
        raise _bad(f'series_key "{series.name}" has NULL values', "give every row its series")
    if series.kind == "category":
        return list(series.categories), values.astype(np.int64)
    if series.kind != "number":
        raise _bad(f'series_key "{series.name}" is of type "{series.column.pg_type}"', "a text or a number")
    known, codes = np.unique(values, return_inverse=True)
    return [str(value) for value in known.tolist()], codes.astype(np.int64)


def _covariates(found: Sequence[Series], nrows: int) -> tuple[Array, list[list[str] | None]]:
    out = np.full((nrows, len(found)), np.nan)
    texts: list[list[str] | None] = []
    for at, series in enumerate(found):
        if series.kind == "array":
            raise _bad(f'covariate "{series.name}" is an array', "unnest it into columns")
        values = series.values().astype(np.float64)
        nulls = series.nulls()
        out[:, at] = values if nulls is None else np.where(nulls, np.nan, values)
        texts.append(list(series.categories) if series.kind == "category" else None)
    return out, texts


def _of(name: str | None) -> str:
    return "the series" if name is None else f'series "{name}"'


def _check_distinct(name: str | None, times: Array, pg_type: str, is_time: bool) -> None:
    twice = np.flatnonzero(np.diff(times) == 0)
    if len(twice):
        at = Clock("us" if is_time else "number", 1, pg_type).text_of(int(times[twice[0]]))
        raise _bad(
            f"{_of(name)} has several rows at {at}, and {len(twice)} such rows in all",
            "name the column that tells series apart as series_key, or aggregate the rows first",
        )


def _even(one: One, clock: Clock, fill: str) -> int:
    """Put each row at its step, and fill what is missing; returns how many steps were."""
    places = clock.places(one.times)
    offsets = places - places[0]
    steps = np.round(offsets).astype(np.int64)
    late = (offsets - steps) * (clock.step if clock.unit == "us" else 1)
    off = np.flatnonzero(np.abs(late) > (_ROUNDING_US if clock.unit == "us" else 1e-6))
    if len(off):
        at = clock.text_of(int(one.times[off[0]]))
        raise _bad(
            f"{_of(one.name)} is not at even steps of {clock.called}: {at}",
            "aggregate it to even steps first, for instance with date_trunc and GROUP BY",
        )
    count = int(steps[-1]) + 1
    values = np.full(count, np.nan)
    values[steps] = one.values
    gaps = np.flatnonzero(np.isnan(values))
    if len(gaps):
        if fill == "error":
            first = clock.text_of(clock.time_of(int(one.times[0]), int(gaps[0])))
            raise _bad(
                f"{_of(one.name)} lacks {len(gaps)} of {count} steps of {clock.called}, the first at {first}",
                f'say what stands there: {{"fill": "previous"}} in hyperparams, or {" or ".join(FILLS[2:])}',
            )
        if count > 100 * len(steps) + 1000:
            raise _bad(
                f"{_of(one.name)} has {len(steps)} rows in {count} steps", "aggregate it to longer steps"
            )
        values = _filled(values, fill)
        covariates = np.full((count, one.covariates.shape[1]), np.nan)
        covariates[steps] = one.covariates
        one.covariates = covariates
        first_time = int(one.times[0])
        one.times = np.array([clock.time_of(first_time, at) for at in range(count)], dtype=np.int64)
    one.values = values
    return len(gaps)


def _filled(values: Array, fill: str) -> Array:
    known = np.flatnonzero(~np.isnan(values))
    if fill == "zero" or not len(known):
        return np.nan_to_num(values)
    if fill == "linear":
        return np.interp(np.arange(len(values)), known, values[known])
    before = np.maximum(np.searchsorted(known, np.arange(len(values)), side="right") - 1, 0)
    found: Array = values[known[before]]
    return found
