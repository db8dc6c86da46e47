"""`make clean`: stops what runs and removes everything that make created, and nothing else.

That is this checkout's installation folder, the link .venv and the caches of the tools.
Standard library only: it must work where the installation is broken.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT / "server"), str(CHECKOUT / "wire")]
sys.dont_write_bytecode = True

from pgannex_server.host import owner, place, processes  # noqa: E402 - the paths above come first
from pgannex_server.host.errors import HostError  # noqa: E402
from pgannex_server.host.stack import Stack  # noqa: E402
from pgannex_server.host.state import State  # noqa: E402

_CACHES = (".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache", ".hypothesis", "build")


def main() -> int:
    """Stop, then remove."""
    base = Path(os.environ.get(place.ENVIRONMENT) or place.default_base(CHECKOUT))
    if base.exists():
        try:
            here = place.Place(base, owner.find())
            for folder in sorted(here.stacks.glob("*")):
                _stop(State(here, folder.name))
        except HostError as err:
            print(f"error: {err.message}", file=sys.stderr)
            return 1
        shutil.rmtree(base)
    if (CHECKOUT / ".venv").is_symlink():
        (CHECKOUT / ".venv").unlink()
    for name in _CACHES:
        shutil.rmtree(CHECKOUT / name, ignore_errors=True)
    for folder in CHECKOUT.glob("**/__pycache__"):
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _stop(state: State) -> None:
    """The server by its pid file, Postgres by its own copy of pg_ctl."""
    pid = processes.recall(state.server_pid)
    if pid:
        processes.stop(pid, 40)
    Stack(state, CHECKOUT).stop_postgres()
    shutil.rmtree(state.run, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
