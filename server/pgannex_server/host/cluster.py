"""The embedded Postgres: our own initdb and pg_ctl around the wheel's binaries.

The wheel's own starter is not used: as root it opens up parent folders, makes the socket
folder 0777 and trusts every connection. Here the unix socket knows its users by the operating
system (peer, with a map from whoever set this up to the superuser), TCP on 127.0.0.1 wants
a password, and nothing listens elsewhere.
"""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from dataclasses import dataclass, field

from pgannex_server.host.errors import HostError
from pgannex_server.host.postgres import Installation
from pgannex_server.host.processes import environment
from pgannex_server.host.state import State

SUPERUSER = "postgres"
DATABASE = "pgannex"
_START_TIMEOUT = 60


@dataclass(frozen=True)
class Cluster:
    """One database cluster of a stack. `settings` are lines for its postgresql.conf, `variables`
    are added to the postmaster's environment."""

    state: State
    installation: Installation
    settings: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(self.state.remembered()["port"])

    @property
    def running(self) -> bool:
        """Whether its postmaster is alive."""
        return self._control("status", check=False).returncode == 0

    def start(self) -> None:
        """Initialise on the first call, choose a free port, start, and wait until it answers."""
        if not self.state.exists:
            self._initialise()
        self._check_version()
        if self.running:
            return
        self.state.remember(port=self._free_port(), major=self.installation.major)
        if not self._try_to_start():
            # Somebody may have taken the port in between: once more with another one.
            self.state.remember(port=0)
            self.state.remember(port=self._free_port())
            if not self._try_to_start():
                tail = "".join(self.state.postgres_log.read_text().splitlines(keepends=True)[-15:])
                raise HostError(
                    f"postgres does not start:\n{tail}", hint=f"the log is {self.state.postgres_log}"
                )

    def _try_to_start(self) -> bool:
        self._write_configuration()
        options = f"-c config_file={self.state.folder / 'postgresql.conf'}"
        arguments = ["-w", "-t", str(_START_TIMEOUT), "-l", str(self.state.postgres_log), "-o", options]
        return self._control("start", *arguments, check=False).returncode == 0

    def stop(self, mode: str = "fast") -> None:
        """Stop; the data stay. Does nothing where nothing runs."""
        if self.state.exists and self.running:
            self._control("stop", "-w", "-m", mode)

    def reload(self) -> None:
        """Let it read its configuration again."""
        self._write_configuration()
        self._control("reload")

    def conninfo(self, database: str = DATABASE, user: str = SUPERUSER) -> str:
        """libpq parameters over the unix socket."""
        return f"host={self.state.run} port={self.port} dbname={database} user={user}"

    def url(self, database: str = DATABASE) -> str:
        """The TCP address for programs on this machine, with the password in it."""
        return f"postgresql://{SUPERUSER}:{self.state.password()}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = DATABASE) -> str:
        """Run one statement through psql and return its unadorned output."""
        command = [str(self.installation.bin / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        command += ["-d", self.conninfo(database), "-c", statement]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(self.state), cwd="/")
        if done.returncode != 0:
            raise HostError(done.stderr.strip())
        return done.stdout.strip()

    def _initialise(self) -> None:
        arguments = [
            str(self.installation.bin / "initdb"),
            "--pgdata",
            str(self.state.data),
            "--encoding=UTF8",
        ]
        arguments += ["--username", SUPERUSER, "--pwfile", str(self.state.password_file), "--no-instructions"]
        arguments += ["--auth-local=peer", "--auth-host=scram-sha-256", "--locale=C"]
        if self.installation.major >= 17:
            arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = self._run(arguments)
        if done.returncode != 0:
            raise HostError(f"initdb failed: {done.stderr.strip()}")

    def _check_version(self) -> None:
        found = (self.state.data / "PG_VERSION").read_text().strip()
        if found != str(self.installation.major):
            raise HostError(
                f"{self.state.data} holds a database of PostgreSQL {found}, "
                f"the binaries are {self.installation.version}",
                hint="name the version (--pg), or remove the data (pgannex reset)",
            )

    def _write_configuration(self) -> None:
        state, settings = self.state, {**self._defaults(), **self.settings}
        lines = ["# written at each start; add what is yours with ALTER SYSTEM"]
        lines += [f"{key} = {_quoted(value)}" for key, value in settings.items()]
        state.write(state.folder / "postgresql.conf", "\n".join(lines) + "\n")
        state.write(state.folder / "pg_hba.conf", _HBA)
        names = sorted({getpass.getuser(), state.owner.name, *(["root"] if os.geteuid() == 0 else [])})
        ident = "".join(f'pgannex "{name}" {SUPERUSER}\n' for name in names)
        state.write(state.folder / "pg_ident.conf", ident)

    def _defaults(self) -> dict[str, str]:
        state = self.state
        return {
            "data_directory": str(state.data),
            "hba_file": str(state.folder / "pg_hba.conf"),
            "ident_file": str(state.folder / "pg_ident.conf"),
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(state.run),
            "unix_socket_permissions": "0700",
            "max_connections": "250",
            "password_encryption": "scram-sha-256",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "pgannex.socket": str(state.frames_socket),
        }

    def _free_port(self) -> int:
        """The remembered port if it is still free, else one that the kernel gives."""
        wanted = int(self.state.remembered().get("port", 0))
        for port in (wanted, 0):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return int(probe.getsockname()[1])
        raise HostError("no free TCP port on 127.0.0.1")

    def _control(self, action: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(self.installation.bin / "pg_ctl"), action, "-D", str(self.state.data), *arguments]
        done = self._run(command)
        if check and done.returncode != 0:
            raise HostError(f"pg_ctl {action} failed with status {done.returncode}")
        return done

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        # No pipe for what pg_ctl prints: the postmaster would inherit it, and a reader would wait for ever.
        keep = subprocess.PIPE if command[0].endswith("initdb") else subprocess.DEVNULL
        return subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=keep,
            text=True,
            cwd="/",
            env={**environment(self.state), **self.variables},
            **self.state.owner.popen(),
        )


_HBA = f"""# unix socket: the operating system says who it is; everyone else and TCP: a password
local all {SUPERUSER} peer map=pgannex
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
