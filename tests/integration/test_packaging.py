"""Is the wheel whole? It is built from a copy of the checkout and compared with the sources."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TREES = ("wire", "server", "fdw", "sql", "tools", "deploy")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "*.o", "*.so", "build", "*.egg-info")
    for tree in TREES:
        shutil.copytree(ROOT / tree, folder / "source" / tree, ignore=ignored)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation"]
    command += ["-w", str(folder), str(folder / "source")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize("tree", ["wire", "server", "fdw/multicorn"])
def test_every_module_is_in_the_wheel(names: set[str], tree: str) -> None:
    files = {str(p.relative_to(ROOT / tree)) for p in (ROOT / tree).rglob("pgannex_*/**/*.py")}
    assert files
    assert not files - names


@pytest.mark.parametrize("pattern", [
    "sql/*.control", "sql/src/*.sql", "sql/upgrade/*.sql",
    "fdw/native/*.c", "fdw/native/*.h", "fdw/native/Makefile",
    "tools/assemble_sql.py", "deploy/pgannex.service", "deploy/pgannex.toml",
])  # fmt: skip
def test_what_install_needs_is_in_the_wheel(names: set[str], pattern: str) -> None:
    brought = {name.partition("/share/pgannex/")[2] for name in names if "/share/pgannex/" in name}
    wanted = {str(p.relative_to(ROOT)) for p in ROOT.glob(pattern)}
    assert not wanted - brought
