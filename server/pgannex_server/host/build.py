"""Compiling the C extension for one Postgres with its own PGXS, outside of the sources.

The result is kept under the hash of all that went in (sources, Postgres, compiler, flags), so
that a second start compiles nothing. Installing the result is host/install.py's.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
from pathlib import Path

from pgannex_server.host import compiler as compilers
from pgannex_server.host.errors import HostError
from pgannex_server.host.place import make_folder
from pgannex_server.host.postgres import Installation

LIBRARY = "pgml.so"


def native(
    installation: Installation, source: Path, into: Path, werror: bool = False, fresh: bool = False
) -> Path:
    """Build source/fdw/native for an installation; the path of the library."""
    if not installation.has_headers:
        raise HostError(
            f"the headers of PostgreSQL {installation.version} are missing",
            hint=f"apt-get install postgresql-server-dev-{installation.major}",
        )
    make_folder(into, 0o755)
    compiler = compilers.find(installation.values["CC"].split()[0])
    env = compilers.scratch(compilers.environment(), into / "zig")
    flags = compilers.filtered(shlex.split(installation.values["CFLAGS"]), compiler, env)
    # The extension's own Makefile makes warnings errors, which is for those who work on it: a
    # compiler that nobody has tried yet may warn on somebody's machine.
    extra = "" if werror else "-Wno-error"
    folder = into / f"pg{installation.major}-{_key(source, installation, compiler.version, [*flags, extra])}"
    library = folder / "native" / LIBRARY
    if fresh or not library.exists():
        _make(installation, source, folder, compiler.text, [*flags], extra, env)
    return library


def _make(
    installation: Installation,
    source: Path,
    folder: Path,
    command: str,
    flags: list[str],
    extra: str,
    env: dict[str, str],
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("*.o", "*.so", "*.bc", "out", ".*")
    shutil.copytree(source / "fdw" / "native", folder / "native", ignore=ignored)
    arguments = [
        f"PG_CONFIG={installation.pg_config}",
        f"CC={command}",
        f"CFLAGS={shlex.join(flags)}",
        "with_llvm=no",
        f"EXTRA_CFLAGS={extra}",
    ]
    done = subprocess.run(
        ["make", "-C", str(folder / "native"), "--no-print-directory", LIBRARY, *arguments],
        capture_output=True,
        text=True,
        env=env,
    )
    (folder / "make.log").write_text(done.stdout + done.stderr)
    if done.returncode != 0 or not (folder / "native" / LIBRARY).exists():
        (folder / "native" / LIBRARY).unlink(missing_ok=True)
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise HostError(
            f"the extension does not compile with {command}:\n{tail}", hint=f"all of it: {folder}/make.log"
        )


def _key(source: Path, installation: Installation, compiler: str, flags: list[str]) -> str:
    digest = hashlib.sha256("\n".join([installation.values["VERSION"], compiler, *flags]).encode())
    for file in sorted((source / "fdw" / "native").rglob("*")):
        if file.suffix in {".c", ".h"} or file.name == "Makefile":
            digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]
