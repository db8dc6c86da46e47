"""Listening on a unix socket's path without stealing it from a server that is alive.

A socket file that nobody answers on is left over from a server that died and is replaced;
one that answers is an error. The new socket gets its mode and group before anyone can
connect, and is removed at the end only if it is still the one that we made.
"""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
from pathlib import Path

from pgannex_server.errors import ConfigError

_MAX_PATH = 107


def listen(path: str, mode: int, group: str, backlog: int = 512) -> socket.socket:
    """A listening socket at `path`. Raises ConfigError where that cannot be."""
    file = Path(path)
    if len(os.fsencode(path)) > _MAX_PATH:
        raise ConfigError(f"the socket's path {path} is longer than {_MAX_PATH} bytes")
    if not file.parent.is_dir():
        raise ConfigError(f"the socket's folder {file.parent} does not exist")
    _clear_stale(file)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    # Bound with no permission at all, so that nobody connects before mode and group are set.
    before = os.umask(0o777)
    try:
        sock.bind(path)
    except OSError as err:
        sock.close()
        raise ConfigError(f"cannot listen on {path}: {err.strerror}") from err
    finally:
        os.umask(before)
    try:
        if group:
            os.chown(path, -1, _gid(group))
        file.chmod(mode)
    except (OSError, ConfigError) as err:
        sock.close()
        file.unlink()
        raise ConfigError(
            f"cannot give {path} mode {mode:04o} and group {group or 'of the process'}: {err}"
        ) from err
    sock.listen(backlog)
    return sock


def identity(path: str) -> tuple[int, int]:
    """Device and inode of the file at `path`."""
    found = Path(path).stat()
    return found.st_dev, found.st_ino


def remove(path: str, made: tuple[int, int]) -> None:
    """Remove the socket file if it is still the one with identity `made`."""
    with contextlib.suppress(FileNotFoundError):
        if identity(path) == made:
            Path(path).unlink()


def _gid(group: str) -> int:
    if group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as err:
        raise ConfigError(f"this host has no group {group}") from err


def _clear_stale(file: Path) -> None:
    try:
        found = file.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(f"{file} is there and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(file))
        except ConnectionRefusedError:
            file.unlink(missing_ok=True)
            return
        except OSError as err:
            raise ConfigError(
                f"{file} is there, and whether it is alive cannot be seen: {err.strerror}"
            ) from err
    raise ConfigError(f"another server is alive on {file}")
