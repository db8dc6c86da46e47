"""The copy of our own sources that an installation runs, and how its interpreter finds it.

Postgres and the server may run as a user who cannot read the checkout, and a running stack
should not change under somebody's editor: so each set-up copies the few hundred kilobytes,
as a whole or not at all. Third-party packages are host/layers.py's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

from pgannex_server.host.errors import HostError
from pgannex_server.host.place import Place

_TREES = ("wire", "server", "fdw", "sql", "tools", "deploy")
_IGNORED = shutil.ignore_patterns(
    "__pycache__", "*.o", "*.so", "*.bc", "*.pyc", ".*", "out", "build", "results"
)
_PACKAGES = ("wire", "server", "fdw/multicorn")
_SCRIPT = """#!{python}
import sys

from pgannex_server.cli import main

sys.exit(main())
"""


def copy_sources(source: Path, target: Path) -> Path:
    """Copy our trees from a checkout to `target`, replacing what was there."""
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o755)
    for tree in _TREES:
        if (source / tree).is_dir():
            shutil.copytree(source / tree, fresh / tree, ignore=_IGNORED)
    for path in (fresh, *fresh.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    (fresh / "digest").write_text(_digest(fresh) + "\n")
    old = target.with_name(f"{target.name}.old.{os.getpid()}")
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def digest(copy: Path) -> str:
    """What tells one snapshot from another; "" for what is no snapshot."""
    file = copy / "digest"
    return file.read_text().strip() if file.exists() else ""


def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def python_path(app: Path) -> str:
    """The PYTHONPATH that makes our packages importable from a copy."""
    return os.pathsep.join(str(app / p) for p in _PACKAGES)


def take(checkout: Path, place: Place) -> None:
    """Refresh the installation's snapshot, its .pth file, the command `pgannex` and the marker."""
    copy_sources(checkout, place.app)
    (site,) = (place.venv / "lib").glob("python3*/site-packages")
    (site / "pgannex.pth").write_text("".join(f"{place.app / p}\n" for p in _PACKAGES))
    script = place.venv / "bin" / "pgannex"
    script.write_text(_SCRIPT.format(python=place.venv / "bin" / "python"))
    script.chmod(0o755)
    (place.base / "place").write_text(f"{checkout}\n")


def link(checkout: Path, place: Place) -> None:
    """Let .venv in the checkout point at the installation, for make and for editors."""
    shortcut = checkout / ".venv"
    if shortcut.is_symlink():
        if shortcut.readlink() == place.venv:
            return
        shortcut.unlink()
    elif shortcut.exists():
        raise HostError(
            f"{shortcut} is in the way: it is no link of ours", hint=f"move it: mv {shortcut} {shortcut}.old"
        )
    shortcut.symlink_to(place.venv)
