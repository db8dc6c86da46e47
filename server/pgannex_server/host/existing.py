"""A Postgres that is already there: which files it uses, and what it has to be told.

The connection is asked first, because only the running server knows where its files are; a
role that may not see them gets the pg_config of the same major version instead. psycopg is
imported on use: it belongs to an extra.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pgannex_server.host import postgres
from pgannex_server.host.errors import HostError
from pgannex_server.host.postgres import Installation

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

_SOCKET_FOLDERS = ("/var/run/postgresql", "/tmp")  # noqa: S108 - where Postgres itself puts them
_ELSEWHERE = (
    "/usr/lib/postgresql/{0}/bin",
    "/usr/pgsql-{0}/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@{0}/bin",
)


def connect(conninfo: str) -> psycopg.Connection[tuple[object, ...]]:
    """Connect with a libpq string; what it leaves out comes from the PG… variables.

    Who installs as root is nobody to Postgres, which knows the users of its socket by their
    system names: so a refused root asks once more as the user whose socket it is.
    """
    try:
        import psycopg
    except ImportError as err:
        hint = "pip install 'pgannex[embedded]', or name --pg-config"
        raise HostError("psycopg is not installed", hint=hint) from err
    try:
        return psycopg.connect(conninfo, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as err:
        other = _socket_owner(conninfo) if os.geteuid() == 0 else None
        if other is not None:
            return _connect_as(other, conninfo)
        hint = "-d takes a libpq string, such as -d 'dbname=app'; or name --pg-config"
        raise HostError(f"cannot connect: {str(err).strip()}", hint=hint) from err


def _socket_owner(conninfo: str) -> pwd.struct_passwd | None:
    """The system user whose unix socket a connection leads to."""
    from psycopg.conninfo import conninfo_to_dict

    given = conninfo_to_dict(conninfo)
    port = given.get("port") or os.environ.get("PGPORT") or "5432"
    host = given.get("host") or os.environ.get("PGHOST")
    for folder in [str(host)] if host else _SOCKET_FOLDERS:
        with contextlib.suppress(OSError, KeyError):
            return pwd.getpwuid((Path(folder) / f".s.PGSQL.{port}").stat().st_uid)
    return None


def _connect_as(user: pwd.struct_passwd, conninfo: str) -> psycopg.Connection[tuple[object, ...]]:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    given = conninfo_to_dict(conninfo)
    name = str(given.get("user") or os.environ.get("PGUSER") or user.pw_name)
    os.seteuid(user.pw_uid)
    try:
        return psycopg.connect(make_conninfo(conninfo, user=name), autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as err:
        hint = "name a role that may connect, or --pg-config"
        raise HostError(f"cannot connect as {user.pw_name} either: {str(err).strip()}", hint=hint) from err
    finally:
        os.seteuid(0)


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


def set_socket(conninfo: str, host: str, path: str) -> None:
    """Tell the cluster where the server listens."""
    from psycopg import sql

    # ALTER SYSTEM knows a setting only once somebody has named it: the library, or a SET.
    known = sql.SQL("LOAD 'pgml'") if host == "native" else sql.SQL("SET pgannex.socket = ''")
    setting = sql.SQL("ALTER SYSTEM SET pgannex.socket = {}").format(sql.Literal(path))
    _execute(conninfo, known, setting, sql.SQL("SELECT pg_reload_conf()"))


def create_extension(conninfo: str, host: str) -> None:
    """CREATE EXTENSION, or bring the one that is there to the installed version."""
    from psycopg import sql

    create = "CREATE EXTENSION IF NOT EXISTS pgml" + (" CASCADE" if host == "multicorn" else "")
    _execute(conninfo, sql.SQL(create), sql.SQL("ALTER EXTENSION pgml UPDATE"))


def _execute(conninfo: str, *statements: sql.SQL | sql.Composed) -> None:
    import psycopg

    with connect(conninfo) as db:
        for statement in statements:
            try:
                db.execute(statement)
            except psycopg.Error as err:
                text = statement.as_string(db)
                raise HostError(
                    f"{text}: {err.diag.message_primary}", hint=err.diag.message_hint or ""
                ) from err


def steps(host: str, socket_set: bool, created: bool) -> list[str]:
    """What is left for an administrator to do."""
    left = []
    if not socket_set:
        known = "LOAD 'pgml'; " if host == "native" else "SET pgannex.socket = ''; "
        path = "'/run/pgannex/pgannex.sock'"
        left.append(f"{known}ALTER SYSTEM SET pgannex.socket = {path}; SELECT pg_reload_conf();")
    if not created:
        left.append("CREATE EXTENSION pgml;" if host == "native" else "CREATE EXTENSION pgml CASCADE;")
    if host == "multicorn":
        left.append("put pgannex_fdw and pgannex_wire on the PYTHONPATH of Postgres: docs/multicorn.md")
    left.append("GRANT pgml_user TO …;")
    left.append("the user that Postgres runs as must be in [server] database_users of pgannex.toml")
    return left
