"""Who runs Postgres and the server: the user themselves, or, as root, a user without rights.

Postgres refuses to run as root, and the server has no reason to. The system user is called
pgannex-dev, not pgannex: that one belongs to the production service, and a demo must not be
able to read its keys. `postgres` is not borrowed either, because whoever runs as `postgres`
may enter every database of a Debian cluster beside us.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from pgannex_server.host.errors import HostError

SYSTEM_USER = "pgannex-dev"


@dataclass(frozen=True, slots=True)
class Owner:
    """An operating system user, and how to start a process as that user."""

    name: str
    uid: int
    gid: int

    @property
    def is_self(self) -> bool:
        """Whether this process already runs as the owner."""
        return os.geteuid() == self.uid

    def popen(self) -> dict[str, Any]:
        """Keyword arguments for subprocess that make the child run as the owner."""
        if self.is_self:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: os.PathLike[str] | str) -> None:
        """Give a file or folder that we created to the owner."""
        if not self.is_self:
            os.chown(path, self.uid, self.gid)


def current() -> Owner:
    """The user that this process runs as."""
    entry = pwd.getpwuid(os.geteuid())
    return Owner(entry.pw_name, entry.pw_uid, entry.pw_gid)


def find(create: bool = False) -> Owner:
    """The owner of what we start. As root the system user, made on the first need."""
    if os.geteuid() != 0:
        return current()
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        if not create:
            raise HostError(f"the user {SYSTEM_USER} does not exist", hint="run: pgannex up") from None
        _create()
        entry = pwd.getpwnam(SYSTEM_USER)
    return Owner(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create() -> None:
    if shutil.which("useradd"):
        command = ["useradd", "--system", "--user-group", "--no-create-home"]
        command += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    elif shutil.which("adduser"):  # busybox
        command = ["adduser", "-S", "-D", "-H", "-h", "/nonexistent", "-s", "/sbin/nologin", SYSTEM_USER]
    else:
        raise HostError(
            f"Postgres does not run as root, and there is no useradd to make the user {SYSTEM_USER}",
            hint="run as an ordinary user, or create that system user by hand",
        )
    print(f"creating the system user {SYSTEM_USER}, because Postgres does not run as root", flush=True)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 and done.returncode != 9:  # 9: another start made it just now
        raise HostError(f"{command[0]} failed: {done.stderr.strip()}")
