"""GET /health and GET /ready: does the process live, and may it be sent work?

/health answers as long as the event loop runs. /ready is 503 while the server drains, and
while a pinned model is not loaded or does not embed one short text in PROBE_S: a process
that listens and computes nothing is not ready. It says what it waits for.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pgannex_wire.errors import WireError
from pgannex_wire.message import Arg, Column
from pgannex_wire.values import FLOAT4_ARRAY, TEXT_OID

from pgannex_server.doors.http.collect import Collector
from pgannex_server.request import SINGLE, Caller, Request

if TYPE_CHECKING:
    from pgannex_server.registry import Model
    from pgannex_server.service import Service

PROBE_S = 5.0
_OUTPUTS = (Column("embedding", FLOAT4_ARRAY),)
_PROBE = Caller("pgannex", client="ready probe", door="http")


def router(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.get("/health", summary="the process lives")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/ready", summary="the server takes work, and every pinned model computes")
    async def ready() -> JSONResponse:
        waiting_for = await unready(service)
        if not waiting_for:
            return JSONResponse({"status": "ready"})
        body = {"status": "not ready", "waiting_for": waiting_for}
        return JSONResponse(body, status_code=503, headers={"Retry-After": "1"})

    return routes


async def unready(service: Service) -> list[str]:
    """Why the server should not be sent work; empty if it should."""
    if service.state != "ready":
        return [f"the server is {service.state}"]
    pinned = [model for model in service.registry.models.values() if model.pinned]
    reasons = await asyncio.gather(*(_probe(service, model) for model in pinned))
    return [reason for reason in reasons if reason]


async def _probe(service: Service, model: Model) -> str:
    if model.state != "ready":
        return f'model "{model.name}" is {model.state}'
    args = (Arg("model", TEXT_OID, model.name.encode()), Arg("input", TEXT_OID, b"ready?"))
    deadline = time.monotonic() + PROBE_S
    sink = Collector(service.loop)
    try:
        sink.attach(service.start(Request("embed", args, (), _OUTPUTS, SINGLE, deadline, _PROBE), sink))
        await sink.done
    except WireError as error:
        # a full queue is work that is being done, not a model that does not work
        return "" if error.code == "overloaded" else f'model "{model.name}": {error.message}'
    finally:
        sink.close()
    return ""
