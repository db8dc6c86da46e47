"""`pgannex serve`: the server in the foreground, for a service manager or a container."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgannex_server import config


def add(subparsers: Any) -> None:
    """Register it."""
    command = subparsers.add_parser("serve", help="run the server in the foreground")
    command.add_argument(
        "--config", type=Path, help="pgannex.toml; default $PGANNEX_CONFIG or /etc/pgannex/pgannex.toml"
    )
    command.add_argument("--socket", help="socket for Postgres, instead of the configured one")
    command.add_argument("--uds", metavar="PATH", help="socket for HTTP, instead of the configured one")
    command.add_argument("--check", action="store_true", help="read the configuration and stop")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    found = config.load(options.config)
    if options.socket is not None:
        found = replace(found, server=replace(found.server, socket=options.socket))
    if options.uds is not None:
        found = replace(found, http=replace(found.http, socket=options.uds))
    if options.check:
        print(f"{found.path or 'the defaults'}: {len(found.models)} models")
        return 0
    from pgannex_server import app  # the libraries of the server are an extra

    return app.run(found)
