"""Which C compiler builds the extension, and with which of Postgres's own flags.

Postgres was built with flags that its extensions need as well: -fno-strict-aliasing,
-fwrapv and -fexcess-precision=standard change what the code means. But the warnings in that
list belong to the compiler of whoever built it. So each flag is kept unless this compiler
refuses it, and a flag that carries meaning may not be refused.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pgannex_server.host.errors import HostError

NEEDED = ("-fno-strict-aliasing", "-fwrapv")


@dataclass(frozen=True, slots=True)
class Compiler:
    """A command that compiles C, and the first line of its --version."""

    command: tuple[str, ...]
    version: str

    @property
    def text(self) -> str:
        """As make wants it in CC."""
        return " ".join(self.command)

    def accepts(self, flags: list[str], env: dict[str, str]) -> bool:
        """Whether it compiles an empty file with these flags, unknown ones being errors."""
        command = [*self.command, "-Werror", *flags, "-x", "c", "-c", os.devnull, "-o", os.devnull]
        return subprocess.run(command, capture_output=True, env=env).returncode == 0


def find(preferred: str = "") -> Compiler:
    """$CC, the compiler that Postgres was built with, any other, or the one of the wheel `ziglang`."""
    named = os.environ.get("CC", "")
    for command in (named, *_own(preferred)):
        if command and shutil.which(command.split()[0]):
            return _compiler(command.split())
    if importlib.util.find_spec("ziglang") is not None:
        return _compiler([sys.executable, "-m", "ziglang", "cc"])
    raise HostError(
        "no C compiler: neither cc, gcc nor clang is there, nor the Python package ziglang",
        hint="install gcc, or: pip install ziglang",
    )


def _own(preferred: str) -> tuple[str, ...]:
    return () if os.environ.get("PGANNEX_ZIG") else (preferred, "cc", "gcc", "clang")


def _compiler(command: list[str]) -> Compiler:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, env=environment())
    if done.returncode != 0:
        raise HostError(f"the compiler {' '.join(command)} does not run: {done.stderr.strip()}")
    return Compiler(tuple(command), done.stdout.splitlines()[0])


def environment() -> dict[str, str]:
    """The environment of a compilation: without the variables that make would obey."""
    left_out = ("CFLAGS", "CPPFLAGS", "LDFLAGS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CC")
    return {k: v for k, v in os.environ.items() if k not in left_out}


def filtered(flags: list[str], compiler: Compiler, env: dict[str, str]) -> list[str]:
    """The flags that this compiler takes, in their order."""
    if compiler.accepts(flags, env):
        return flags
    kept = [flag for flag in flags if compiler.accepts([flag], env)]
    refused = [flag for flag in NEEDED if flag in flags and flag not in kept]
    if refused:
        raise HostError(
            f"{compiler.text} does not know {' '.join(refused)}, which Postgres needs",
            hint="choose another compiler with CC=…",
        )
    return kept


def scratch(env: dict[str, str], folder: Path) -> dict[str, str]:
    """The same environment with zig's caches below our own folder, not in a home."""
    return {**env, "ZIG_GLOBAL_CACHE_DIR": str(folder), "ZIG_LOCAL_CACHE_DIR": str(folder)}
