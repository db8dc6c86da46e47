"""The time of a series as whole steps: what a step is, which one a row is, what a step is called.

Which question it answers: are the rows of a series one step apart, and when is the next one.
Times are microseconds since 1970 in UTC, or plain numbers where the time column is one. Steps
are all of one length, or months where every row lies on the same day of its month (or on the
last). No features in here: calendar.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError

from pgannex_server.tabular.cells import days_of_text

Array = NDArray[Any]

DAY: Final = 86_400_000_000
_HOUR: Final = DAY // 24
_MONTHS: Final = (1, 2, 3, 4, 6, 12)
_LAST_DAY: Final = 31


@dataclass(frozen=True, slots=True)
class Clock:
    """`unit`: "us" (microseconds), "month" or "number"; `step`: how many of them. `day`, `of_day`:
    of a month's step, its day (31: the last) and microseconds after midnight."""

    unit: str
    step: int
    pg_type: str
    day: int = 1
    of_day: int = 0

    def to_meta(self) -> dict[str, Any]:
        return {"unit": self.unit, "step": self.step, "pg_type": self.pg_type, "day": self.day,
                "of_day": self.of_day}  # fmt: skip

    @property
    def season(self) -> int:
        """The season that people expect of such steps."""
        if self.unit == "month":
            return max(1, 12 // self.step)
        if self.unit == "number":
            return 1
        for length, season in ((365 * DAY, 1), (28 * DAY, 12), (7 * DAY, 52), (DAY, 7), (_HOUR, 24)):
            if self.step >= length:
                return season if self.step == length or length >= 28 * DAY else max(1, 7 * DAY // self.step)
        return max(2, DAY // self.step) if DAY // self.step <= 288 else max(2, _HOUR // self.step)

    @property
    def called(self) -> str:
        """A step in words."""
        if self.unit == "us":
            return str(timedelta(microseconds=self.step)).removesuffix(", 0:00:00")
        return f"{self.step} month{'s' * (self.step > 1)}" if self.unit == "month" else str(self.step)

    def places(self, times: Array) -> Array:
        """The number of each time, in steps of 1; fractions where it is not on a step."""
        if self.unit == "month":
            return _months(times) / self.step
        return times / self.step

    def time_of(self, last: int, steps: int) -> int:
        """The time `steps` after a time that a row has."""
        if self.unit != "month":
            return last + steps * self.step
        month = int(_months(np.array([last]))[0]) + steps * self.step
        first = np.datetime64(month, "M")
        length = int(((first + 1).astype("M8[D]") - first.astype("M8[D]")).astype(int))
        day = int(first.astype("M8[D]").astype(int)) + min(self.day, length) - 1
        return day * DAY + self.of_day

    def text_of(self, time: int) -> str:
        """A time as the column would show it."""
        if self.unit == "number":
            return str(time)
        found = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)
        if self.pg_type == "date":
            return found.strftime("%Y-%m-%d")
        text = found.replace(tzinfo=None).isoformat(" ")
        return text + "+00" if self.pg_type == "timestamptz" else text

    def parse(self, value: object) -> int:
        """A time as a caller writes it."""
        try:
            if self.unit == "number":
                return int(str(value))
            return round(days_of_text(str(value)) * DAY)
        except ValueError as err:
            raise WireError(
                "bad_argument", f'"{value}" is no time', hint=f"a {self.pg_type}, such as {self.text_of(0)}"
            ) from err


def clock_of(times: list[Array], pg_type: str, is_time: bool) -> Clock:
    """The clock of series whose times are sorted. Raises bad_argument where they keep none."""
    gaps = np.concatenate([np.diff(one) for one in times])
    if not len(gaps):
        raise WireError(
            "bad_argument",
            "every series has a single row",
            hint="a forecast needs a past; is series_key the right column?",
        )
    if is_time:
        monthly = _monthly(np.concatenate(times), gaps, pg_type)
        if monthly is not None:
            return monthly
    values, counts = np.unique(gaps, return_counts=True)
    step = int(values[np.argmax(counts)])
    return Clock("us" if is_time else "number", step, pg_type)


def _months(times: Array) -> Array:
    found: Array = times.astype("M8[us]").astype("M8[M]").astype(np.int64)
    return found


def _monthly(times: Array, gaps: Array, pg_type: str) -> Clock | None:
    if gaps.min() < 28 * DAY:
        return None
    days = times // DAY
    of_day = np.unique(times % DAY)
    dates = days.astype("M8[D]")
    months = dates.astype("M8[M]")
    day = (dates - months.astype("M8[D]")).astype(int) + 1
    is_last = ((dates + 1).astype("M8[M]") != months).all()
    if len(of_day) > 1 or not (is_last or len(np.unique(day)) == 1):
        return None
    step = int(np.gcd.reduce(np.round(gaps / (30.44 * DAY)).astype(np.int64)))
    step = max(each for each in _MONTHS if step % each == 0)
    return Clock("month", step, pg_type, _LAST_DAY if is_last else int(day[0]), int(of_day[0]))


def calendar(times: Array, clock: Clock) -> list[Array]:
    """Columns that say which time of the day, week, month and year it is, as far as steps differ in it."""
    if clock.unit == "number":
        return []
    dates = times.astype("M8[us]")
    days = dates.astype("M8[D]")
    months = dates.astype("M8[M]")
    found = [months.astype(np.int64) % 12 + 1.0]
    if clock.unit == "month" or clock.step >= 28 * DAY:
        return found
    found.append((days - dates.astype("M8[Y]").astype("M8[D]")).astype(float))
    if clock.step < 7 * DAY:
        found.append((days.astype(np.int64) + 3) % 7 + 0.0)
        found.append((days - months.astype("M8[D]")).astype(float))
    if clock.step < DAY:
        found.append((dates - days).astype(np.int64) / _HOUR)
    return found
