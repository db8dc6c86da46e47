"""A forecasting model in memory: `forecast`, and refusals for everything else.

Which question it answers: what the next steps of each series are. It runs in predictor
processes, loaded by predictor.py. The future values of covariates come with the call, as JSON:
an array of objects that have the time (and the series) and the covariates, or one object with
an array of values per covariate, the same for every series.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError

from pgannex_server.tabular import forecast_ets, forecast_lags, formats
from pgannex_server.tabular.artifact import Blob
from pgannex_server.tabular.forecast_clock import Clock
from pgannex_server.tabular.forecast_lags import Recipe, Tail

Array = NDArray[Any]

_MOST_ROWS: Final = 1_000_000


class Forecaster:
    """See the module. It has the methods of a Predictor, to say that it is none."""

    def __init__(self, meta: Mapping[str, Any], blobs: Mapping[str, Blob], threads: int = 0) -> None:
        found = meta["forecast"]
        self.meta = meta
        self.task = "forecasting"
        self.algorithm = str(meta["algorithm"])
        self.width = self.raw_width = int(meta["width"])
        self.clock = Clock(**found["clock"])
        self.horizon = int(found["horizon"])
        self.time_column = str(found["time_column"])
        self.series_key = found["series_key"]
        self.covariates = [str(name) for name in found["covariates"]]
        self._texts: list[dict[str, int] | None] = [
            None if texts is None else {text: at for at, text in enumerate(texts)} for texts in found["texts"]
        ]
        self._widths = [float(width) for width in found["widths"]]
        self._tails = [
            Tail(
                one["name"], int(one["last"]), np.array(one["values"], dtype=np.float64), float(one["scale"])
            )
            for one in json.loads(bytes(blobs["series"]))
        ]
        self._numbers = str(found.get("numbers", "float64"))
        self._recipe: Recipe | None = None
        if meta["format"] == forecast_ets.FORMAT:
            self._smoothed = forecast_ets.load(blobs["model"])
            if len(self._smoothed) != len(self._tails):
                raise ValueError(f"{len(self._smoothed)} models of {len(self._tails)} series")
        else:
            self._recipe = Recipe(tuple(found["recipe"]["lags"]), int(found["recipe"]["season"]))
            self._model = formats.load(str(meta["format"]), blobs["model"], threads)

    def forecast(self, horizon: int | None = None, covariates: str | None = None) -> list[dict[str, Any]]:
        """A row per series and step: series, step, at, prediction, lower, upper."""
        steps = self.horizon if horizon is None else int(horizon)
        if steps < 1 or steps * len(self._tails) > _MOST_ROWS:
            raise WireError(
                "bad_argument",
                f"horizon = {steps} for {len(self._tails)} series",
                hint=f"at least 1, and {_MOST_ROWS} rows at most",
            )
        future = self._future(steps, covariates)
        if self._recipe is None:
            found = np.stack([one.go_on(steps) for one in self._smoothed])
        else:
            found = forecast_lags.go_on(
                self._tails, self._model.predict, future, self._recipe, self.clock, self._numbers
            )
        widths = self._reach(steps)
        return [
            {
                "series": tail.name,
                "step": step + 1,
                "at": self.clock.text_of(self.clock.time_of(tail.last, step + 1)),
                "prediction": value,
                "lower": value - widths[step] * tail.scale,
                "upper": value + widths[step] * tail.scale,
            }
            for tail, values in zip(self._tails, found.tolist(), strict=True)
            for step, value in enumerate(values)
        ]

    def _reach(self, steps: int) -> list[float]:
        """Widths; beyond what was tested they grow as a random walk's do."""
        known, last = len(self._widths), self._widths[-1]
        return [
            self._widths[at] if at < known else last * float(np.sqrt((at + 1) / known)) for at in range(steps)
        ]

    # -- covariates ---------------------------------------------------------------------------------

    def _future(self, steps: int, text: str | None) -> Array:
        out = np.full((len(self._tails), steps, len(self.covariates)), np.nan)
        if not self.covariates:
            return out
        given = self._given(steps, text)
        if isinstance(given, Mapping):
            for at, name in enumerate(self.covariates):
                out[:, :, at] = [self._number(at, value) for value in self._values_of(given, name, steps)]
        else:
            self._place(given, steps, out)
        return out

    def _given(self, steps: int, text: str | None) -> Any:
        names = ", ".join(self.covariates)
        example = {self.time_column: "…", **({self.series_key: "…"} if self.series_key else {}),
                   **dict.fromkeys(self.covariates, 0)}  # fmt: skip
        if text is None:
            raise WireError(
                "bad_argument",
                f"the model needs the values of {names} at the next {steps} steps",
                hint=f"covariates => '[{json.dumps(example, ensure_ascii=False)}, …]', a row per step",
            )
        try:
            given = json.loads(text)
        except ValueError as err:
            raise WireError("bad_argument", f"the covariates are no JSON: {err}") from err
        if not isinstance(given, list | dict):
            raise WireError("bad_argument", "the covariates are neither an array nor an object")
        return given

    def _values_of(self, given: Mapping[str, Any], name: str, steps: int) -> Sequence[Any]:
        values = given.get(name)
        if not isinstance(values, list) or len(values) < steps:
            there = len(values) if isinstance(values, list) else "no"
            raise WireError("bad_argument", f"{name} has {there} values, {steps} steps are asked for")
        return values[:steps]

    def _place(self, rows: Sequence[Any], steps: int, out: Array) -> None:
        times = {
            (at, self.clock.time_of(tail.last, step + 1)): (at, step)
            for at, tail in enumerate(self._tails)
            for step in range(steps)
        }
        names = {tail.name: at for at, tail in enumerate(self._tails)}
        there = np.zeros(out.shape[:2], dtype=bool)
        for row in rows:
            if not isinstance(row, Mapping) or self.time_column not in row:
                raise WireError("bad_argument", f"a row of covariates has no {self.time_column}")
            name = None if self.series_key is None else str(row.get(self.series_key))
            time = self.clock.parse(row[self.time_column])
            found = times.get((names.get(name, -1), time))
            if found is not None:
                out[found] = [self._number(at, row.get(name)) for at, name in enumerate(self.covariates)]
                there[found] = True
        if not there.all():
            at, step = (int(i) for i in np.argwhere(~there)[0])
            tail = self._tails[at]
            raise WireError(
                "bad_argument",
                f"{int((~there).sum())} of {there.size} steps have no covariates, the first at "
                f"{self.clock.text_of(self.clock.time_of(tail.last, step + 1))}"
                + ("" if tail.name is None else f' of series "{tail.name}"'),
                hint=f"give {', '.join(self.covariates)} for each step of each series",
            )

    def _number(self, at: int, value: Any) -> float:
        texts = self._texts[at]
        if value is None:
            return float("nan")
        if texts is not None:
            return float(texts.get(str(value), -1))
        try:
            return float(value)
        except (TypeError, ValueError) as err:
            raise WireError(
                "bad_argument", f"{self.covariates[at]} is {json.dumps(value)}, no number"
            ) from err

    # -- what a Predictor does ------------------------------------------------------------------------

    def _refuse(self, *_: Any) -> NoReturn:
        raise WireError(
            "bad_argument",
            "a model of forecasting predicts no rows",
            hint="SELECT * FROM pgml.forecast('project') gives the next steps of each series",
        )

    predict = predict_one = proba = labels = decompose = score = _refuse
    rows = features = columns_matrix = unusable = _refuse
