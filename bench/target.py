"""Where the bars run: a Postgres and a server, and the few things a bar does to them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True)
class Target:
    """`dsn`: libpq string of a superuser over the unix socket; sockets: paths.

    `models` maps an engine's name to the name under which MiniLM is served by it. `folder`
    is the model's local folder, for the rivals that load it themselves.
    """

    dsn: str
    bin: Path
    frames_socket: Path
    http_socket: Path
    server_pid: int
    models: dict[str, str]
    folder: Path

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.dsn, autocommit=True)

    def texts(self) -> list[str]:
        """Every text of pg_description, in a fixed order."""
        with self.connect() as db:
            rows = db.execute("SELECT description FROM pg_description ORDER BY objoid, classoid, objsubid")
            return [str(row[0]) for row in rows]

    def in_flight(self) -> int:
        with self.connect() as db:
            row = db.execute("SELECT in_flight FROM pgml.stat_server").fetchone()
            assert row is not None
            return int(str(row[0]))

    def pgbench(
        self, script: str, *, clients: int = 1, seconds: float = 5.0, setup: str = ""
    ) -> tuple[list[float], float]:
        """Run `script` by pgbench, prepared: latencies in µs of each transaction, and the rate per second."""
        with tempfile.TemporaryDirectory(prefix="pgannex-bench-") as scratch:
            file = Path(scratch) / "script.sql"
            file.write_text(script)
            words = [str(self.bin / "pgbench"), "-n", "-M", "prepared", "-c", str(clients)]
            words += ["-j", str(min(clients, 2)), "-T", str(max(1, round(seconds))), "-f", str(file)]
            words += ["-l", "--log-prefix", str(Path(scratch) / "log"), self.dsn]
            done = subprocess.run(
                words, capture_output=True, text=True, env=os.environ | {"PGOPTIONS": setup}
            )
            if done.returncode != 0:
                raise RuntimeError(f"pgbench failed: {done.stderr.strip()[-2000:]}")
            lines = [line for log in Path(scratch).glob("log*") for line in log.read_text().splitlines()]
        latencies = [float(line.split()[2]) for line in lines]
        return latencies, len(latencies) / max(1, round(seconds))


def read_target(path: Path) -> Target:
    """A target as `pgannex bench` hands it over: a JSON file."""
    raw = json.loads(path.read_text())
    for key in ("bin", "frames_socket", "http_socket", "folder"):
        raw[key] = Path(raw[key])
    return Target(**raw)
