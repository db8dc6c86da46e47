"""Making the interpreter reachable for the owner: tries it as that user, else copies it.

As root the interpreter often lies under a home folder of mode 0700 (pyenv, uv). Opening that
folder is not ours to do, so the interpreter and its standard library are copied to where the
owner can read them; site-packages and the library's own tests stay behind. A copied
interpreter finds its library by its own place, so nothing in it is edited.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from pgannex_server.host.errors import HostError
from pgannex_server.host.owner import Owner

_LEFT_BEHIND = {"site-packages", "dist-packages", "test", "tests", "idlelib", "turtledemo", "__pycache__"}


def works(python: Path, owner: Owner, env: dict[str, str] | None = None) -> bool:
    """Whether the owner can start this interpreter and load its compiled modules."""
    command = [str(python), "-I", "-c", "import ssl, ctypes, encodings"]
    try:
        done = subprocess.run(command, cwd="/", capture_output=True, env=env, **owner.popen())
    except OSError:
        return False
    return done.returncode == 0


def reachable(base: Path, owner: Owner) -> Path:
    """An interpreter of this version that the owner can run: the present one or a copy."""
    real = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if not real.exists():
        real = Path(sys.executable).resolve()
    if works(real, owner):
        return real
    copy = base / "python"
    python = copy / "bin" / real.name
    if not (python.exists() and works(python, owner)):
        _copy(real, copy)
    if not works(python, owner):
        raise HostError(
            f"the user {owner.name} can run neither {real} nor its copy {python}",
            hint="call make with PYTHON=/usr/bin/python3 or another interpreter outside of home folders",
        )
    return python


def _copy(real: Path, copy: Path) -> None:
    print(f"copying the interpreter {real} to {copy}, where the unprivileged user can read it", flush=True)
    shutil.rmtree(copy, ignore_errors=True)
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = Path(os.__file__).parent
    shutil.copytree(library, copy / "lib" / name, ignore=_ignored, symlinks=False)
    (copy / "bin").mkdir()
    (copy / "bin" / name).write_bytes(_repoint(real.resolve().read_bytes()))
    (copy / "bin" / name).chmod(0o755)
    for shared in Path(sys.base_prefix).glob("lib/libpython3*.so*"):
        shutil.copy2(shared, copy / "lib" / shared.name)
    for link in ("python3", "python"):
        (copy / "bin" / link).symlink_to(name)
    for folder, _, files in os.walk(copy):
        Path(folder).chmod(0o755)
        for file in files:
            path = Path(folder) / file
            if not path.is_symlink():
                path.chmod(0o755 if os.access(path, os.X_OK) else 0o644)


def _repoint(binary: bytes) -> bytes:
    """Let the run path of an ELF file point beside itself instead of at the old prefix."""
    old = b"\0" + str(Path(sys.base_prefix) / "lib").encode() + b"\0"
    new = b"\0$ORIGIN/../lib\0"
    return binary.replace(old, new.ljust(len(old), b"\0")) if len(new) <= len(old) else binary


def _ignored(folder: str, names: list[str]) -> set[str]:
    return {n for n in names if n in _LEFT_BEHIND or n.startswith("config-")}
