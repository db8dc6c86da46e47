"""What the tests of the bad day need besides `stack`."""

from __future__ import annotations

from backends import connect

__all__ = ["connect"]
