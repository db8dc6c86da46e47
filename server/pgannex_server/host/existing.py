"""A Postgres that is already there: which files it uses, and what it has to be told.

The connection is asked first, because only the running server knows where its files are; a
role that may not see them gets the pg_config of the same major version instead. psycopg is
imported on use: it belongs to an extra.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pgannex_server.host import postgres
from pgannex_server.host.errors import HostError
from pgannex_server.host.postgres import Installation

if TYPE_CHECKING:
    import psycopg

_ELSEWHERE = (
    "/usr/lib/postgresql/{0}/bin",
    "/usr/pgsql-{0}/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@{0}/bin",
)


def connect(conninfo: str) -> psycopg.Connection[tuple[object, ...]]:
    """Connect with a libpq string; what it leaves out comes from the PG… variables."""
    try:
        import psycopg
    except ImportError as err:
        raise HostError(
            "psycopg is not installed", hint="pip install 'pgannex[embedded]', or name --pg-config"
        ) from err
    try:
        return psycopg.connect(conninfo, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as err:
        raise HostError(
            f"cannot connect: {str(err).strip()}", hint="-d takes a libpq string, such as -d 'dbname=app'"
        ) from err


def find(conninfo: str, pg_config: Path | None) -> Installation:
    """The installation behind a connection, or the one that was named."""
    if pg_config is not None:
        return Installation(pg_config)
    with connect(conninfo) as db:
        major = db.info.server_version // 10000
        row = db.execute("SELECT has_function_privilege('pg_catalog.pg_config()', 'EXECUTE')").fetchone()
        told = None
        if row is not None and row[0]:
            told = db.execute("SELECT setting FROM pg_catalog.pg_config() WHERE name = 'BINDIR'").fetchone()
    for folder in [str(told[0])] if told else [f.format(major) for f in _ELSEWHERE]:
        if (Path(folder) / "pg_config").exists():
            return Installation(Path(folder) / "pg_config")
    return _by_version(major)


def _by_version(major: int) -> Installation:
    on_path = shutil.which("pg_config")
    for found in (Installation(Path(on_path)) if on_path else None, postgres.wheel(major)):
        if found is not None and found.major == major:
            return found
    raise HostError(
        f"no pg_config of PostgreSQL {major} on this machine",
        hint=f"install its server headers (postgresql-server-dev-{major}), or name it with --pg-config",
    )


def build_folder() -> Path:
    """Where to compile: beside an installation of ours, else in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(cache) / "pgannex" / "build"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="pgannex-build-"))
    return folder


def set_socket(conninfo: str, path: str) -> None:
    """Tell the cluster where the server listens."""
    from psycopg import sql

    with connect(conninfo) as db:
        db.execute(sql.SQL("ALTER SYSTEM SET pgannex.socket = {}").format(sql.Literal(path)))
        db.execute("SELECT pg_reload_conf()")


def create_extension(conninfo: str) -> None:
    """CREATE EXTENSION, or bring the one that is there to the installed version."""
    with connect(conninfo) as db:
        db.execute("CREATE EXTENSION IF NOT EXISTS pgml")
        db.execute("ALTER EXTENSION pgml UPDATE")


def steps(host: str, socket_set: bool, created: bool) -> list[str]:
    """What is left for an administrator to do."""
    left = []
    if not socket_set:
        left.append("ALTER SYSTEM SET pgannex.socket = '/run/pgannex/pgannex.sock'; SELECT pg_reload_conf();")
    if not created:
        left.append("CREATE EXTENSION pgml;" if host == "native" else "CREATE EXTENSION pgml CASCADE;")
    if host == "multicorn":
        left.append("put pgannex_fdw and pgannex_wire on the PYTHONPATH of Postgres: docs/multicorn.md")
    left.append("GRANT pgml_user TO …;")
    left.append("the user that Postgres runs as must be in [server] database_users of pgannex.toml")
    return left
