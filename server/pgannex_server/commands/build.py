"""`pgannex build`: compile the C extension only, for `make native` and for packagers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pgannex_server.host import build, place, postgres
from pgannex_server.host.state import State


def add(subparsers: Any) -> None:
    """Register it."""
    command = subparsers.add_parser("build", help="compile the C extension")
    command.add_argument(
        "--pg-config", type=Path, help="of the Postgres to build for; default the embedded one"
    )
    command.add_argument(
        "--pg",
        type=int,
        default=postgres.DEFAULT_MAJOR,
        metavar="MAJOR",
        help="version of the embedded Postgres",
    )
    command.add_argument("--werror", action="store_true", help="warnings are errors")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compile and print where the library is."""
    here = place.find(create=True)
    here.prepare()
    if options.pg_config:
        installation = postgres.Installation(options.pg_config)
    else:
        state = State(here, f"build-{options.pg}")
        place.make_folder(state.folder, 0o755)
        installation = postgres.copy(postgres.find(options.pg), state.binaries)
    print(build.native(installation, place.source_root(), here.build, werror=options.werror))
    return 0
