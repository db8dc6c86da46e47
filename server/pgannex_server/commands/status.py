"""`pgannex status`: what the running server says of itself, over its HTTP socket."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pgannex_server.commands import show
from pgannex_server.commands.target import configured, socket_option
from pgannex_server.host import ask


def add(subparsers: Any) -> None:
    """Register it."""
    command = subparsers.add_parser("status", help="ask the running server")
    socket_option(command)
    show.json_option(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """0 ready, 1 alive but not ready, 3 not running."""
    path = Path(options.uds or configured(options).http.socket)
    reason = ask.why(path)
    facts: dict[str, Any] = {"socket": str(path), "running": not reason, "reason": reason}
    if not reason:
        facts["ready"] = ask.get(path, "/ready").status == 200
        facts["version"] = ask.get(path, "/version").body
        facts["models"] = _models(path)
    if options.json:
        show.as_json(facts)
    else:
        _print(facts)
    if reason:
        return 3
    return 0 if facts["ready"] else 1


def _models(path: Path) -> list[dict[str, Any]]:
    body = ask.get(path, "/v1/models").body
    return list(body.get("data", [])) if isinstance(body, dict) else []


def _print(facts: dict[str, Any]) -> None:
    if facts["reason"]:
        print(f"not running: {facts['reason']}")
        return
    version = facts["version"]
    shown = version.get("version", version) if isinstance(version, dict) else version
    print(f"pgannex {shown} is {'ready' if facts['ready'] else 'not ready'} on {facts['socket']}")
    keys = [
        "id",
        *(k for k in ("state", "engine", "device", "dimensions") if any(k in m for m in facts["models"])),
    ]
    if facts["models"]:
        show.table(facts["models"], keys)
