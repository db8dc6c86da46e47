"""Where an installation lies: one folder that holds all of it, the same for root and others.

    <base>/python   a copy of the interpreter, only where the owner cannot reach the real one
    <base>/venv     the virtual environment
    <base>/app      a snapshot of our own packages, sql/ and fdw/native, made by each set-up
    <base>/build    the compiled extension, one folder per Postgres and compiler
    <base>/stacks/<name>   one Postgres with its server: see state.py

As an ordinary user the base is .pgannex in the checkout. As root it is a folder of its own
under /var/lib, because a checkout in a home folder of mode 0700 is closed to the owner, and
the modes of folders that we did not create are not ours to change.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from pgannex_server.host import owner as owners
from pgannex_server.host.owner import Owner

ROOT_BASE = Path("/var/lib/pgannex-dev")
ENVIRONMENT = "PGANNEX_HOME"


@dataclass(frozen=True, slots=True)
class Place:
    """A base folder and the user who runs what lies in it."""

    base: Path
    owner: Owner

    @property
    def venv(self) -> Path:
        return self.base / "venv"

    @property
    def app(self) -> Path:
        return self.base / "app"

    @property
    def build(self) -> Path:
        return self.base / "build"

    @property
    def stacks(self) -> Path:
        return self.base / "stacks"

    @property
    def python(self) -> Path:
        """The interpreter that the owner can run: the installation's, else the present one."""
        installed = self.venv / "bin" / "python"
        return installed if installed.exists() else own_prefix() / "bin" / Path(sys.executable).name

    def prepare(self) -> None:
        """Create the folders that anyone may pass through. Ours alone are made 0755."""
        for folder in (self.base.parent, self.base, self.stacks):
            make_folder(folder, 0o755)


def make_folder(path: Path, mode: int, owner: Owner | None = None) -> None:
    """Create a folder with exactly this mode; one that is there already stays as it is."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    for folder in reversed(missing):
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        folder.chmod(mode if folder == path else 0o755)
        if owner is not None and folder == path:
            owner.own(folder)


def source_root() -> Path:
    """The folder with sql/, fdw/ and tools/: the checkout, its snapshot, or what the wheel brought."""
    beside = Path(__file__).resolve().parents[3]
    return beside if (beside / "sql").is_dir() else own_prefix() / "share" / "pgannex"


def own_prefix() -> Path:
    """The virtual environment of this process, not the link in a checkout that leads to it."""
    return Path(sys.prefix).resolve()


def checkout() -> Path | None:
    """The checkout that this installation was made from, if it is still there."""
    marker = own_prefix().parent / "place"
    folder = Path(marker.read_text().strip()) if marker.is_file() else source_root()
    return folder if (folder / "Makefile").is_file() else None


def find(create: bool = False) -> Place:
    """The place this process belongs to: $PGANNEX_HOME, its own virtual environment, or the default."""
    return Place(_base(), owners.find(create))


def _base() -> Path:
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named).absolute()
    mine = own_prefix().parent
    if (mine / "place").is_file():
        return mine
    return default_base(source_root())


def default_base(checkout: Path) -> Path:
    """Where the installation of this checkout goes when nothing else is said."""
    digest = hashlib.sha256(str(checkout).encode()).hexdigest()[:12]
    if os.geteuid() == 0:
        return ROOT_BASE / digest
    # make takes a blank for the end of a name, so a path with one is no place to compile in.
    if (checkout / "Makefile").is_file() and not any(c.isspace() for c in str(checkout)):
        return checkout / ".pgannex"
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "pgannex" / digest
