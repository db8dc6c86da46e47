"""`make test`: every test that can run on this machine, and at the end the legs that could not.

Arguments go to pytest (make test ARGS="-k cancel"). The last lines name each leg that was left
out and why, so that a green run never hides what it did not look at.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


class LeftOut:
    """Collects the reasons of skipped tests."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a skip under its reason."""
        if report.skipped and isinstance(report.longrepr, tuple):
            self.reasons[str(report.longrepr[2]).removeprefix("Skipped: ")] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count a module that was skipped as a whole."""
        if report.skipped and isinstance(report.longrepr, tuple):
            self.reasons[str(report.longrepr[2]).removeprefix("Skipped: ")] += 1


def main() -> int:
    """Run pytest in the checkout; its exit status."""
    os.chdir(ROOT)
    left_out = LeftOut()
    # -rfE: a line for each failure, none for each skip, because those are summed up below.
    status = pytest.main(["-q", "-rfE", *sys.argv[1:]], plugins=[left_out])
    print()
    for reason, count in sorted(left_out.reasons.items()):
        print(f"left out: {reason} ({count} tests)")
    if not left_out.reasons:
        print("left out: nothing")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
