"""The pgannex server as a process of a stack: started in the background, waited for, stopped."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from pgannex_server.host import ask, processes
from pgannex_server.host.errors import HostError
from pgannex_server.host.snapshot import python_path
from pgannex_server.host.state import State


@dataclass(frozen=True, slots=True)
class Daemon:
    """The server of one stack. `sources` is the copy of our packages that it runs."""

    state: State
    sources: Path

    @property
    def pid(self) -> int:
        """Its process id, 0 if it does not run."""
        return processes.recall(self.state.server_pid)

    def launch(self) -> int:
        """Start the process without waiting for it; its pid."""
        command = [
            str(self.state.place.python),
            "-m",
            "pgannex_server",
            "serve",
            "--config",
            str(self.state.config),
        ]
        env = processes.environment(self.state) | {
            "PYTHONPATH": python_path(self.sources),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "STATE_DIRECTORY": str(self.state.server_state),
        }
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        log = os.open(self.state.server_log, flags, 0o600)
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=env,
                start_new_session=True,
                umask=0o077,
                **self.state.owner.popen(),
            )
        except PermissionError as err:
            raise HostError(
                f"the user {self.state.owner.name} may not run {command[0]}",
                hint="use a virtual environment outside of home folders, or make up in a checkout",
            ) from err
        finally:
            os.close(log)
        processes.remember(self.state.server_pid, self.state, process.pid)
        return process.pid

    def start(self, timeout: float = 180.0) -> None:
        """Start it unless it runs, and wait until it is ready."""
        if not self.pid:
            self.launch()
        self.wait(timeout)

    def wait(self, timeout: float = 180.0) -> None:
        """Wait until /ready says so; a process that died is reported with its log."""
        end = time.monotonic() + timeout
        while not self._ready():
            if not self.pid:
                raise HostError(
                    f"the server does not start:\n{self.tail()}", hint=f"the log is {self.state.server_log}"
                )
            if time.monotonic() > end:
                raise HostError(
                    f"the server is not ready after {timeout:.0f} s:\n{self.tail()}",
                    hint=f"the log is {self.state.server_log}",
                )
            time.sleep(0.05)

    def stop(self, patience: float = 40.0) -> bool:
        """SIGTERM and wait; SIGKILL after `patience`. Whether it went on its own."""
        pid = self.pid
        clean = processes.stop(pid, patience) if pid else True
        self.state.server_pid.unlink(missing_ok=True)
        return clean

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "".join(self.state.server_log.read_text(errors="replace").splitlines(keepends=True)[-lines:])

    def _ready(self) -> bool:
        try:
            return ask.get(self.state.http_socket, "/ready").status == 200
        except OSError:
            return False
