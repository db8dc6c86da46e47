"""`pgannex up`, `down` and `reset`: the embedded Postgres with the server beside it."""

from __future__ import annotations

import argparse
import time
from typing import Any

from pgannex_server.commands import show
from pgannex_server.host import place
from pgannex_server.host.errors import HostError
from pgannex_server.host.stack import Stack, main_stack


def add(subparsers: Any) -> None:
    """Register the three."""
    up = subparsers.add_parser("up", help="start Postgres and the server, print how to connect")
    up.add_argument(
        "--pg", type=int, default=0, metavar="MAJOR", help="version of Postgres for a new database"
    )
    show.json_option(up)
    up.set_defaults(run=run_up)
    down = subparsers.add_parser("down", help="stop both; the data stay")
    down.set_defaults(run=run_down)
    reset = subparsers.add_parser("reset", help="stop both and delete the database")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    reset.set_defaults(run=run_reset)


def run_up(options: argparse.Namespace) -> int:
    """Start what does not run yet."""
    began = time.monotonic()
    stack = _stack(create=True, quiet=options.json, major=options.pg)
    stack.up()
    facts = describe(stack)
    if options.json:
        show.as_json(facts)
        return 0
    print(f"PostgreSQL {facts['postgres']} and the server are up after {time.monotonic() - began:.1f} s")
    print(f"  psql            make psql, or: pgannex psql\n  other programs  {facts['url']}")
    print(f"  password        {facts['password_file']}")
    print(f"  server          {facts['http_socket']} (HTTP), {facts['frames_socket']} (Postgres)")
    print(f"  configuration   {facts['config']}\n  stop            make down, or: pgannex down")
    return 0


def run_down(options: argparse.Namespace) -> int:
    """Stop what runs."""
    _stack().down()
    return 0


def run_reset(options: argparse.Namespace) -> int:
    """Stop and delete, once somebody said yes."""
    stack = _stack()
    if not stack.state.folder.exists():
        return 0
    if not options.yes:
        if not show.is_terminal():
            raise HostError(
                "reset deletes the database, and there is no terminal to ask on", hint="add --yes"
            )
        if input(f"delete {stack.state.folder} with the database in it? [y/N] ").strip().lower() != "y":
            return 1
    stack.reset()
    return 0


def describe(stack: Stack) -> dict[str, Any]:
    """How to reach a stack."""
    cluster, state = stack.cluster, stack.state
    return {
        "postgres": cluster.installation.version,
        "url": cluster.url(),
        "host": "127.0.0.1",
        "port": cluster.port,
        "socket_directory": str(state.run),
        "password_file": str(state.password_file),
        "http_socket": str(state.http_socket),
        "frames_socket": str(state.frames_socket),
        "config": str(state.config),
        "server_pid": stack.daemon.pid,
    }


def _stack(create: bool = False, quiet: bool = False, major: int = 0) -> Stack:
    say = _silent if quiet else print
    return main_stack(place.find(create), place.source_root(), say=say, major=major)


def _silent(_: str) -> None:
    return
