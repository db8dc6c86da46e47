"""What a fit gives back, and whom it tells meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

_WORTH_THREADS = 200_000
_LIBRARIES = ("numpy", "sklearn", "skops", "xgboost", "lightgbm", "catboost")


class Report(Protocol):
    """Whom a fit tells."""

    def info(self, text: str) -> None:
        """A line for the caller."""

    def progress(self, fraction: float, text: str) -> None:
        """How far it is, from 0 to 1, and what it is doing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`body`: the unsigned artifact; `result`: what is said of it, all JSON."""

    body: bytes
    result: dict[str, Any]


class Paced:
    """A report whose progress is told at most four times a second."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._next = 0.0

    def info(self, text: str) -> None:
        self._report.info(text)

    def progress(self, fraction: float, text: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 0.25
            self._report.progress(fraction, text)


def cores(limits: Mapping[str, Any]) -> int:
    """How many threads a fit may use: what it was given, else every processor it sees."""
    return int(limits.get("threads") or 0) or len(os.sched_getaffinity(0))


def threads_for(limits: Mapping[str, Any], numbers: int) -> int:
    """How many threads are worth it for a matrix of so many numbers: one, where it is small.

    Threads that wait for each other after every step cost more than they give there, and where
    other processes want the cores too, very much more.
    """
    return 1 if numbers < _WORTH_THREADS else cores(limits)


def give_back() -> None:
    """Return freed memory to the system: threads that are done leave some behind."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def versions(*modules: str) -> dict[str, str]:
    """The versions of Python and of the libraries that were used."""
    found = {"python": platform.python_version()}
    for name in (*_LIBRARIES[:2], *modules):
        found[name] = str(importlib.import_module(name).__version__)
    return found


def json_numbers(found: Any) -> Any:
    """The same with no NaN and no infinity, which are no JSON: they become null."""
    if isinstance(found, float):
        return found if math.isfinite(found) else None
    if isinstance(found, Mapping):
        return {key: json_numbers(value) for key, value in found.items()}
    if isinstance(found, Sequence) and not isinstance(found, str):
        return [json_numbers(value) for value in found]
    return found
