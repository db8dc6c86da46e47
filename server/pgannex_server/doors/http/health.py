"""GET /health and GET /ready: does the process live, and may it be sent work?

/health answers as long as the event loop runs. /ready asks the service: it is 503 while the
server starts or drains, and while a pinned model is not loaded, and says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import JSONResponse

if TYPE_CHECKING:
    from pgannex_server.service import Service


def router(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.get("/health", summary="the process lives")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/ready", summary="the server takes work, and every pinned model is loaded")
    async def ready() -> JSONResponse:
        waiting_for = service.unready()
        if waiting_for:
            body = {"status": "not ready", "waiting_for": waiting_for}
            return JSONResponse(body, status_code=503, headers={"Retry-After": "1"})
        return JSONResponse({"status": "ready"})

    return routes
