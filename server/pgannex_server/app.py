"""Starts and stops the server: loop, service, doors, signals, service manager.

`run(config) -> int` is what `pgannex serve` calls; it returns the process's exit status.
The HTTP door is `doors.http.start_http(service, config) -> HttpDoor` (awaitable; `close()`
awaitable), started if its libraries are installed and a socket or an address is configured.
"""

from __future__ import annotations

from pgannex_server.config import Config


def run(config: Config) -> int:
    """Serve until SIGTERM or SIGINT."""
    raise SystemExit("the server is being written")
