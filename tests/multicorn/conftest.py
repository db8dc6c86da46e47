"""Fixtures: the stand-in in the place of Multicorn2, and a real server with the echo model."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import stand_in
from stand_in import FakeBackend, Session

stand_in.install()

from pgannex_fdw import backend as backend_module  # noqa: E402
from pgannex_fdw import client  # noqa: E402
from pgannex_fdw.wrapper import PgannexForeignDataWrapper  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = """[server]
socket = "{folder}/frames.sock"
database_users = ["{uid}"]
test_models = true
offline = true

[http]
socket = "{folder}/http.sock"
"""


class Server:
    """A server process of its own, in a folder with a short name (sockets have a limit)."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="annex"))
        self.socket = self.folder / "frames.sock"
        self.config = self.folder / "pgannex.toml"
        self.config.write_text(CONFIGURATION.format(folder=self.folder, uid=os.getuid()))
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        paths = os.pathsep.join(str(ROOT / part) for part in ("wire", "server"))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pgannex_server", "serve", "--config", str(self.config)],
            env=os.environ | {"PYTHONPATH": paths},
            stdout=(self.folder / "log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        end = time.monotonic() + 60
        while not self._answers():
            log = (self.folder / "log").read_text()
            assert self.process.poll() is None, f"the server ended:\n{log}"
            assert time.monotonic() < end, f"the server does not listen:\n{log}"
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait; its socket goes with it."""
        self.process.send_signal(number)
        self.process.wait(60)
        self.socket.unlink(missing_ok=True)

    def remove(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server that most tests share; one that stops it starts it again."""
    found = Server()
    yield found
    found.remove()


@pytest.fixture
def backend(server: Server) -> Iterator[FakeBackend]:
    """The process as a backend that speaks to the shared server."""
    found = FakeBackend(str(server.socket))
    backend_module.install(found)
    client.POOL = client.Pool()
    yield found
    client.POOL.clear()


@pytest.fixture
def session(backend: FakeBackend) -> Session:
    return Session(PgannexForeignDataWrapper)
