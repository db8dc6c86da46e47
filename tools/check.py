"""`make check`: linters, types, import contracts, house rules and generated twins, all of them.

Every step runs, also after one has failed; the last lines say which did. The order is that of
how quickly a step answers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
TYPED = ("wire/pgannex_wire", "server/pgannex_server", "fdw/multicorn/pgannex_fdw", "bench", "tools")
TESTS = ("contract", "integration", "multicorn", "sql", "unit")
SOURCES = os.pathsep.join(str(ROOT / p) for p in ("wire", "server", "fdw/multicorn"))

STEPS: dict[str, list[str]] = {
    "ruff": [str(BIN / "ruff"), "check", "--quiet", "."],
    "house rules": [sys.executable, "tools/house_rules.py"],
    "wire vectors": [sys.executable, "tools/make_wire_vectors.py", "--check"],
    "reference pages": [sys.executable, "tools/reference.py", "--check"],
    "example configuration": [sys.executable, "tools/example_config.py", "--check"],
    "import contracts": [str(BIN / "lint-imports"), "--no-logo"],
    "mypy": [str(BIN / "mypy"), "--no-error-summary", *TYPED],
} | {
    # A folder of tests is no package: its modules find each other by pytest's path, and so here.
    f"mypy tests/{name}": [str(BIN / "mypy"), "--no-error-summary", f"tests/{name}"]
    for name in TESTS
}


def main() -> int:
    """Run the steps; 1 if one failed."""
    failed = []
    for name, command in STEPS.items():
        began = time.monotonic()
        env = {**os.environ, "PYTHONPATH": SOURCES, "PYTHONDONTWRITEBYTECODE": "1"}
        if command[-1].startswith("tests/"):
            env["MYPYPATH"] = os.pathsep.join(
                (command[-1], "tests", "tests/sql") if name.endswith("multicorn") else (command[-1], "tests")
            )
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            failed.append(name)
            print(done.stdout + done.stderr, end="")
        elif "note:" in done.stdout:
            print(done.stdout, end="")
        print(
            f"{'ok  ' if done.returncode == 0 else 'FAIL'} {name} ({time.monotonic() - began:.1f} s)",
            flush=True,
        )
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
