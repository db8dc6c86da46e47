"""Does the C decoder read the golden vectors, and survive broken frames? The long run is make fuzz."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("kind", "rounds"), [("vectors", 0), ("fuzz", 100_000), ("asan", 20_000)])
def test_the_decoder(kind: str, rounds: int) -> None:
    command = [sys.executable, str(ROOT / "tools" / "native_checks.py"), kind, "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip(f"C decoder under sanitizers: {done.stdout.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(c.isdigit() for c in done.stdout.splitlines()[-1]), done.stdout
