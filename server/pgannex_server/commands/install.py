"""`pgannex install`: the extension into a Postgres that is already there, found by its connection."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pgannex_server.commands import show
from pgannex_server.host import build, existing, install, place


def add(subparsers: Any) -> None:
    """Register it."""
    command = subparsers.add_parser("install", help="install the extension into an existing Postgres")
    command.add_argument(
        "-d", "--dbname", default="", metavar="CONNINFO", help="libpq connection; default: its PG… variables"
    )
    command.add_argument(
        "--host", choices=install.HOSTS, default="native", help="which host of the foreign data wrapper"
    )
    command.add_argument("--pg-config", type=Path, help="where its files are, if the connection cannot tell")
    command.add_argument("--force", action="store_true", help="overwrite another extension's pgml.control")
    command.add_argument("--create", action="store_true", help="also CREATE EXTENSION in that database")
    command.add_argument("--socket", default="", help="also set pgannex.socket in that cluster (superuser)")
    show.json_option(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Build, copy, and say what is left to do."""
    source = place.source_root()
    target = existing.find(options.dbname, options.pg_config)
    library = None
    if options.host == "native":
        library = build.native(target, source, existing.build_folder())
    done = install.install(target, source, options.host, library, options.force)
    if options.socket:
        existing.set_socket(options.dbname, options.host, options.socket)
    if options.create:
        existing.create_extension(options.dbname, options.host)
    if options.json:
        show.as_json(
            {
                "postgres": target.version,
                "host": options.host,
                "written": done.written,
                "unchanged": done.unchanged,
            }
        )
        return 0
    for path in done.written:
        print(f"wrote {path}")
    print(
        f"the {options.host} host is installed for PostgreSQL {target.version}"
        + ("" if done.written else ": nothing to change")
    )
    for step in existing.steps(options.host, bool(options.socket), options.create):
        print(f"  next: {step}")
    return 0
