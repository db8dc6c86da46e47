"""Errors of the server's own that are more than a row of the wire's table.

Rooms raise `WireError` (wire/errors.py) for what a caller should see. `Overloaded` adds the
number that HTTP's Retry-After needs; `ConfigError` never reaches a caller: it stops the start.
"""

from __future__ import annotations

from pgannex_wire import WireError


class ConfigError(Exception):
    """The configuration file is wrong; the message says where."""


class Overloaded(WireError):
    """The queue is full. `retry_after_s` is an estimate of when it will not be."""

    def __init__(self, model: str, waiting: int, retry_after_s: float) -> None:
        super().__init__(
            "overloaded",
            f'{waiting} requests are waiting for model "{model}"',
            hint=f"try again in about {retry_after_s:.1f} s",
        )
        self.retry_after_s = retry_after_s


class NotReady(WireError):
    """The server is starting, draining or stopping."""

    def __init__(self, doing: str) -> None:
        super().__init__("not_ready", f"the server is {doing}", hint="try again in a moment")
