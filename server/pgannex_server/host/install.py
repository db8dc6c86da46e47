"""Putting the extension's files into a Postgres: library, control file, scripts.

A pgml.control that somebody else put there (PostgresML's own) is not overwritten unless that
is asked for: ours carries a mark in its first line. Installing the same files again changes
nothing, and every file is swapped in whole, so running backends keep what they have loaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pgannex_server.host.errors import HostError
from pgannex_server.host.postgres import Installation

MARK = "# pgannex"
HOSTS = ("native", "multicorn")


@dataclass(frozen=True, slots=True)
class Installed:
    """What was written, and what was already as it should be."""

    written: tuple[Path, ...]
    unchanged: tuple[Path, ...]


def is_ours(control: Path) -> bool:
    """Whether a control file carries our mark in its first line."""
    return control.read_text(errors="replace").startswith(MARK)


def install(
    target: Installation, source: Path, host: str, library: Path | None, force: bool = False
) -> Installed:
    """Copy the files of a host into an installation's folders."""
    _may_overwrite(target, force)
    if host == "multicorn" and not (target.extensions / "multicorn.control").exists():
        raise HostError(
            f"Multicorn2 is not installed in {target.extensions}",
            hint="build it first: docs/multicorn.md says how; or use --host native",
        )
    with tempfile.TemporaryDirectory() as scratch:
        assemble(source, host, Path(scratch))
        files = [(path, target.extensions / path.name, 0o644) for path in sorted(Path(scratch).iterdir())]
        if library is not None:
            files.insert(0, (library, target.libraries / library.name, 0o755))
        done = [(to, _place(path.read_bytes(), to, mode)) for path, to, mode in files]
    return Installed(tuple(p for p, new in done if new), tuple(p for p, new in done if not new))


def assemble(source: Path, host: str, out: Path) -> None:
    """Write control file and scripts of a host into a folder."""
    command = [sys.executable, str(source / "tools" / "assemble_sql.py"), "--host", host, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise HostError(f"the SQL script cannot be assembled: {done.stderr.strip()}")


def _may_overwrite(target: Installation, force: bool) -> None:
    control = target.extensions / "pgml.control"
    if control.exists() and not is_ours(control) and not force:
        raise HostError(
            f"{control} belongs to another extension called pgml, not to pgannex",
            hint="remove that extension first, or overwrite its files with --force",
        )


def _place(content: bytes, to: Path, mode: int) -> bool:
    """Write one file whole; False where it is already there with this content."""
    if to.exists() and to.read_bytes() == content:
        return False
    fresh = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        fresh.write_bytes(content)
        fresh.chmod(mode)
        fresh.replace(to)
    except PermissionError as err:
        raise HostError(f"cannot write {to}: permission denied", hint="run the same command as root") from err
    except OSError as err:
        raise HostError(f"cannot write {to}: {err.strerror}") from err
    return True
