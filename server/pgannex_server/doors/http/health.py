"""GET /health and GET /ready: does the process live, and may it be sent work?

/health answers as long as the event loop runs. /ready is 503 while the server drains, and
while a pinned model is not loaded or does not embed one short text in PROBE_S: a process
that listens and computes nothing is not ready. It says what it waits for; over TCP, where
nobody has shown a key, without the names of models. A probe's answer holds for PROBE_KEPT_S,
so that no number of requests for /ready keeps the models busy.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse
from pgannex_wire.errors import WireError
from pgannex_wire.message import Arg, Column
from pgannex_wire.values import FLOAT4_ARRAY, TEXT_OID

from pgannex_server.doors.http.collect import Collector
from pgannex_server.doors.http.peer import Connection, Peer
from pgannex_server.request import SINGLE, Caller, Request

if TYPE_CHECKING:
    from pgannex_server.registry import Model
    from pgannex_server.service import Service

PROBE_S = 5.0
PROBE_KEPT_S = 1.0
_OUTPUTS = (Column("embedding", FLOAT4_ARRAY),)
_PROBE = Caller("pgannex", client="ready probe", door="http")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the server should not be sent work. `plain` names no model."""

    full: str
    plain: str


class Readiness:
    """The probe of all pinned models: one at a time, whoever asks meanwhile gets its answer."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._probe: asyncio.Task[list[Reason]] | None = None
        self._fresh_until = 0.0

    async def reasons(self) -> list[Reason]:
        """Why the server should not be sent work; empty if it should."""
        service = self._service
        if service.state != "ready":
            text = f"the server is {service.state}"
            return [Reason(text, text)]
        pinned = [model for model in service.registry.models.values() if model.pinned]
        unloaded = [
            Reason(f'model "{model.name}" is {model.state}', f"a model is {model.state}")
            for model in pinned
            if model.state != "ready"
        ]
        if unloaded:
            return unloaded
        probe = self._probe
        if probe is None or (probe.done() and time.monotonic() >= self._fresh_until):
            self._probe = probe = service.loop.create_task(self._ask(pinned))
        # shielded: a client that goes away takes nobody else's answer with it
        return await asyncio.shield(probe)

    async def _ask(self, pinned: list[Model]) -> list[Reason]:
        try:
            found = await asyncio.gather(*(_probe(self._service, model) for model in pinned))
        finally:
            self._fresh_until = time.monotonic() + PROBE_KEPT_S
        return [reason for reason in found if reason]


def router(service: Service) -> APIRouter:
    routes = APIRouter()
    readiness = Readiness(service)

    @routes.get("/health", summary="the process lives")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/ready", summary="the server takes work, and every pinned model computes")
    async def ready(request: HttpRequest) -> JSONResponse:
        reasons = await readiness.reasons()
        if not reasons:
            return JSONResponse({"status": "ready"})
        connection: Connection = getattr(request.state, "connection", None) or Connection(Peer())
        local = connection.peer.uid is not None
        waiting_for = [reason.full for reason in reasons] if local else sorted({r.plain for r in reasons})
        body = {"status": "not ready", "waiting_for": waiting_for}
        return JSONResponse(body, status_code=503, headers={"Retry-After": "1"})

    return routes


async def _probe(service: Service, model: Model) -> Reason | None:
    args = (Arg("model", TEXT_OID, model.name.encode()), Arg("input", TEXT_OID, b"ready?"))
    deadline = time.monotonic() + PROBE_S
    sink = Collector(service.loop)
    try:
        sink.attach(service.start(Request("embed", args, (), _OUTPUTS, SINGLE, deadline, _PROBE), sink))
        await sink.done
    except WireError as error:
        # a full queue is work that is being done, not a model that does not work
        if error.code == "overloaded":
            return None
        return Reason(f'model "{model.name}": {error.message}', "a model does not embed")
    finally:
        sink.close()
    return None
