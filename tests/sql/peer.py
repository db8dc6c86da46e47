"""The fixture `peer`: tests/fake_server.py where the cluster's backends look for their server.

Once with socket buffers of the usual size and once with tiny ones. While it is there the real
server is not reached, so it is a module's, and the setting is taken back afterwards.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FAKE = Path(__file__).resolve().parents[1] / "fake_server.py"
BUFFERS = {"usual": 0, "tiny": 4096}
PUSHING = """CREATE FOREIGN TABLE IF NOT EXISTS public.pushing (
    model text OPTIONS (input 'required', batch 'false'),
    query text OPTIONS (input 'required', batch 'false'),
    tokens integer) SERVER pgannex OPTIONS (verb 'push', push 'query', model_column 'model',
    artifact 'SELECT convert_to(repeat(''x'', 3000000), ''UTF8'')
        FROM generate_series(1, 3) WHERE $1 = ''h1''')"""


def _point_at(stack: Any, path: str) -> None:
    with stack.connect() as db:
        change = f"SET pgannex.socket = '{path}'" if path else "RESET pgannex.socket"
        db.execute(f"ALTER SYSTEM {change}")
        before = db.execute("SHOW pgannex.socket").fetchone()
        db.execute("SELECT pg_reload_conf()")
        until = time.monotonic() + 30
        while time.monotonic() < until and _shown(stack) == before:
            time.sleep(0.02)


def _shown(stack: Any) -> tuple[object, ...] | None:
    with stack.connect() as db:
        shown: tuple[object, ...] | None = db.execute("SHOW pgannex.socket").fetchone()
        return shown


@pytest.fixture(scope="module", params=BUFFERS)
def peer(stack: Any, host: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """The fake server, where the cluster's backends look for theirs."""
    if host != "native":
        pytest.skip("the Multicorn host meets the fake server in tests/multicorn")
    path = stack.frames_socket.parent / f"fake-{request.param}.sock"
    with stack.connect() as db:
        db.execute(PUSHING)
    server = subprocess.Popen([sys.executable, str(FAKE), str(path), str(BUFFERS[request.param])])
    try:
        until = time.monotonic() + 30
        while not path.is_socket() and time.monotonic() < until:
            time.sleep(0.02)
        _point_at(stack, str(path))
        yield
    finally:
        _point_at(stack, "")
        with stack.connect() as db:
            db.execute("DROP FOREIGN TABLE IF EXISTS public.pushing")
        server.terminate()
        server.wait()
        path.unlink(missing_ok=True)
