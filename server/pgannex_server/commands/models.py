"""`pgannex models list|add|rm`: which models the server may use, as its configuration says."""

from __future__ import annotations

import argparse
import os
import signal
import tomllib
from pathlib import Path
from typing import Any

from pgannex_server import config
from pgannex_server.commands import show
from pgannex_server.commands.target import config_option, config_path, configured
from pgannex_server.host import model_file, processes
from pgannex_server.host.errors import HostError
from pgannex_server.host.model_file import Value
from pgannex_server.models import is_source

_COLUMNS = ("name", "source", "engine", "device", "instances", "pin", "aliases")


def add(subparsers: Any) -> None:
    """Register the three."""
    models = subparsers.add_parser("models", help="list, add or remove models")
    actions = models.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="the configured models")
    config_option(listed)
    show.json_option(listed)
    listed.set_defaults(run=run_list)
    added = actions.add_parser("add", help="configure a model")
    added.add_argument("name")
    added.add_argument("--source", default="", help="a local folder or a hub id; default: the name")
    for option in ("engine", "revision", "device", "dtype"):
        added.add_argument(f"--{option}", default="")
    added.add_argument("--instances", type=int, default=1, help="worker processes")
    added.add_argument("--alias", action="append", default=[], help="another name of it; may be repeated")
    added.add_argument("--pin", action="store_true", help="load it at start, never evict it")
    config_option(added)
    added.set_defaults(run=run_add)
    removed = actions.add_parser("rm", help="forget a model; its files stay")
    removed.add_argument("name")
    config_option(removed)
    removed.set_defaults(run=run_remove)


def run_list(options: argparse.Namespace) -> int:
    """One line per model."""
    found = configured(options).models.values()
    rows = [{column: getattr(model, column) for column in _COLUMNS} for model in found]
    if options.json:
        show.as_json(rows)
    elif rows:
        show.table(rows, _COLUMNS)
    else:
        print("no models; add one: pgannex models add NAME --source FOLDER")
    return 0


def run_add(options: argparse.Namespace) -> int:
    """Append a section, if the result is a valid configuration."""
    _check_names(options)
    values: dict[str, Value] = {"source": _source(options.source)} if options.source else {}
    values |= {
        key: getattr(options, key)
        for key in ("engine", "revision", "device", "dtype")
        if getattr(options, key)
    }
    values |= {"instances": options.instances} if options.instances != 1 else {}
    values |= {"pin": True} if options.pin else {}
    values |= {"aliases": options.alias} if options.alias else {}
    path = _file(options)
    return _change(path, model_file.added(path.read_text() if path.exists() else "", options.name, values))


def run_remove(options: argparse.Namespace) -> int:
    """Take its sections out."""
    path = _file(options)
    return _change(path, model_file.removed(path.read_text(), options.name))


def _check_names(options: argparse.Namespace) -> None:
    """Names that can be asked for, and a source that the server would understand."""
    for name in (options.name, *options.alias):
        if not name.isprintable() or not name.strip() or name != name.strip():
            raise HostError(f"{name!r} is no name of a model", hint="use letters, digits and - _ . /")
    if not options.source and options.engine != "echo":
        if options.name.startswith(("/", ".", "~")):
            raise HostError(
                f'"{options.name}" is no name of a model',
                hint=f"give the folder as its source: pgannex models add NAME --source {options.name}",
            )
        if not is_source(options.name):
            raise HostError(
                f'"{options.name}" is not the id of a model on the hub',
                hint="say where it is: --source FOLDER, or --source org/name",
            )


def _source(text: str) -> str:
    """A folder as an absolute path, because the server runs elsewhere; a hub id as it is."""
    if text.startswith((".", "~", "/")) or Path(text).is_dir():
        folder = Path(text).expanduser().resolve()
        if not (folder / "config.json").exists():
            raise HostError(f"{folder} holds no model: there is no config.json in it")
        return str(folder)
    if not is_source(text):
        raise HostError(
            f"source {text!r} is neither a hub id nor a folder",
            hint="write org/name, package:module/folder, or a folder that is there",
        )
    return text


def _file(options: argparse.Namespace) -> Path:
    return config_path(options) or config.DEFAULT_PATH


def _change(path: Path, text: str) -> int:
    config.parse(tomllib.loads(text))
    try:
        model_file.write(path, text)
    except OSError as err:
        raise HostError(
            f"cannot write {path}: {err.strerror}", hint="run it as root, or name a file with --config"
        ) from err
    print(f"{path} is changed; " + _reloaded(path))
    return 0


def _reloaded(path: Path) -> str:
    """Tell a stack's server, whose pid lies beside the file; a service is for its manager to reload."""
    pid = processes.recall(path.parent / "server.pid")
    if not pid:
        return "reload the server, if it runs: systemctl reload pgannex"
    os.kill(pid, signal.SIGHUP)
    return "the server was told to read it again"
