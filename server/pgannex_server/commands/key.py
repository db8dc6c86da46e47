"""`pgannex key export|import`: the key that artifacts are signed with, out of and into a server."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pgannex_server import key
from pgannex_server.commands.target import config_option, config_path, configured
from pgannex_server.host import processes
from pgannex_server.host.errors import HostError

_STREAM = "-"


def add(subparsers: Any) -> None:
    """Register both."""
    command = subparsers.add_parser("key", help="export or import the key that artifacts are signed with")
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    exported = actions.add_parser("export", help="write the key to a file of mode 0600, or print it")
    exported.add_argument("file", nargs="?", default=_STREAM, help="default: standard output")
    imported = actions.add_parser("import", help="take the key of another server, for a replica or a restore")
    imported.add_argument("file", nargs="?", default=_STREAM, help="default: standard input")
    for parser, run in ((exported, run_export), (imported, run_import)):
        parser.add_argument("--force", action="store_true", help="overwrite what is there")
        config_option(parser)
        parser.set_defaults(run=run)


def run_export(options: argparse.Namespace) -> int:
    """The key as 64 hex digits."""
    found = key.read(configured(options).server.key_path)
    if options.file == _STREAM:
        print(key.text_of(found), end="")
        return 0
    hint = "export it elsewhere, or overwrite it with --force"
    _write(Path(options.file), found, options.force, hint, give=False)
    print(f"{options.file} holds the key: keep it as secret as a password", file=sys.stderr)
    return 0


def run_import(options: argparse.Namespace) -> int:
    """Check it, write it, say what happens to the running server."""
    path = configured(options).server.key_path
    given = _given(options.file)
    if path.exists() and not options.force:
        if key.read(path) == given:
            print(f"{path} holds this key already")
            return 0
        raise HostError(
            f"{path} holds another key",
            hint="artifacts that it signed will not load any more: overwrite it with --force",
        )
    _write(path, given, options.force, "overwrite it with --force")
    print(f"{path} holds the key; " + _reloaded(config_path(options)))
    return 0


def _given(file: str) -> bytes:
    if file == _STREAM:
        return key.parse(sys.stdin.read(200), "standard input")
    try:
        return key.parse(Path(file).read_text(encoding="ascii"), file)
    except (OSError, UnicodeDecodeError) as err:
        raise HostError(f"cannot read {file}: {getattr(err, 'strerror', err)}") from err


def _write(path: Path, found: bytes, force: bool, hint: str, give: bool = True) -> None:
    try:
        key.write(path, found, replace=force, give=give)
    except FileExistsError as err:
        raise HostError(f"{path} is there already", hint=hint) from err
    except OSError as err:
        raise HostError(
            f"cannot write {path}: {err.strerror}", hint="run it as the server's user, or as root"
        ) from err


def _reloaded(config: Path | None) -> str:
    pid = processes.recall(config.parent / "server.pid") if config is not None else 0
    if not pid:
        return "restart or reload the server, if it runs: systemctl reload pgannex"
    os.kill(pid, signal.SIGHUP)
    return "the server was told to read it again"
