"""What happens to every HTTP request, whichever verb it asks for?

The gate gives it an id, finds out who calls, sends it to its verb, turns what is raised
into an error in OpenAI's shape, and counts it. /v1/embeddings goes straight to its file,
because FastAPI's routing would cost as much as the rest of the door; everything else is
FastAPI's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from pgannex_wire.errors import WireError

from pgannex_server.doors.http.auth import OPEN_PATHS, Identity
from pgannex_server.doors.http.body import Message, Receive, Send, check_framing, header
from pgannex_server.doors.http.call import Call, Reply
from pgannex_server.doors.http.errors import body_of, headers_of, status_of, unforeseen
from pgannex_server.doors.http.peer import Connection, Peer

if TYPE_CHECKING:
    from pgannex_server.config import Config
    from pgannex_server.doors.http.traffic import Traffic
    from pgannex_server.service import Service

_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
Verb = Callable[[Call], Awaitable[Reply]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class Gate:
    """The ASGI application that uvicorn calls."""

    def __init__(
        self,
        service: Service,
        config: Config,
        traffic: Traffic,
        fast: Mapping[tuple[str, str], Verb],
        rest: Application,
    ) -> None:
        self._service = service
        self._configure(config)
        self._traffic = traffic
        self._fast = fast
        self._rest = rest

    def _configure(self, config: Config) -> None:
        """Keys and limits of `config`; after a reload the service holds a new one."""
        self._config = config
        self._identity = Identity(config.http.keys)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        answer = _Answer(send, _request_id(scope))
        try:
            await self._answer(scope, receive, answer)
        except WireError as error:
            await answer.fail(error)
        except Exception:  # noqa: BLE001 - the boundary: whatever a verb did, the client gets an answer
            # %r: a path is the caller's words, and must not begin a line of its own
            _log.exception("request %s failed: %s %r", answer.id.decode(), scope["method"], scope["path"])
            await answer.fail(unforeseen())
        finally:
            self._traffic.count(scope["path"], answer.status)

    async def _answer(self, scope: dict[str, Any], receive: Receive, answer: _Answer) -> None:
        check_framing(scope["headers"])
        state = scope.setdefault("state", {})
        connection: Connection = state.get("connection") or Connection(Peer())
        path = scope["path"]
        if self._service.config is not self._config:
            self._configure(self._service.config)
        if path not in OPEN_PATHS:
            state["caller"] = self._identity.caller(connection, scope["headers"])
        verb = self._fast.get((scope["method"], path))
        if verb is None:
            await self._rest(scope, receive, answer.forward)
            return
        loop = asyncio.get_running_loop()
        call = Call(scope, receive, self._service, self._config, state["caller"], connection, loop)
        await answer.reply(await verb(call))


class _Answer:
    """The response of one request: sent once, with the request's id."""

    __slots__ = ("_send", "_started", "id", "status")

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        self._started = False
        self.id = request_id
        self.status = 499

    async def reply(self, reply: Reply) -> None:
        headers = [
            (b"content-type", reply.content_type),
            (b"content-length", str(len(reply.body)).encode()),
            (b"x-request-id", self.id),
            *reply.headers,
        ]
        self._started, self.status = True, reply.status
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": reply.body})

    async def forward(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started, self.status = True, message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.id)]
        await self._send(message)

    async def fail(self, error: WireError) -> None:
        if not self._started:
            status = status_of(error)
            await self.reply(Reply(body_of(error), status=status, headers=headers_of(error)))


def _request_id(scope: dict[str, Any]) -> bytes:
    """The caller's own id if it is harmless, else a new one."""
    given = header(scope["headers"], b"x-request-id")
    if given and _REQUEST_ID.fullmatch(given):
        return given.encode()
    return b"req-" + os.urandom(8).hex().encode()
