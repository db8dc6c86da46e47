"""`make fuzz` and `make asan`: the C decoder under broken frames, and under the sanitizers.

Both end in a line of counts, and fail with what the decoder did. The work is done in a copy, so
that the checkout stays clean. A compiler without sanitizers (zig's) leaves asan to valgrind,
and where that is missing too the check says so and fails: it has looked at nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "server"), str(ROOT / "wire")]

from pgannex_server.host import compiler  # noqa: E402 - the paths above come first
from pgannex_server.host.errors import HostError  # noqa: E402

NOTHING = 77


def run(kind: str, rounds: int, seed: int) -> int:
    """Build and run one kind of check; its exit status, 77 where this machine cannot run it."""
    with tempfile.TemporaryDirectory(prefix="pgannex-checks-") as scratch:
        folder = Path(scratch)
        ignored = shutil.ignore_patterns("*.o", "*.so", "build")
        shutil.copytree(ROOT / "fdw" / "native", folder / "fdw" / "native", ignore=ignored)
        shutil.copytree(
            ROOT / "wire" / "pgannex_wire" / "vectors", folder / "wire" / "pgannex_wire" / "vectors"
        )
        found = compiler.find()
        env = compiler.scratch(compiler.environment(), folder / "zig")
        if kind == "asan" and not found.accepts(["-fsanitize=address"], env):
            return _valgrind(folder, found.text, rounds, seed, env)
        return _make(folder, kind, found.text, [f"ROUNDS={rounds}", f"SEED={seed}"], env)


def _make(folder: Path, target: str, cc: str, variables: list[str], env: dict[str, str]) -> int:
    command = ["make", "-s", "-C", str(folder / "fdw" / "native"), target, f"CC={cc}", *variables]
    # The Makefile asks PGXS for its rules even where it needs none of them.
    return subprocess.run([*command, f"PG_CONFIG={_pg_config()}"], env=env).returncode


def _pg_config() -> str:
    from pgannex_server.host import postgres

    return str(postgres.find(postgres.DEFAULT_MAJOR).pg_config)


def _valgrind(folder: Path, cc: str, rounds: int, seed: int, env: dict[str, str]) -> int:
    if shutil.which("valgrind") is None:
        print(f"neither the sanitizers of {cc} nor valgrind are on this machine")
        return NOTHING
    status = _make(folder, "build/fuzz", cc, [], env)
    program = folder / "fdw" / "native" / "build" / "fuzz"
    vectors = folder / "wire" / "pgannex_wire" / "vectors"
    command = [
        "valgrind",
        "--quiet",
        "--error-exitcode=1",
        str(program),
        str(vectors),
        str(rounds // 50),
        str(seed),
    ]
    return status or subprocess.run(command, env=env).returncode


def main() -> int:
    """From the Makefile."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=("vectors", "fuzz", "asan"))
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "1000000")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "1")))
    options = parser.parse_args()
    try:
        return run(options.kind, options.rounds, options.seed)
    except HostError as err:
        print(f"error: {err.message}\nhint: {err.hint}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
