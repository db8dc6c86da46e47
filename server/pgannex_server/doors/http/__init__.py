"""The HTTP door: OpenAI's shape for people and programs, Prometheus's for monitoring.

`start_http` opens it, `HttpDoor.close` shuts it. A file per verb (embeddings, models,
health, metrics, version); the gate and its helpers are what all verbs share. The door
decodes, calls the service and encodes: it decides nothing about models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgannex_server.doors.http.embeddings import Embeddings
from pgannex_server.doors.http.gate import Gate
from pgannex_server.doors.http.listen import HttpDoor, listen
from pgannex_server.doors.http.routes import application
from pgannex_server.doors.http.traffic import Traffic

if TYPE_CHECKING:
    from pgannex_server.config import Config
    from pgannex_server.service import Service

__all__ = ["HttpDoor", "start_http"]


async def start_http(service: Service, config: Config) -> HttpDoor:
    """Serve `service` on the sockets of `[http]`. Raises ConfigError if one cannot be opened."""
    traffic = Traffic()
    fast = {("POST", "/v1/embeddings"): Embeddings()}
    gate = Gate(service, config, traffic, fast, application(service, traffic))
    return await listen(gate, config)
