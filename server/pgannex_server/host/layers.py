"""Third-party packages: a virtual environment, filled from the lock files, layer by layer.

Every pin is in locks/, pip is told --no-deps, so nothing unpinned comes along, and only
wheels are taken, so nothing is built. Where packages come from is the user's own pip
configuration. A layer whose stamp has the hash of its lock file is not touched again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pgannex_server.host.errors import HostError

RUN = ("server", "torch", "openvino", "tabular", "embedded", "demo")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)={2,3}(\S+)(?:\s*#\s*([\d.]+) MB)?", re.MULTILINE)
_COMPILERS = ("cc", "gcc", "clang")


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of a lock file; `size` in megabytes, 0 where the file does not say."""

    name: str
    version: str
    size: float


def pins(lock: Path) -> list[Pin]:
    """The pins of a lock file."""
    return [Pin(normal(n), v, float(s or 0)) for n, v, s in _PIN.findall(lock.read_text())]


def normal(name: str) -> str:
    """A package's name as every index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def has_compiler() -> bool:
    """Whether the machine has a C compiler of its own."""
    return bool(os.environ.get("CC")) or any(shutil.which(c) for c in _COMPILERS)


def has_nvidia_driver() -> bool:
    """Whether an NVIDIA driver is loaded: the kernel says so, no tool has to be installed."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def wanted(kind: str, locks: Path) -> list[str]:
    """The layers for `run` or `dev` on this machine, torch's build chosen by a probe."""
    layers = [*RUN, "dev"] if kind == "dev" else [*RUN]
    layers.insert(2, "torch-cuda" if has_nvidia_driver() else "torch-cpu")
    if not has_compiler() or os.environ.get("PGANNEX_ZIG"):
        layers.append("zig")
    return layers


def environment(venv: Path, python: Path) -> Path:
    """Create the virtual environment on `python` where it is not there yet; its interpreter."""
    mine = venv / "bin" / "python"
    if mine.exists() and _runs(mine):
        return mine
    shutil.rmtree(venv, ignore_errors=True)
    print(f"creating {venv}", flush=True)
    bundled = importlib.util.find_spec("ensurepip") is not None
    command = [str(python), "-m", "venv", *([] if bundled else ["--without-pip"]), str(venv)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise HostError(
            f"cannot create a virtual environment: {(done.stderr or done.stdout).strip()}",
            hint="on Debian and Ubuntu: apt-get install python3-venv",
        )
    return mine


def install(python: Path, locks: Path, layers: list[str]) -> None:
    """Bring the environment to what the lock files say. Prints the download's size first."""
    stale = [name for name in layers if not _fresh(python, locks / f"{name}.txt")]
    if not stale:
        return
    present = _present(python)
    todo = [
        (name, locks / f"{lock}.txt")
        for name, lock in zip(stale, available(python, locks, stale), strict=True)
    ]
    missing = {name: [p for p in pins(file) if present.get(p.name) != p.version] for name, file in todo}
    total = sum(p.size for pins_ in missing.values() for p in pins_)
    count = sum(map(len, missing.values()))
    print(
        f"{count} packages to install, {total:.0f} MB to download (less what pip has in its cache)",
        flush=True,
    )
    for name, file in todo:
        if missing[name]:
            print(f"  {file.stem}: {sum(p.size for p in missing[name]):.0f} MB", flush=True)
            pip(python, "install", "-qq", "--no-deps", "--only-binary=:all:", "-r", str(file))
        _stamp(python, name).write_text(_hash(locks / f"{name}.txt"))


def pip(python: Path, *arguments: str, quiet: bool = False) -> None:
    """Run pip for an environment, with the user's own configuration."""
    prefix = [str(python), "-m", "pip"]
    if not (python.parent / "pip").exists():
        if importlib.util.find_spec("pip") is None:
            raise HostError(
                "this Python has neither ensurepip nor pip",
                hint="on Debian and Ubuntu: apt-get install python3-venv",
            )
        prefix = [sys.executable, "-m", "pip", "--python", str(python)]
    env = {
        **os.environ,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_NO_INPUT": "1",
    }
    done = subprocess.run([*prefix, *arguments], env=env, capture_output=quiet, text=True)
    if done.returncode != 0:
        raise HostError(
            f"pip {arguments[0]} failed with status {done.returncode}",
            hint="pip's own lines above say why; its indexes are those of your pip configuration",
        )


def available(python: Path, locks: Path, layers: list[str]) -> list[str]:
    """The layers, with torch's CPU build replaced where no index of the user has it."""
    cpu = pins(locks / "torch-cpu.txt") if "torch-cpu" in layers else []
    if not cpu:
        return layers
    pin = cpu[0]
    try:
        arguments = ["--dry-run", "--no-deps", "--only-binary=:all:", f"{pin.name}=={pin.version}"]
        pip(python, "install", *arguments, quiet=True)
    except HostError:
        size = sum(p.size for p in pins(locks / "torch-cuda.txt"))
        print(
            f"no index of your pip configuration has torch {pin.version} ({pin.size:.0f} MB, for CPUs);\n"
            f"the build with CUDA is taken instead: {size:.0f} MB. To avoid that, add the index of\n"
            "PyTorch's CPU builds to pip's extra-index-url, or a folder with that wheel to its\n"
            "find-links, and run this again",
            flush=True,
        )
        return ["torch-cuda" if name == "torch-cpu" else name for name in layers]
    return layers


def _runs(python: Path) -> bool:
    return subprocess.run([str(python), "-c", ""], capture_output=True).returncode == 0


def _fresh(python: Path, lock: Path) -> bool:
    stamp = _stamp(python, lock.stem)
    return stamp.exists() and stamp.read_text() == _hash(lock)


def _stamp(python: Path, layer: str) -> Path:
    return python.parent.parent / f"layer-{layer}.stamp"


def _hash(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _present(python: Path) -> dict[str, str]:
    """Name to version of what the environment already holds."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = python.parent.parent / "lib" / version / "site-packages"
    found = (p.name.removesuffix(".dist-info").split("-", 1) for p in site.glob("*.dist-info"))
    return {normal(name): rest for name, rest in found}
