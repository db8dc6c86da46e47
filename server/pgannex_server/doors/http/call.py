"""One HTTP request as a verb's file sees it, and what it gives back.

`Call` has the caller (already authenticated), the body and the deadline; `Reply` is a
finished response. Everything else of HTTP stays in the gate.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgannex_wire.errors import WireError

from pgannex_server.doors.http.body import Receive, header, read_body
from pgannex_server.doors.http.collect import Collector
from pgannex_server.doors.http.errors import FieldError
from pgannex_server.doors.http.peer import Connection

if TYPE_CHECKING:
    from pgannex_server.config import Config
    from pgannex_server.request import Caller
    from pgannex_server.service import Service

TIMEOUT_HEADER = "X-Request-Timeout"


@dataclass(frozen=True, slots=True)
class Reply:
    body: bytes
    content_type: bytes = b"application/json"
    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Call:
    scope: dict[str, Any]
    receive: Receive
    service: Service
    config: Config
    caller: Caller
    connection: Connection
    loop: asyncio.AbstractEventLoop

    async def body(self) -> bytes:
        """The body, never more than the configured limit."""
        return await read_body(self.scope["headers"], self.receive, self.config.http.max_body_bytes)

    def deadline(self) -> float:
        """When the answer must be there, by `time.monotonic()`; 0 for never."""
        asked = header(self.scope["headers"], TIMEOUT_HEADER.lower().encode())
        seconds = _seconds(asked) if asked else self.config.http.timeout_s
        return time.monotonic() + seconds if seconds else 0.0

    @contextmanager
    def cancelled_by_disconnect(self, sink: Collector) -> Iterator[None]:
        """While inside, a client that goes away cancels the request."""
        if self.connection.lost:
            raise WireError("cancelled", "the client went away")
        self.connection.on_lost = sink.lost
        try:
            yield
        finally:
            self.connection.on_lost = None
            sink.close()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < math.inf:
        raise FieldError(
            "bad_argument", TIMEOUT_HEADER, f'{TIMEOUT_HEADER} is "{text[:40]}", not a number of seconds'
        )
    return seconds
