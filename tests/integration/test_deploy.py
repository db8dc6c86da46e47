"""Does the server get on with a service manager? The unit is verified, and a test plays systemd.

The manager's side is a datagram socket: READY when it serves, WATCHDOG while it lives, RELOADING
and READY around SIGHUP, STOPPING on SIGTERM, and what runs then is still answered.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pgannex_server.host import place, snapshot

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists here."""
    text = (DEPLOY / "pgannex.service").read_text()
    file = tmp_path / "pgannex.service"
    file.write_text(text.replace("/opt/pgannex/bin/pgannex", sys.executable))
    return file


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (apt-get install systemd)")
    return found


def test_systemd_accepts_the_unit(unit: Path) -> None:
    done = subprocess.run([_tool("systemd-analyze"), "verify", str(unit)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pgannex.service" not in done.stderr, done.stderr


def test_systemd_calls_the_unit_well_guarded(unit: Path) -> None:
    command = [_tool("systemd-analyze"), "security", "--offline=true", "--threshold=25", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_sysusers_and_tmpfiles_are_understood(tmp_path: Path) -> None:
    sysusers, tmpfiles = _tool("systemd-sysusers"), _tool("systemd-tmpfiles")
    (tmp_path / "etc").mkdir()
    for command in (
        [sysusers, "--dry-run", f"--root={tmp_path}", str(DEPLOY / "sysusers.d" / "pgannex.conf")],
        [sysusers, f"--root={tmp_path}", str(DEPLOY / "sysusers.d" / "pgannex.conf")],
        [tmpfiles, "--create", f"--root={tmp_path}", str(DEPLOY / "tmpfiles.d" / "pgannex.conf")],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if "Unknown option" in done.stderr or "unrecognized option" in done.stderr:
            pytest.skip(f"this {Path(command[0]).name} cannot be tried without changing the machine")
        if os.geteuid() != 0 and done.returncode != 0:
            pytest.skip("sysusers and tmpfiles want root even below --root")
        assert done.returncode == 0, done.stderr
    assert "pgannex" in (tmp_path / "etc" / "passwd").read_text()
    assert (tmp_path / "run" / "pgannex").stat().st_mode & 0o777 == 0o750


def test_the_example_configuration_is_one(tmp_path: Path) -> None:
    sections = tomllib.loads((DEPLOY / "pgannex.toml").read_text())
    assert set(sections) == {"server", "http", "limits", "tabular"}


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            self.messages.append(self._socket.recv(4096).decode())

    def wait(self, word: str, after: int = 0, patience: float = 60.0) -> int:
        """Wait for a message that has this line; the number of messages until then."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            for number, message in enumerate(self.messages[after:], after + 1):
                if word in message.splitlines():
                    return number
            time.sleep(0.01)
        raise AssertionError(f"no {word} in {self.messages[after:]}")


class Service:
    """A server as systemd would start it."""

    def __init__(self, folder: Path, watchdog_s: float) -> None:
        self.manager = Manager(folder)
        self.http = folder / "http.sock"
        self.config = folder / "pgannex.toml"
        self.configure("")
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {
            "PYTHONPATH": snapshot.python_path(place.source_root()),
            "NOTIFY_SOCKET": str(self.manager.path),
            "WATCHDOG_USEC": str(int(watchdog_s * 1e6)),
        }
        command = [sys.executable, "-m", "pgannex_server", "serve", "--config", str(self.config)]
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def configure(self, more: str) -> None:
        folder = self.config.parent
        text = f'[server]\nsocket = "{folder}/frames.sock"\ndatabase_users = ["{os.geteuid()}"]\n'
        self.config.write_text(f'{text}test_models = true\n[http]\nsocket = "{self.http}"\n{more}')

    def client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.http))
        return httpx.Client(transport=transport, base_url="http://localhost", timeout=60)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    started = Service(tmp_path, watchdog_s=0.2)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()
        print(started.log.read_text())


def test_ready_and_watchdog(service: Service) -> None:
    seen = service.manager.wait("READY=1")
    with service.client() as client:
        assert client.get("/health").status_code == 200
    seen = service.manager.wait("WATCHDOG=1", seen)
    service.manager.wait("WATCHDOG=1", seen)


def test_a_stopped_server_misses_its_watchdog(service: Service) -> None:
    service.manager.wait("WATCHDOG=1")
    service.process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)  # what was under way arrives
    before = len(service.manager.messages)
    time.sleep(0.6)
    assert len(service.manager.messages) == before
    service.process.send_signal(signal.SIGCONT)
    service.manager.wait("WATCHDOG=1", before)


def test_reload_reads_the_configuration_again(service: Service) -> None:
    seen = service.manager.wait("READY=1")
    service.configure('[models."again"]\nengine = "echo"\n')
    service.process.send_signal(signal.SIGHUP)
    reloading = next(m for m in service.manager.messages[service.manager.wait("RELOADING=1", seen) - 1 :]
                     if "RELOADING=1" in m)  # fmt: skip
    assert any(line.startswith("MONOTONIC_USEC=") for line in reloading.splitlines())
    service.manager.wait("READY=1", seen)
    with service.client() as client:
        names = {model["id"] for model in client.get("/v1/models").json()["data"]}
    assert "again" in names


def test_a_wrong_configuration_changes_nothing(service: Service) -> None:
    seen = service.manager.wait("READY=1")
    service.configure("[nonsense]\n")
    service.process.send_signal(signal.SIGHUP)
    service.manager.wait("READY=1", seen)
    with service.client() as client:
        assert client.get("/health").status_code == 200
    assert "nonsense" in service.log.read_text()


def test_sigterm_drains(service: Service) -> None:
    service.manager.wait("READY=1")
    answers: list[Any] = []

    def ask() -> None:
        with service.client() as client:
            answers.append(
                client.post("/v1/embeddings", json={"model": "echo", "input": ["x" * 1000] * 5000})
            )

    asking = threading.Thread(target=ask)
    asking.start()
    end = time.monotonic() + 30
    while not _in_flight(service) and asking.is_alive() and time.monotonic() < end:
        time.sleep(0.005)
    service.process.send_signal(signal.SIGTERM)
    service.manager.wait("STOPPING=1")
    asking.join(60)
    assert service.process.wait(60) == 0
    assert answers[0].status_code == 200, answers[0].text
    assert len(answers[0].json()["data"]) == 5000
    assert not service.http.exists()


def test_sigterm_when_idle_ends_it_and_its_workers(service: Service) -> None:
    service.manager.wait("READY=1")
    with service.client() as client:
        assert client.post("/v1/embeddings", json={"model": "echo", "input": "x"}).status_code == 200
    workers = _children(service.process.pid)
    assert workers
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(30) == 0
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < end:
        time.sleep(0.01)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def _in_flight(service: Service) -> bool:
    with service.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return any(
        line.startswith("pgannex_requests_in_flight") and float(line.split()[-1]) > 0 for line in lines
    )


def _children(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_serve_check_reads_and_stops(tmp_path: Path) -> None:
    file = tmp_path / "pgannex.toml"
    command = [sys.executable, "-m", "pgannex_server", "serve", "--check", "--config", str(file)]
    env = os.environ | {"PYTHONPATH": snapshot.python_path(place.source_root())}
    for text, status, words in (
        ('[models."m"]\n', 0, "1 models"),
        ("[server]\nsockt = 1\n", 1, 'unknown option of [server] "sockt"'),
    ):
        file.write_text(text)
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        assert done.returncode == status
        assert words in done.stdout + done.stderr


def test_status_says_what_runs(service: Service) -> None:
    service.manager.wait("READY=1")
    command = [sys.executable, "-m", "pgannex_server", "status", "--json", "--config", str(service.config)]
    env = os.environ | {"PYTHONPATH": snapshot.python_path(place.source_root())}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["ready"]
    assert {m["id"] for m in facts["models"]} == {"echo"}
    service.process.terminate()
    service.process.wait(30)
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 3
