"""What is wrong on this machine, and how to mend it: the findings of `pgannex doctor`.

Here are the things that can be seen from outside: sockets, permissions, compiler, Postgres,
graphics card, folders. Each look ends in one finding; nothing is changed.
"""

from __future__ import annotations

import grp
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pgannex_server.host import compiler, install, layers, postgres
from pgannex_server.host.errors import HostError


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it stands, and what to do if it does not stand well."""

    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    mend: str = ""


def frames_socket(path: Path) -> Finding:
    """Whether somebody listens on the socket and this user may connect."""
    name = "socket for Postgres"
    try:
        found = path.stat()
    except FileNotFoundError:
        return Finding(name, "fail", f"{path} is not there", "start the server: pgannex serve, or pgannex up")
    except PermissionError:
        return Finding(
            name, "warn", f"this user may not look at {path}", "run doctor as root or as the server's user"
        )
    if not stat.S_ISSOCK(found.st_mode):
        return Finding(name, "fail", f"{path} is not a socket", f"move it away: mv {path} {path}.old")
    told = f"{path}, mode {stat.S_IMODE(found.st_mode):04o}, {_user(found.st_uid)}:{_group(found.st_gid)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return Finding(
                name,
                "fail",
                f"nobody listens on {told}",
                "start the server; the file is left from an earlier one",
            )
        except PermissionError:
            return Finding(
                name,
                "warn",
                f"this user may not connect to {told}",
                "fine if Postgres may: its user must be the owner or in that group ([server] socket_group)",
            )
        except OSError as err:
            return Finding(name, "fail", f"{told}: {err}", "restart the server")
    return Finding(name, "ok", told)


def passable(path: Path, user: str) -> Finding:
    """Whether a user can walk to a socket: every folder above it must let them through."""
    name = f"path for {user}"
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return Finding(
            name,
            "warn",
            f"there is no user {user} here",
            "[server] database_users names users of this machine",
        )
    groups = set(os.getgrouplist(user, entry.pw_gid))
    for folder in reversed(path.parents):
        try:
            found = folder.stat()
        except OSError:
            return Finding(
                name, "warn", f"{folder} cannot be looked at", "start the server, or run doctor as root"
            )
        if not _may(found, entry.pw_uid, groups, 0o1):
            return Finding(
                name,
                "fail",
                f"{user} may not pass {folder} (mode {stat.S_IMODE(found.st_mode):04o})",
                "put the socket elsewhere: [server] socket, and pgannex.socket in Postgres",
            )
    if path.exists() and not _may(path.stat(), entry.pw_uid, groups, 0o2):
        return Finding(
            name,
            "fail",
            f"{user} may not write to {path}",
            "set [server] socket_group to a group of that user",
        )
    return Finding(name, "ok", f"{user} can reach {path}")


def c_compiler() -> Finding:
    """Only needed to build the extension."""
    try:
        found = compiler.find()
    except HostError as err:
        return Finding("compiler", "warn", err.message, err.hint)
    return Finding("compiler", "ok", f"{found.text}: {found.version}")


def installations() -> Iterator[Finding]:
    """Each Postgres that the extension could be built for."""
    candidates = [postgres.wheel(18), postgres.wheel(16)]
    candidates += [
        postgres.Installation(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_config"))
    ]
    on_path = shutil.which("pg_config")
    candidates += [postgres.Installation(Path(on_path))] if on_path else []
    seen: set[tuple[str, Path]] = set()
    for found in candidates:
        if found is None or (found.version, found.libraries) in seen:
            continue
        seen.add((found.version, found.libraries))
        yield _installation(found)
    if not seen:
        yield Finding(
            "pg_config",
            "warn",
            "there is none",
            "pip install 'pgannex[embedded]', or postgresql-server-dev-NN",
        )


def _installation(found: postgres.Installation) -> Finding:
    name = f"PostgreSQL {found.version}"
    if not found.has_headers:
        return Finding(
            name,
            "warn",
            f"{found.pg_config} has no headers",
            f"apt-get install postgresql-server-dev-{found.major}",
        )
    control = found.extensions / "pgml.control"
    if not control.exists():
        return Finding(name, "ok", f"{found.pg_config}, headers there, extension not installed")
    if not install.is_ours(control):
        return Finding(
            name, "warn", f"{control} belongs to another extension", "pgannex install --force overwrites it"
        )
    return Finding(name, "ok", f"{found.pg_config}, extension installed")


def graphics() -> Finding:
    """Whether the build of torch fits the machine."""
    try:
        build = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return Finding("GPU", "warn", "torch is not installed", "pip install 'pgannex[torch]'")
    driver = Path("/proc/driver/nvidia/version")
    if not layers.has_nvidia_driver():
        return Finding("GPU", "ok", f"no NVIDIA driver; torch {build} serves on the CPU")
    told = driver.read_text().splitlines()[0] if driver.exists() else "an NVIDIA driver"
    if build.endswith("+cpu"):
        return Finding(
            "GPU",
            "warn",
            f"{told}, but torch {build} cannot use it",
            "make up chooses the CUDA build; remove .venv first",
        )
    return Finding("GPU", "ok", f"{told}; torch {build}")


def model_cache(folder: Path, offline: bool) -> Finding:
    """Where hub models are kept."""
    if folder.is_dir():
        count = sum(1 for _ in folder.glob("**/models--*"))
        return Finding("model cache", "ok", f"{folder}: {count} hub models")
    if offline:
        return Finding(
            "model cache",
            "warn",
            f"{folder} is not there, and the server is offline",
            "only models with a local folder as source will load",
        )
    return Finding("model cache", "ok", f"{folder}: not there yet, made on the first download")


def model_source(name: str, source: str) -> Finding:
    """Whether the files of a model that names a folder are there."""
    folder = Path(source)
    if not folder.is_absolute():
        return Finding(f"model {name}", "ok", f"from the hub: {source}")
    if not os.access(folder, os.R_OK | os.X_OK):
        return Finding(
            f"model {name}",
            "fail",
            f"{folder} is not there or not readable",
            "correct its source in pgannex.toml",
        )
    if not (folder / "config.json").exists():
        return Finding(
            f"model {name}",
            "fail",
            f"{folder} holds no config.json",
            "source is the folder with the model's files",
        )
    if not any(folder.glob("**/*.safetensors")):
        return Finding(
            f"model {name}",
            "fail",
            f"{folder} holds no .safetensors",
            "convert the weights: nothing is unpickled here",
        )
    return Finding(f"model {name}", "ok", str(folder))


def package(module: str, extra: str) -> Finding:
    """Whether an engine's library is there."""
    if importlib.util.find_spec(module) is None:
        return Finding(module, "warn", "not installed", f"pip install 'pgannex[{extra}]'")
    return Finding(module, "ok", importlib.metadata.version(module))


def _may(found: os.stat_result, uid: int, groups: set[int], bit: int) -> bool:
    if uid == 0:
        return True
    shift = 6 if found.st_uid == uid else 3 if found.st_gid in groups else 0
    return bool(found.st_mode >> shift & bit)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
