"""What a test can do with a running Postgres and its server: connect, restart, kill, count.

Every stack has a folder, a port and sockets of its own, and runs a snapshot of the sources
taken when it started, so that two test runs, or a run and an editor, do not meet.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from pgannex_server.host import ask, place, postgres, processes, snapshot
from pgannex_server.host.errors import HostError
from pgannex_server.host.stack import MINILM, Stack, minilm
from pgannex_server.host.state import State
from psycopg import sql

Database = psycopg.Connection[tuple[object, ...]]
SETTINGS = {
    "fsync": "off",
    "max_connections": "250",
    "max_prepared_transactions": "5",
    "log_min_messages": "warning",
}


@dataclass(frozen=True)
class Leg:
    """A major version of Postgres and a host of the foreign data wrapper."""

    major: int
    host: str = "native"

    @property
    def name(self) -> str:
        return str(self.major) if self.host == "native" else f"{self.major}-{self.host}"

    def missing(self) -> str:
        """Why this machine cannot run it, or the empty string."""
        try:
            found = postgres.find(self.major)
        except HostError as err:
            return f"{err.message}: {err.hint}"
        if self.host == "multicorn" and not (found.extensions / "multicorn.control").exists():
            return f"Multicorn2 is not installed for PostgreSQL {self.major}: docs/multicorn.md"
        return ""


@dataclass
class TestStack:
    """A running stack. `models` are the names that its server knows besides echo."""

    __test__ = False
    leg: Leg
    stack: Stack
    models: tuple[str, ...] = (MINILM,)
    _marks: dict[Path, int] = field(default_factory=dict)
    _roles: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(cls, leg: Leg, settings: dict[str, str] | None = None, configuration: str = "") -> TestStack:
        """Start a stack of its own for a leg. `configuration` is appended to pgannex.toml."""
        here = place.find(create=True)
        state = State(here, f"test-{os.getpid()}-{leg.name}-{time.monotonic_ns() % 100000}")
        state.prepare()
        sources = snapshot.copy_sources(place.source_root(), state.folder / "app")
        stack = Stack(state, sources, leg.major, SETTINGS | (settings or {}), _silent, leg.host)
        started = cls(leg, stack)
        stack.configure(started.default_configuration() + configuration)
        try:
            stack.up()
        except HostError as err:
            started.remove()
            raise AssertionError(f"the stack does not start: {err.message}\n{err.hint}") from err
        return started

    def default_configuration(self) -> str:
        """echo, and MiniLM by torch (no conversion to wait for), loaded on first use."""
        state, text = self.stack.state, ""
        text += f'[server]\nsocket = "{state.frames_socket}"\ndatabase_users = ["{state.owner.name}"]\n'
        text += f'state_dir = "{state.server_state}"\n'
        text += f'test_models = true\noffline = true\ndrain_s = 5\n\n[http]\nsocket = "{state.http_socket}"\n'
        weights = minilm()
        if weights is not None:
            text += f'\n[models."{MINILM}"]\nsource = "{weights}"\nengine = "torch"\n'
            text += 'aliases = ["all-MiniLM-L6-v2", "text-embedding-ada-002"]\n'
        return text

    # -- Postgres ------------------------------------------------------------------------

    @property
    def dsn(self) -> str:
        """libpq parameters of the superuser over the unix socket."""
        return self.stack.cluster.conninfo()

    def url(self, role: str = "") -> str:
        """The TCP address of the superuser, or of a plain role (see role())."""
        if not role:
            return self.stack.cluster.url()
        return f"postgresql://{role}:{self.role(role)}@127.0.0.1:{self.stack.cluster.port}/pgannex"

    def connect(self, role: str = "", autocommit: bool = True, **parameters: Any) -> Database:
        """Connect as superuser, or as a plain role, which is made on first use."""
        address = self.url(role) if role else self.dsn
        return psycopg.connect(address, autocommit=autocommit, **parameters)

    def role(self, name: str, member_of: tuple[str, ...] = ("pgml_user",)) -> str:
        """Make a role without rights of its own, a member of these roles; its password."""
        if name not in self._roles:
            with self.connect() as db:
                role = sql.Identifier(name)
                db.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
                db.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(name)))
                for group in member_of:
                    db.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), role))
            self._roles[name] = name
        return self._roles[name]

    # -- server --------------------------------------------------------------------------

    @property
    def frames_socket(self) -> Path:
        return self.stack.state.frames_socket

    @property
    def http_socket(self) -> Path:
        return self.stack.state.http_socket

    @property
    def server_pid(self) -> int:
        """Process id of the server, 0 if it does not run."""
        return self.stack.daemon.pid

    def start_server(self) -> None:
        """Start the server unless it runs, and wait until it is ready."""
        self.stack.daemon.start()

    def stop_server(self) -> bool:
        """SIGTERM and wait. Whether it went on its own."""
        return self.stack.daemon.stop()

    def restart_server(self, configuration: str | None = None) -> None:
        """Stop and start; with `configuration`, the default one plus this text."""
        self.stop_server()
        if configuration is not None:
            self.stack.configure(self.default_configuration() + configuration)
        self.start_server()

    def signal_server(self, number: signal.Signals) -> None:
        """Send the server a signal, such as SIGSTOP and SIGCONT."""
        os.kill(self.server_pid, number)

    def kill_server(self) -> None:
        """SIGKILL, and wait until it is gone."""
        processes.kill(self.server_pid)

    def worker_pids(self, model: str = MINILM) -> list[int]:
        """Process ids of the instances of a model that are loaded."""
        with self.connect() as db:
            rows = db.execute("SELECT pid FROM pgml.stat_models WHERE model = %s AND pid > 0", [model])
            return [int(str(row[0])) for row in rows]

    def kill_worker(self, model: str = MINILM, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to the first worker of a model; its pid."""
        pid = self.worker_pids(model)[0]
        os.kill(pid, number)
        return pid

    def get(self, url: str) -> ask.Answer:
        """GET over the HTTP socket."""
        return ask.get(self.http_socket, url, timeout=30)

    def in_flight(self) -> int:
        """Requests that the server has not answered yet, by its own gauge."""
        for line in str(self.get("/metrics").body).splitlines():
            if line.startswith("pgannex_requests_in_flight"):
                return round(float(line.split()[-1]))
        raise AssertionError("no gauge pgannex_requests_in_flight in /metrics")

    def wait_idle(self, patience: float = 30.0) -> float:
        """Wait until nothing is in flight; the seconds that took."""
        began = time.monotonic()
        while self.in_flight():
            assert time.monotonic() - began < patience, f"{self.in_flight()} requests still in flight"
            time.sleep(0.01)
        return time.monotonic() - began

    # -- logs and end ----------------------------------------------------------------------

    def mark_logs(self) -> None:
        """Remember where both logs end."""
        for log in self._logs():
            self._marks[log] = log.stat().st_size if log.exists() else 0

    def logs_since_mark(self) -> list[tuple[str, str]]:
        """(title, text) of what both logs got since the mark."""
        found = []
        for log in self._logs():
            with log.open("rb") as file:
                file.seek(self._marks.get(log, 0))
                lines = file.read().decode(errors="replace").splitlines()[-120:]
            found.append((f"pg{self.leg.name} {log.name}", "\n".join(lines)))
        return found

    def remove(self) -> None:
        """Stop both and delete everything."""
        self.stack.reset()

    def _logs(self) -> tuple[Path, Path]:
        return self.stack.state.postgres_log, self.stack.state.server_log


def remove_leftovers() -> None:
    """Stop and delete stacks of test runs that were killed."""
    here = place.find(create=True)
    for folder in here.stacks.glob("test-*-*"):
        if not processes.start_time(int(folder.name.split("-")[1])):
            Stack(State(here, folder.name), place.source_root(), say=_silent).down()
            shutil.rmtree(folder, ignore_errors=True)


def _silent(_: str) -> None:
    return
