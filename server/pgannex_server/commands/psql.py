"""`pgannex psql`: the wheel's psql on the embedded Postgres; its arguments are passed on."""

from __future__ import annotations

import argparse
import os
from typing import Any

from pgannex_server.host import place
from pgannex_server.host.errors import HostError
from pgannex_server.host.stack import main_stack


def add(subparsers: Any) -> None:
    """Register it."""
    command = subparsers.add_parser("psql", help="a prompt in the embedded Postgres")
    command.add_argument("arguments", nargs="*", help="passed on to psql")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Become psql."""
    stack = main_stack(place.find(), place.source_root())
    if not stack.state.exists or not stack.cluster.running:
        raise HostError("the embedded Postgres does not run", hint="start it: pgannex up")
    psql = str(stack.cluster.installation.bin / "psql")
    os.execv(psql, [psql, "-d", stack.cluster.conninfo(), *options.arguments])  # noqa: S606 - no shell is wanted
