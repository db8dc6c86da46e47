"""How a fresh machine gets everything that `make` needs: one virtual environment from lock files.

    python tools/bootstrap.py run     what `make up` and `make demo` need
    python tools/bootstrap.py dev     that and the tools of tests, checks and bench

Standard library only; any Python from 3.11 on, root or not. The work is in host/place.py
(where things lie), host/relocate.py (an interpreter that the unprivileged user can run),
host/layers.py (which packages) and host/snapshot.py (our own sources); this file is the order
of the steps. A second run finds its stamps and takes well under a second.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - asked before anything that an older one cannot read
    sys.exit(f"python {sys.version.split()[0]} is too old: call make with PYTHON=python3.11 or newer")

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT / "server"), str(CHECKOUT / "wire")]
sys.dont_write_bytecode = True

from pgannex_server.host import layers, owner, place, relocate, snapshot  # noqa: E402
from pgannex_server.host.errors import HostError  # noqa: E402


def bootstrap(kind: str) -> None:
    """Create or refresh the installation of this checkout."""
    os.umask(0o022)
    base = Path(os.environ.get(place.ENVIRONMENT) or place.default_base(CHECKOUT))
    here = place.Place(base, owner.find(create=True))
    here.prepare()
    python = layers.environment(here.venv, relocate.reachable(here.base, here.owner))
    layers.install(python, CHECKOUT / "locks", layers.wanted(kind, CHECKOUT / "locks"))
    snapshot.take(CHECKOUT, here)
    snapshot.link(CHECKOUT, here)


def main() -> int:
    """Run from the Makefile."""
    try:
        bootstrap(sys.argv[1] if len(sys.argv) > 1 else "run")
    except HostError as err:
        print(f"error: {err.message}" + (f"\nhint: {err.hint}" if err.hint else ""), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
