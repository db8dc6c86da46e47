"""`pgannex doctor`: what is wrong, and how to mend it, a line each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pgannex_wire import PROTOCOL_MAJOR, PROTOCOL_MINOR

from pgannex_server import __version__
from pgannex_server.commands import show
from pgannex_server.commands.target import config_path, configured, socket_option
from pgannex_server.config import Config
from pgannex_server.errors import ConfigError
from pgannex_server.host import ask, examine, existing, place
from pgannex_server.host.errors import HostError
from pgannex_server.host.examine import Finding
from pgannex_server.host.stack import main_stack


def add(subparsers: Any) -> None:
    """Register it."""
    command = subparsers.add_parser("doctor", help="say what is wrong and how to mend it")
    command.add_argument(
        "-d", "--dbname", default=None, metavar="CONNINFO", help="also look into this database"
    )
    socket_option(command)
    show.json_option(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """0 unless something fails."""
    findings = []
    for finding in look(options):
        findings.append(finding)
        if not options.json:
            print(f"{finding.state:<4}  {finding.name}: {finding.text}")
            if finding.mend:
                print(f"      → {finding.mend}")
    if options.json:
        show.as_json([asdict(f) for f in findings])
    return 1 if any(f.state == "fail" for f in findings) else 0


def look(options: argparse.Namespace) -> Iterator[Finding]:
    """Every finding, in the order in which things build on each other."""
    try:
        config = configured(options)
    except ConfigError as err:
        yield Finding(
            "configuration",
            "fail",
            str(err),
            "pgannex serve --check says the same; deploy/pgannex.toml explains",
        )
        return
    where = config_path(options)
    yield Finding("configuration", "ok", f"{where or config.path or 'the defaults, there is no file'}")
    yield examine.frames_socket(Path(config.server.socket))
    for user in config.server.database_users:
        if not user.isdigit():
            yield examine.passable(Path(config.server.socket), user)
    yield _server(Path(options.uds or config.http.socket))
    yield from _database(options.dbname)
    yield from _models(config)
    yield examine.package("torch", "torch")
    yield examine.package("openvino", "openvino")
    yield examine.graphics()
    yield examine.c_compiler()
    yield from examine.installations()


def _server(path: Path) -> Finding:
    reason = ask.why(path)
    if reason:
        return Finding("server", "fail", reason, "start it: pgannex up, or systemctl start pgannex")
    told = ask.get(path, "/version").body
    version = str(told.get("version", "?")) if isinstance(told, dict) else str(told)
    if version != __version__:
        return Finding(
            "server", "warn", f"it runs {version}, this command is {__version__}", "restart the server"
        )
    if ask.get(path, "/ready").status != 200:
        return Finding(
            "server",
            "warn",
            f"{version} is alive but not ready",
            "wait for its pinned models, or look at its log",
        )
    return Finding("server", "ok", f"{version}, protocol {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}, ready on {path}")


def _database(conninfo: str | None) -> Iterator[Finding]:
    if conninfo is None:
        conninfo = _own_database()
    if conninfo is None:
        return
    try:
        with existing.connect(conninfo) as db:
            yield from _extension(db)
    except HostError as err:
        yield Finding("database", "fail", err.message, err.hint)


def _own_database() -> str | None:
    try:
        stack = main_stack(place.find(), place.source_root())
    except HostError:
        return None
    return stack.cluster.conninfo() if stack.state.exists and stack.cluster.running else None


def _extension(db: Any) -> Iterator[Finding]:
    row = db.execute("SELECT extversion FROM pg_extension WHERE extname = 'pgml'").fetchone()
    name = f"database {db.info.dbname}"
    if row is None:
        yield Finding(name, "fail", "the extension pgml is not created in it", "CREATE EXTENSION pgml;")
        return
    if row[0] != __version__:
        yield Finding(
            name,
            "warn",
            f"extension {row[0]}, server {__version__}",
            "pgannex install, then ALTER EXTENSION pgml UPDATE;",
        )
    else:
        yield Finding(name, "ok", f"extension {row[0]}")
    yield from _library(db, str(row[0]))
    yield _one_call(db)
    if db.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone() is None:
        yield Finding(
            "pgvector", "warn", "not created: all but vector search works", "CREATE EXTENSION vector;"
        )


def _library(db: Any, version: str) -> Iterator[Finding]:
    """The native host's C library; the other host has none."""
    import psycopg

    if db.execute("SELECT to_regprocedure('pgml.host_version()')").fetchone()[0] is None:
        return
    try:
        (loaded,) = db.execute("SELECT pgml.host_version()").fetchone()
    except psycopg.Error as err:
        yield Finding("library", "fail", str(err.diag.message_primary), "pgannex install puts it there again")
        return
    if loaded == version:
        yield Finding("library", "ok", f"the native host, {loaded}")
    else:
        mend = "pgannex install, then ALTER EXTENSION pgml UPDATE; and connect again"
        yield Finding("library", "warn", f"the C library is {loaded}, the extension {version}", mend)


def _one_call(db: Any) -> Finding:
    """A whole round: SQL, host, socket, server."""
    import psycopg

    setting = db.execute("SELECT current_setting('pgannex.socket', true)").fetchone()[0]
    try:
        db.execute("SELECT state FROM pgml.stat_server")
    except psycopg.Error as err:
        hint = err.diag.message_hint or "compare pgannex.socket with [server] socket"
        return Finding(
            "round trip", "fail", f"{err.diag.message_primary} (pgannex.socket is {setting!r})", hint
        )
    return Finding("round trip", "ok", f"Postgres reaches the server over {setting or 'the default socket'}")


def _models(config: Config) -> Iterator[Finding]:
    cache = (
        config.server.model_cache or os.environ.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    )
    yield examine.model_cache(Path(cache), config.server.offline)
    for model in config.models.values():
        if model.engine != "echo":
            yield examine.model_source(model.name, model.source or model.name)
