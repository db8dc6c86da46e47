"""The key that artifacts are signed with: where it lies, how it is made, what it does.

The server signs what it trained and loads nothing that its key did not sign, because any
role of the database can send bytes. The key is a file of 64 hex digits that nobody but the
server reads; it is made once, at the first start, and never leaves this process: neither a
fit nor a predictor sees it. Replicas share it (`pgannex key export` and `import`).
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from pgannex_wire import WireError

from pgannex_server.errors import ConfigError
from pgannex_server.tabular import artifact

_BYTES = 32
_OTHERS = stat.S_IRWXO | stat.S_IWGRP


class Signer:
    """Signs and verifies artifacts. A key that cannot be had is an error at the first use only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key = b""
        self.open()

    def open(self) -> None:
        """Read the key again, or make it. Raises nothing: see `problem`."""
        try:
            self._key, self.problem = obtain(self.path), ""
        except ConfigError as err:
            self.problem = str(err)

    def sign(self, body: bytes) -> bytes:
        """The artifact: the body and its signature."""
        key = self._ready()
        return artifact.sign(body, key)

    def mac(self) -> hmac.HMAC:
        """The signature of an artifact that is fed to it piece by piece, as `sign` makes it."""
        return hmac.new(self._ready(), digestmod="sha256")

    def verify(self, data: bytes) -> None:
        """Raises artifact_invalid where this server's key did not sign it."""
        key = self._ready()
        artifact.verify(data, key)

    def _ready(self) -> bytes:
        if not self._key:
            raise WireError(
                "load_failed",
                f"the server has no key for artifacts: {self.problem}",
                hint="set [server] state_dir or key_file in pgannex.toml to a place of the server's user",
            )
        return self._key


def obtain(path: Path) -> bytes:
    """The key in `path`, made now if there is none. Raises ConfigError."""
    if not path.exists():
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write(path, secrets.token_bytes(_BYTES))
        except FileExistsError:
            pass  # another server of this host was quicker: its key is ours
        except OSError as err:
            raise ConfigError(f"cannot make the key {path}: {err.strerror}") from err
    return read(path)


def read(path: Path) -> bytes:
    """The key in `path`. Raises ConfigError where it is none, or not kept secret."""
    try:
        with path.open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(200)
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"cannot read the key {path}: {getattr(err, 'strerror', err)}") from err
    if mode & _OTHERS:
        raise ConfigError(f"the key {path} is open to others (mode {mode & 0o777:04o}): chmod 600 {path}")
    return parse(text, str(path))


def parse(text: str, where: str) -> bytes:
    """The key of its text form."""
    found = text.strip()
    if not re.fullmatch(rf"[0-9a-fA-F]{{{2 * _BYTES}}}", found):
        raise ConfigError(f"{where} holds no key: a key is {2 * _BYTES} hex digits")
    return bytes.fromhex(found)


def text_of(key: bytes) -> str:
    """What a key file holds."""
    return key.hex() + "\n"


def write(path: Path, key: bytes, replace: bool = False, give: bool = True) -> None:
    """Write the key as a whole, mode 0600. FileExistsError if there is one and not `replace`.

    It appears complete or not at all, also for a server that looks at the same moment. `give`:
    where root writes it, it belongs to whom the folder belongs to, which is the server's user.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text_of(key))
            if give and os.geteuid() == 0:
                folder = path.parent.stat()
                os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
            file.flush()
            os.fsync(file.fileno())
        settle: Callable[[Path, Path], object] = os.replace if replace else os.link
        settle(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
