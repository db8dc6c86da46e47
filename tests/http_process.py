"""A real server process with its HTTP door open, for the tests of that door.

`HttpServer` writes a configuration into a folder, starts `app.run` in a process of its own
and waits until /health answers. What the process printed is shown when it does not start.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
KEY, OTHER_KEY = "sk-test-one", "sk-test-two"
_START = "import sys; from pgannex_server import app, config; sys.exit(app.run(config.load(sys.argv[1])))"
_HIDE = "import sys; sys.modules.update(dict.fromkeys(%r)); "
PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class HttpServer:
    """`extra` is TOML that follows the [http] section; `http` adds lines to that section. `without`
    names packages that the process shall not find."""

    def __init__(
        self, extra: str = "", http: str = "", server: str = "", without: tuple[str, ...] = ()
    ) -> None:
        # not pytest's own folder: a unix socket's path has room for about 100 characters
        self._folder = tempfile.TemporaryDirectory(prefix="pgannex-")
        folder = Path(self._folder.name)
        self.socket = str(folder / "http.sock")
        self.port = free_port()
        self.config = folder / "pgannex.toml"
        self.log = folder / "log"
        self.config.write_text(
            f"""
[server]
socket = "{folder / "frames.sock"}"
test_models = true
database_users = ["{os.getuid() + 12345}"]
{server}

[http]
socket = "{self.socket}"
listen = "127.0.0.1:{self.port}"
keys = {{ "{_digest(KEY)}" = "app", "{_digest(OTHER_KEY)}" = "other" }}
{http}

{extra}
"""
        )
        self._out = self.log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _HIDE % (without,) + _START, str(self.config)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(
                    (str(ROOT / "wire"), str(ROOT / "server"), os.environ.get("PYTHONPATH", ""))
                ),
            },
            stdout=self._out,
            stderr=subprocess.STDOUT,
        )
        self._await_health()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def unix(self) -> httpx.Client:
        """A client on the unix socket: no key needed."""
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=self.socket), base_url="http://pgannex", timeout=PATIENCE_S
        )

    def tcp(self, key: str | None = KEY) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S)

    def metric(self, name: str, **labels: str) -> float:
        """One sample of /metrics; 0 where there is none."""
        from prometheus_client.parser import text_string_to_metric_families

        with self.unix() as client:
            text = client.get("/metrics").text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return 0.0

    def await_metric(self, name: str, value: float, **labels: str) -> None:
        """Until the sample has the value; the bound only ends a hang."""
        until = time.monotonic() + PATIENCE_S
        while (now := self.metric(name, **labels)) != value:
            assert time.monotonic() < until, f"{name} is {now}, not {value}\n{self.log.read_text()}"
            time.sleep(0.02)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self._out.close()
            self._folder.cleanup()

    def __enter__(self) -> HttpServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def _await_health(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                with self.unix() as client:
                    client.get("/health").raise_for_status()
                return
            except httpx.TransportError:
                alive = self.process.poll() is None
                if not alive or time.monotonic() > until:
                    log = self.log.read_text()
                    self.stop()
                    raise AssertionError(f"the server did not start:\n{log}") from None
                time.sleep(0.05)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
