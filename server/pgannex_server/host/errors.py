"""What goes wrong while setting up: one exception whose hint says what to do about it."""

from __future__ import annotations


class HostError(Exception):
    """A step on this machine failed. `hint` is for the person at the terminal."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint
