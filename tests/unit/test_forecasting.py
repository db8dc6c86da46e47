"""The task forecasting: it beats repeating the last season, and its intervals hold what they say."""

from __future__ import annotations

import importlib.util
import json
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pgannex_server.tabular import artifact, predictor
from pgannex_server.tabular.fit import fit
from pgannex_server.tabular.forecaster import Forecaster
from pgannex_server.tabular.outcome import Outcome
from pgannex_server.tabular.spec import TrainSpec
from pgannex_wire import WireError
from pgannex_wire.values import FIXED, RawColumn, pack_texts
from tabular_rows import Told

FIRST = date(2024, 1, 1)
_TO_2000 = (FIRST - date(2000, 1, 1)).days
_DAY_US = 86_400_000_000
Columns = dict[str, tuple[str, Any]]


def weekly(days: int, seed: int, base: float = 200.0) -> NDArray[np.float64]:
    d = np.arange(days)
    noise = np.random.default_rng(seed).normal(size=days) * 5
    return np.asarray(base + 30 * np.sin(2 * np.pi * d / 7) + 0.05 * d + noise)


def raw(pg_type: str, values: Any) -> RawColumn:
    if pg_type == "text":
        return pack_texts(values)
    layout = {"date": "<i4", "int4": "<i4", "float8": "<f8"}.get(pg_type, "<i8")
    width = int(layout[-1])
    return RawColumn(FIXED, bytes((width, 0)) + np.asarray(values).astype(layout).tobytes())


def train(
    columns: Columns, algorithm: str = "lightgbm", told: Told | None = None, **hyperparams: Any
) -> Outcome:
    """`columns`: name → (type, values); the label is `amount`."""
    from pgannex_server.tabular.columns import Collector

    described = [
        {"name": name, "pg_type": pg_type, "label": name == "amount"}
        for name, (pg_type, _) in columns.items()
    ]
    call = {"project": "p", "task": "forecasting", "algorithm": algorithm, "columns": described,
            "hyperparams": {"time_column": "at", **hyperparams}}  # fmt: skip
    spec = TrainSpec.parse(json.dumps(call))
    collector = Collector(spec.columns)
    nrows = len(columns["amount"][1])
    collector.feed(nrows, [raw(pg_type, values) for pg_type, values in columns.values()])
    return fit(spec, collector.finish(), told or Told())


def model_of(outcome: Outcome) -> Forecaster:
    found = predictor.load(*artifact.read(artifact.sign(outcome.body, b"key")))
    assert isinstance(found, Forecaster)
    return found


def daily(values: Any) -> Columns:
    return {"at": ("date", np.arange(len(values)) + _TO_2000), "amount": ("float8", values)}


@pytest.fixture(scope="module")
def one_series() -> Outcome:
    return train(daily(weekly(500, seed=1)), horizon=14)


@pytest.mark.parametrize("algorithm", ["lightgbm", "xgboost"])
def test_it_beats_the_seasonal_naive(algorithm: str) -> None:
    metrics = train(daily(weekly(500, seed=1)), algorithm, horizon=14).result["metrics"]
    assert metrics["mean_absolute_error"] < 0.9 * metrics["seasonal_naive_mean_absolute_error"]
    assert metrics["skill"] > 0.1
    assert metrics["mean_absolute_scaled_error"] < metrics["seasonal_naive_mean_absolute_scaled_error"]
    assert 0.8 <= metrics["interval_coverage"] <= 1.0
    assert metrics["folds"] == 5


def test_the_next_steps_are_near_the_truth(one_series: Outcome) -> None:
    rows = model_of(one_series).forecast()
    assert len(rows) == 14
    assert [row["step"] for row in rows] == list(range(1, 15))
    assert rows[0]["at"] == str(FIRST + timedelta(500))
    assert rows[0]["series"] is None
    d = np.arange(500, 514)
    truth = 200 + 30 * np.sin(2 * np.pi * d / 7) + 0.05 * d
    assert np.abs(np.array([row["prediction"] for row in rows]) - truth).mean() < 6
    assert all(row["lower"] < row["prediction"] < row["upper"] for row in rows)
    widths = [row["upper"] - row["lower"] for row in rows]
    assert (np.diff(widths) > -1e-9).all()


def test_new_values_lie_in_the_intervals_as_often_as_promised() -> None:
    inside = []
    for seed in range(8):
        values = weekly(320, seed=100 + seed)
        rows = model_of(train(daily(values[:300]), horizon=20, level=0.8, n_estimators=40)).forecast()
        inside += [row["lower"] <= v <= row["upper"] for row, v in zip(rows, values[300:], strict=True)]
    assert 0.65 < np.mean(inside) < 0.97


def test_the_same_rows_in_any_order_give_the_same_bytes(one_series: Outcome) -> None:
    values = weekly(500, seed=1)
    order = np.random.default_rng(0).permutation(500)
    columns: Columns = {"at": ("date", order + _TO_2000), "amount": ("float8", values[order])}
    assert train(columns, horizon=14).body == one_series.body


def test_longer_than_trained_and_shorter(one_series: Outcome) -> None:
    model = model_of(one_series)
    assert len(model.forecast(3)) == 3
    longer = model.forecast(40)
    assert longer[:14] == model.forecast()
    widths = [row["upper"] - row["lower"] for row in longer]
    assert (np.diff(widths) > -1e-9).all()
    with pytest.raises(WireError, match="horizon = 0"):
        model.forecast(0)


def test_a_forecast_has_bounds_and_is_made_in_short_steps(one_series: Outcome) -> None:
    model = model_of(one_series)
    for steps in (0, 10_001, 1_000_000):
        with pytest.raises(WireError, match=f"horizon = {steps} for 1 series") as caught:
            model.forecast(steps)
        assert caught.value.code == "bad_argument"
        assert caught.value.hint == "give 1 to 10000 steps"
    parts = list(model.steps(1500))
    assert [len(rows) for rows in parts if rows] == [1000, 500]
    assert len(parts) > 1500


def test_series_side_by_side_say_what_they_say_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    days = np.arange(100)
    columns: Columns = {
        "at": ("date", np.tile(days, 5) + _TO_2000),
        "shop": ("text", [f"shop {i}" for i in range(5) for _ in days]),
        "amount": ("float8", np.concatenate([weekly(100, seed=i) for i in range(5)])),
    }
    model = model_of(train(columns, series_key="shop", horizon=7, n_estimators=10))
    together = model.forecast()
    monkeypatch.setattr("pgannex_server.tabular.forecaster._SERIES", 2)
    assert model.forecast() == together
    with pytest.raises(WireError, match="for 5 series") as caught:
        model.forecast(10_001)
    assert caught.value.hint == "give 1 to 10000 steps"


def test_several_series_of_different_size() -> None:
    small, large = weekly(300, seed=2) / 100, weekly(280, seed=3, base=5000.0)
    columns: Columns = {
        "at": ("date", np.concatenate((np.arange(300), np.arange(280))) + _TO_2000),
        "shop": ("text", ["b"] * 300 + ["a"] * 280),
        "amount": ("float8", np.concatenate((small, large))),
    }
    outcome = train(columns, series_key="shop", horizon=7)
    rows = model_of(outcome).forecast(2)
    assert [(row["series"], row["step"]) for row in rows] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert rows[0]["at"] == str(FIRST + timedelta(280))
    assert rows[2]["at"] == str(FIRST + timedelta(300))
    assert abs(rows[0]["prediction"] - 5000) < 100
    assert abs(rows[2]["prediction"] - 2) < 1
    assert outcome.result["metrics"]["skill"] > 0


# -- covariates --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_covariates() -> Outcome:
    rng = np.random.default_rng(5)
    promo, holiday = rng.integers(0, 2, 400), rng.choice(["none", "half", "full"], 400)
    values = 100 + 40 * promo - 60 * (holiday == "full") + rng.normal(size=400)
    columns: Columns = {
        "at": ("date", np.arange(400) + _TO_2000),
        "promo": ("int4", promo),
        "holiday": ("text", holiday.tolist()),
        "amount": ("float8", values),
    }
    return train(columns, covariates=["promo", "holiday"], horizon=5)


def test_covariates_of_the_steps_to_come(with_covariates: Outcome) -> None:
    model = model_of(with_covariates)
    by_name = model.forecast(4, '{"promo": [0, 1, 0, 1], "holiday": ["none", "none", "full", "full"]}')
    assert [row["prediction"] for row in by_name] == pytest.approx([100, 140, 40, 80], abs=15)
    given = [
        {
            "at": str(FIRST + timedelta(400 + step)),
            "promo": step % 2,
            "holiday": "none" if step < 2 else "full",
        }
        for step in range(4)
    ]
    assert model.forecast(4, json.dumps(given[::-1])) == by_name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "needs the values of promo, holiday at the next 2 steps"),
        ('{"promo": [1, 1]}', "holiday has no values"),
        ('{"promo": [1], "holiday": ["none", "none"]}', "promo has 1 values, 2 steps"),
        (
            '[{"at": "2025-02-04", "promo": 1, "holiday": "none"}]',
            "1 of 2 steps have no covariates, the first",
        ),
        ('[{"promo": 1}]', "has no at"),
        ('[{"at": "soon", "promo": 1}]', '"soon" is no time'),
        ('{"promo": ["much", 1], "holiday": ["none", "none"]}', 'promo is "much"'),
        ("{", "no JSON"),
        ("3", "neither an array nor an object"),
    ],
)
def test_covariates_that_are_missing_or_wrong(
    with_covariates: Outcome, given: str | None, message: str
) -> None:
    with pytest.raises(WireError, match=message) as failed:
        model_of(with_covariates).forecast(2, given)
    assert failed.value.code == "bad_argument"


# -- time --------------------------------------------------------------------------------------


def month_ends(count: int) -> list[int]:
    found = []
    for at in range(count):
        year, month = divmod(at + 1, 12)
        found.append((date(2015 + year, month + 1, 1) - timedelta(1) - date(2000, 1, 1)).days)
    return found


@pytest.mark.parametrize(
    ("pg_type", "times", "ahead"),
    [
        ("date", month_ends(84), ["2022-01-31", "2022-02-28", "2022-03-31"]),
        ("timestamp", np.arange(84) * 3600_000_000, ["2000-01-04 12:00:00", "2000-01-04 13:00:00"]),
        ("timestamptz", np.arange(84) * 900_000_000, ["2000-01-01 21:00:00+00", "2000-01-01 21:15:00+00"]),
        ("date", np.arange(84) * 7, ["2001-08-11", "2001-08-18"]),
        ("int4", np.arange(84) * 10, ["840", "850"]),
    ],
)
def test_steps_of_every_kind(pg_type: str, times: Any, ahead: list[str]) -> None:
    values = 50 + 10 * np.sin(2 * np.pi * np.arange(84) / 6) + np.random.default_rng(1).normal(size=84)
    columns: Columns = {"at": (pg_type, np.asarray(times)), "amount": ("float8", values)}
    rows = model_of(train(columns, season=6, horizon=6, n_estimators=20)).forecast()
    assert [row["at"] for row in rows][: len(ahead)] == ahead


def test_the_season_that_steps_suggest() -> None:
    values = weekly(200, seed=4)
    assert train(daily(values), n_estimators=5).result["hyperparams"]["season"] == 7
    columns: Columns = {"at": ("timestamp", np.arange(200) * 3600_000_000), "amount": ("float8", values)}
    assert train(columns, n_estimators=5).result["hyperparams"]["season"] == 24


# -- the bad day -------------------------------------------------------------------------------


def test_missing_steps_are_an_error_or_filled() -> None:
    values = weekly(200, seed=6)
    columns: Columns = {
        "at": ("date", np.delete(np.arange(200), [50, 51]) + _TO_2000),
        "amount": ("float8", np.delete(values, [50, 51])),
    }
    with pytest.raises(WireError, match="lacks 2 of 200 steps of 1 day, the first at 2024-02-20") as failed:
        train(columns)
    assert "fill" in failed.value.hint
    told = Told()
    assert len(model_of(train(columns, told=told, fill="linear", n_estimators=5)).forecast(1)) == 1
    assert "Filled 2 missing steps: linear" in told.lines


def test_rows_that_make_no_series() -> None:
    values = weekly(40, seed=6)
    twice: Columns = {"at": ("date", np.arange(40) // 2 + _TO_2000), "amount": ("float8", values)}
    with pytest.raises(
        WireError, match="the series has several rows at 2024-01-01, and 20 such rows"
    ) as failed:
        train(twice)
    assert "series_key" in failed.value.hint
    uneven: Columns = {
        "at": ("timestamp", np.arange(40) * _DAY_US + (np.arange(40) == 9) * 77),
        "amount": ("float8", values),
    }
    with pytest.raises(WireError, match="not at even steps of 1 day"):
        train(uneven)
    with pytest.raises(WireError, match="the longest series has 20 steps: too few to forecast 14"):
        train(daily(values[:20]), horizon=14)


@pytest.mark.parametrize(
    ("hyperparams", "message"),
    [
        ({"time_column": "when"}, 'no feature "when"'),
        ({"time_column": None}, "needs time_column"),
        ({"level": 1.5}, "level is 1.5"),
        ({"horizon": 0}, "horizon is 0"),
        ({"horizon": "long"}, 'horizon is "long"'),
        ({"lags": []}, r"lags is \[\]"),
        ({"fill": "guess"}, 'fill is "guess"'),
        ({"trees": 5}, "no hyperparameter `trees`"),
    ],
)
def test_settings_that_are_none(hyperparams: dict[str, Any], message: str) -> None:
    with pytest.raises(WireError, match=message) as failed:
        train(daily(weekly(100, seed=1)), **hyperparams)
    assert failed.value.code == "bad_argument"
    assert failed.value.hint


def test_a_forecaster_predicts_no_rows(one_series: Outcome) -> None:
    with pytest.raises(WireError, match="predicts no rows") as failed:
        model_of(one_series).predict(np.zeros((1, 3)))
    assert "pgml.forecast" in failed.value.hint


# -- exponential smoothing ---------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("statsmodels") is not None, reason="statsmodels is installed")
def test_without_statsmodels_it_says_so() -> None:
    with pytest.raises(WireError, match="needs the package statsmodels") as failed:
        train(daily(weekly(200, seed=1)), "ets")
    assert failed.value.code == "engine_missing"


@pytest.mark.skipif(importlib.util.find_spec("statsmodels") is None, reason="statsmodels is not installed")
def test_smoothing_is_that_of_statsmodels() -> None:
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    values = weekly(200, seed=1)
    outcome = train(daily(values), "ets", horizon=14, folds=2)
    library = ExponentialSmoothing(
        values, trend="add", damped_trend=True, seasonal="add", seasonal_periods=7,
        initialization_method="estimated",
    ).fit()  # fmt: skip
    found = [row["prediction"] for row in model_of(outcome).forecast()]
    np.testing.assert_allclose(found, library.forecast(14), rtol=1e-9)
    assert outcome.result["metrics"]["skill"] > 0.1
