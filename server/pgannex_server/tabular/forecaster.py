"""A forecasting model in memory: `forecast`, and refusals for everything else.

Which question it answers: what the next steps of each series are. It runs in predictor
processes, loaded by predictor.py. The future values of covariates come with the call, as JSON:
an array of objects that have the time (and the series) and the covariates, or one object with
an array of values per covariate, the same for every series. A forecast is made in short steps, so
that a predictor can do something else between them.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError

from pgannex_server.tabular import forecast_ets, forecast_lags, formats
from pgannex_server.tabular.artifact import Blob
from pgannex_server.tabular.forecast_clock import Clock
from pgannex_server.tabular.forecast_lags import Recipe, Tail

Array = NDArray[Any]

_MOST_STEPS: Final = 10_000
_MOST_ROWS: Final = 100_000
_MOST_TRAINED_ROWS: Final = 1_000_000
"""Of a horizon no longer than the one that was trained for."""
_PART: Final = 1000
"""Rows of an answer that leave together."""
_SERIES: Final = 1024
_NUMBERS: Final = 500_000
"""Of the windows of the series that are forecast side by side."""
_LOOK_UP: Final = 500


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
        return [row for rows in self.steps(horizon, covariates) for row in rows]

    def steps(
        self, horizon: int | None = None, covariates: str | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """The same rows in parts, which are empty where something else may go first."""
        steps = self.horizon if horizon is None else int(horizon)
        self._check(steps)
        future = yield from self._future(steps, covariates)
        widths = self._reach(steps)
        rows: list[dict[str, Any]] = []
        side_by_side = (
            _SERIES if self._recipe is None else max(1, min(_SERIES, _NUMBERS // self._recipe.window))
        )
        for start in range(0, len(self._tails), side_by_side):
            tails = self._tails[start : start + side_by_side]
            found = yield from self._values(start, tails, future[start : start + side_by_side])
            for tail, values in zip(tails, found.tolist(), strict=True):
                for step, value in enumerate(values):
                    rows.append(
                        {
                            "series": tail.name,
                            "step": step + 1,
                            "at": self.clock.text_of(self.clock.time_of(tail.last, step + 1)),
                            "prediction": value,
                            "lower": value - widths[step] * tail.scale,
                            "upper": value + widths[step] * tail.scale,
                        }
                    )
                    if len(rows) == _PART:
                        yield rows
                        rows = []
        yield rows

    def _check(self, steps: int) -> None:
        series = len(self._tails)
        most = _MOST_TRAINED_ROWS if steps <= self.horizon else _MOST_ROWS
        if not 1 <= steps <= _MOST_STEPS or steps * series > most:
            limit = max(
                min(_MOST_STEPS, _MOST_ROWS // series), min(self.horizon, _MOST_TRAINED_ROWS // series)
            )
            raise WireError(
                "bad_argument",
                f"horizon = {steps} for {series} series",
                hint=f"give 1 to {max(1, limit)} steps",
            )

    def _values(self, start: int, tails: Sequence[Tail], future: Array) -> Generator[Any, None, Array]:
        """Series × steps of some series, with empty parts in between."""
        if self._recipe is None:
            found = []
            for one in self._smoothed[start : start + len(tails)]:
                found.append(one.go_on(future.shape[1]))
                yield []
            return np.stack(found)
        going = forecast_lags.step_by_step(
            tails, start, self._model.predict, future, self._recipe, self.clock, self._numbers
        )
        while True:
            try:
                next(going)
            except StopIteration as end:
                values: Array = end.value
                return values
            yield []

    def _reach(self, steps: int) -> list[float]:
        """Widths; beyond what was tested they grow as a random walk's do."""
        known, last = len(self._widths), self._widths[-1]
        return [
            self._widths[at] if at < known else last * float(np.sqrt((at + 1) / known)) for at in range(steps)
        ]

    # -- covariates ---------------------------------------------------------------------------------

    def _future(self, steps: int, text: str | None) -> Generator[Any, None, Array]:
        out = np.full((len(self._tails), steps, len(self.covariates)), np.nan)
        if not self.covariates:
            return out
        given = self._given(steps, text)
        if isinstance(given, Mapping):
            for at, name in enumerate(self.covariates):
                out[:, :, at] = [self._number(at, value) for value in self._values_of(given, name, steps)]
        else:
            yield from self._place(given, steps, out)
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

    def _place(self, rows: Sequence[Any], steps: int, out: Array) -> Generator[Any, None, None]:
        times = {}
        for at, tail in enumerate(self._tails):
            for step in range(steps):
                times[at, self.clock.time_of(tail.last, step + 1)] = (at, step)
                if len(times) % _LOOK_UP == 0:
                    yield []
        names = {tail.name: at for at, tail in enumerate(self._tails)}
        there = np.zeros(out.shape[:2], dtype=bool)
        for number, row in enumerate(rows):
            if number % _LOOK_UP == 0:
                yield []
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
