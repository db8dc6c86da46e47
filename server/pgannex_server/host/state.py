"""What one stack keeps on disk: the files, their owners and modes, and the remembered port.

    <stack>/stack.json       major version and TCP port
    <stack>/pgannex.toml     the server's configuration, yours to edit
    <stack>/postgresql.conf, pg_hba.conf, pg_ident.conf
    <stack>/password         of the superuser, mode 0600
    <stack>/pg               a copy of the binaries with the extension in it
    <stack>/data             the database
    <stack>/log              postgres.log, server.log
    <stack>/server           what the server keeps: its key
    <stack>/run              sockets; elsewhere if the path would be too long for a socket

As root all of it belongs to root, but data, run, server, the two logs and the password, which are the
unprivileged user's: so nothing that root writes or reads can be swapped under its hands.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgannex_server.host import place as places
from pgannex_server.host.errors import HostError
from pgannex_server.host.owner import Owner
from pgannex_server.host.place import Place

LONGEST_SOCKET = 103  # 107 bytes on Linux, 103 elsewhere
_LONGEST_NAME = len("/.s.PGSQL.65535")


@dataclass(frozen=True, slots=True)
class State:
    """The folder of one stack. Nothing is created by looking at it; see prepare()."""

    place: Place
    name: str = "main"

    @property
    def folder(self) -> Path:
        return self.place.stacks / self.name

    @property
    def owner(self) -> Owner:
        return self.place.owner

    @property
    def config(self) -> Path:
        return self.folder / "pgannex.toml"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def binaries(self) -> Path:
        return self.folder / "pg"

    @property
    def server_state(self) -> Path:
        return self.folder / "server"

    @property
    def server_log(self) -> Path:
        return self.folder / "log" / "server.log"

    @property
    def postgres_log(self) -> Path:
        return self.folder / "log" / "postgres.log"

    @property
    def server_pid(self) -> Path:
        return self.folder / "server.pid"

    @property
    def run(self) -> Path:
        """Where the sockets are: in the stack, or a short path where that one is too long."""
        near = self.folder / "run"
        if len(os.fsencode(near)) + _LONGEST_NAME <= LONGEST_SOCKET:
            return near
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:10]
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        if runtime and self.owner.is_self and len(runtime) < 60 and os.access(runtime, os.W_OK):
            return Path(runtime) / f"pgannex-{digest}"
        return Path("/tmp") / f"pgannex-{self.owner.uid}-{digest}"  # noqa: S108 - checked by private_folder()

    @property
    def frames_socket(self) -> Path:
        return self.run / "pgannex.sock"

    @property
    def http_socket(self) -> Path:
        return self.run / "http.sock"

    @property
    def exists(self) -> bool:
        """Whether a database was initialised here."""
        return (self.data / "PG_VERSION").exists()

    def prepare(self) -> None:
        """Create what is missing of the folders, the logs and the password."""
        self.place.prepare()
        mode = 0o700 if self.owner.is_self else 0o755
        places.make_folder(self.folder, mode)
        places.make_folder(self.folder / "log", mode)
        places.make_folder(self.data, 0o700, self.owner)
        places.make_folder(self.server_state, 0o700, self.owner)
        private_folder(self.run, self.owner)
        for log in (self.server_log, self.postgres_log):
            if not log.exists():
                _create(log, "", self.owner)
        if not self.password_file.exists():
            _create(self.password_file, secrets.token_urlsafe(18) + "\n", self.owner)

    def password(self) -> str:
        """The superuser's password."""
        return self.password_file.read_text().strip()

    def remember(self, **values: Any) -> None:
        """Keep values for the next start."""
        self.write(self.folder / "stack.json", json.dumps({**self.remembered(), **values}, indent=2) + "\n")

    def remembered(self) -> dict[str, Any]:
        """What earlier starts kept."""
        file = self.folder / "stack.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    def write(self, path: Path, text: str, mode: int = 0o644) -> None:
        """Write a file as a whole; readable by the owner, writable by us alone."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(text)
        fresh.chmod(mode)
        if mode & 0o040 and not self.owner.is_self:
            os.chown(fresh, -1, self.owner.gid)
        fresh.replace(path)


def private_folder(path: Path, owner: Owner) -> None:
    """Create a folder of mode 0700, or make sure that the one there is ours and closed."""
    try:
        path.mkdir(mode=0o700)
        owner.own(path)
        return
    except FileExistsError:
        found = path.lstat()
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid not in {owner.uid, os.geteuid()}
        or found.st_mode & 0o022
    ):
        raise HostError(
            f"{path} is not a folder of {owner.name} that others cannot write to",
            hint=f"remove it: rm -r {path}",
        )


def _create(path: Path, text: str, owner: Owner) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    owner.own(path)
