"""Forecasts by exponential smoothing: level, damped trend and season, each series by itself.

The fit is statsmodels', which is an extra; what it finds is five numbers and a season, and a
forecast from them needs no library. A series that is too short for a season or a trend is
smoothed without.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError

from pgannex_server.tabular.artifact import Blob
from pgannex_server.tabular.forecast_series import One

Array = NDArray[Any]

FORMAT = "ets-json"
HYPERPARAMS = ("trend", "damped", "seasonal")


@dataclass(frozen=True, slots=True)
class Smoothed:
    """Where a series ended. `season`: what is added at the next steps, over and over."""

    level: float
    trend: float
    damping: float
    season: tuple[float, ...]

    def go_on(self, steps: int) -> Array:
        ahead = np.arange(1, steps + 1)
        grown = np.cumsum(self.damping**ahead) if self.damping != 1.0 else ahead
        season = np.resize(np.array(self.season or (0.0,)), steps)
        return np.asarray(self.level + self.trend * grown + season, dtype=np.float64)


def check(hyperparams: Mapping[str, Any]) -> None:
    """Raises WireError for an unknown hyperparameter, or without statsmodels."""
    for name, value in hyperparams.items():
        if name not in HYPERPARAMS or not isinstance(value, bool):
            raise WireError(
                "bad_argument",
                f"ets has no hyperparameter `{name}` = {json.dumps(value)}",
                hint=f"known, each true or false: {', '.join(HYPERPARAMS)}",
            )
    _library()


def smooth(one: One, season: int, hyperparams: Mapping[str, Any]) -> Smoothed:
    """Fit one series."""
    count = len(one.values)
    seasonal = bool(hyperparams.get("seasonal", True)) and season > 1 and count >= 2 * season + 1
    trend = bool(hyperparams.get("trend", True)) and count >= 6
    damped = trend and bool(hyperparams.get("damped", True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge is seen in the backtest
        fitted = (
            _library()
            .ExponentialSmoothing(
                np.asarray(one.values, dtype=np.float64),
                trend="add" if trend else None,
                damped_trend=damped,
                seasonal="add" if seasonal else None,
                seasonal_periods=season if seasonal else None,
                initialization_method="estimated",
            )
            .fit()
        )
    phi = float(fitted.params["damping_trend"]) if damped else 1.0
    return Smoothed(
        float(fitted.level[-1]),
        float(fitted.trend[-1]) if trend else 0.0,
        phi if math.isfinite(phi) else 1.0,
        tuple(float(value) for value in fitted.season[-season:]) if seasonal else (),
    )


def dump(found: Sequence[Smoothed]) -> bytes:
    return json.dumps([asdict(one) for one in found], separators=(",", ":")).encode()


def load(blob: Blob) -> list[Smoothed]:
    try:
        return [Smoothed(**{**one, "season": tuple(one["season"])}) for one in json.loads(bytes(blob))]
    except (ValueError, TypeError, KeyError) as err:
        raise WireError(
            "artifact_invalid", f"the blob is no {FORMAT} model: {err}", hint="train it again"
        ) from err


def _library() -> Any:
    try:
        from statsmodels.tsa import holtwinters
    except ImportError as err:
        raise WireError(
            "engine_missing",
            "ets needs the package statsmodels, which the server's Python does not have",
            detail=str(err),
            hint="install pgannex[statsmodels], or use lightgbm or xgboost",
        ) from err
    return holtwinters
