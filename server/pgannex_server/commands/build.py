"""`pgannex build`: compile the C extension only, for `make native` and for packagers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pgannex_server.host import build, place, postgres
from pgannex_server.host.postgres import Installation

MAJORS = (18, 16, 15)


def add(subparsers: Any) -> None:
    """Register it."""
    command = subparsers.add_parser("build", help="compile the C extension")
    command.add_argument(
        "--pg-config", type=Path, help="of the Postgres to build for; default: each that is there"
    )
    command.add_argument("--werror", action="store_true", help="warnings are errors")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compile, and print where the library is."""
    here = place.find(create=True)
    here.prepare()
    for installation in [Installation(options.pg_config)] if options.pg_config else _known():
        print(build.native(installation, place.source_root(), here.build, werror=options.werror))
    return 0


def _known() -> Iterator[Installation]:
    """The wheel's and the system's. What is built for a copy of one is built for this one too."""
    for major in MAJORS:
        found = postgres.wheel(major) or postgres.system(major)
        if found is not None:
            yield found
