"""`pgannex bench`: the bars of bench/, as ratios inside one run. Needs the checkout."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from pgannex_server.host import place
from pgannex_server.host.errors import HostError


def add(subparsers: Any) -> None:
    """Register it."""
    command = subparsers.add_parser("bench", help="measure against the bars of bench/")
    command.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on to the bench")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Become the bench."""
    checkout = place.checkout()
    if checkout is None or not (checkout / "bench").is_dir():
        raise HostError(
            "the bench is not part of an installed package", hint="run it in a checkout: make bench"
        )
    arguments = [a for a in options.arguments if a != "--"]
    os.chdir(checkout)
    os.environ["PYTHONPATH"] = str(Path(checkout))
    os.execv(sys.executable, [sys.executable, "-m", "bench", *arguments])  # noqa: S606 - no shell is wanted
