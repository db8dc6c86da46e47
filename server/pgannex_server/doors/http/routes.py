"""The FastAPI application behind the gate: which verbs it has, and errors in our shape.

/v1/embeddings is answered by the gate itself; here it is only described, for /openapi.json.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pgannex_wire.errors import WireError
from starlette.exceptions import HTTPException

from pgannex_server import __version__
from pgannex_server.doors.http import health, metrics, models, version
from pgannex_server.doors.http.errors import RouteError, body_of, headers_of, status_of, unforeseen
from pgannex_server.doors.http.traffic import Traffic

if TYPE_CHECKING:
    from pgannex_server.service import Service

_DESCRIPTION = {
    "summary": "embeddings of one text or of a list of texts",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model", "input"],
                    "properties": {
                        "model": {"type": "string"},
                        "input": {
                            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
                        },
                        "dimensions": {"type": "integer", "minimum": 1},
                        "encoding_format": {"enum": ["float", "base64"]},
                        "user": {"type": "string"},
                        "kwargs": {"type": "object"},
                    },
                }
            }
        },
    },
    "responses": {"200": {"description": "an object with data, model and usage"}},
}


def application(service: Service, traffic: Traffic) -> FastAPI:
    app = FastAPI(title="pgannex", version=__version__, docs_url=None, redoc_url=None)
    app.include_router(version.router)
    app.include_router(health.router(service))
    app.include_router(models.router(service))
    app.include_router(metrics.router(service, traffic))
    app.add_exception_handler(HTTPException, _unknown_route)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(WireError, _refused)
    app.add_exception_handler(Exception, _broken)
    schema = app.openapi()
    schema["paths"]["/v1/embeddings"] = {"post": _DESCRIPTION}
    return app


def _respond(error: WireError, extra: dict[str, str] | None = None) -> Response:
    headers = {k.decode(): v.decode() for k, v in headers_of(error)}
    return Response(body_of(error), status_of(error), headers | (extra or {}), "application/json")


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, WireError)
    return _respond(error)


async def _broken(_request: Request, _error: Exception) -> Response:
    """What nobody foresaw. It is raised again after this answer, and the gate logs it."""
    return _respond(unforeseen())


async def _unknown_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    if error.status_code == 405 or request.url.path == "/v1/embeddings":
        allowed = dict(error.headers or {}) or {"Allow": "POST"}
        return _respond(
            RouteError(405, f"{what} is not served", hint=f"use {allowed.get('Allow', 'GET')}"), allowed
        )
    if error.status_code == 404:
        return _respond(RouteError(404, f"{what} is not served", hint="see /openapi.json for what is"))
    return _respond(WireError("bad_argument", f"{what}: {error.detail}"))


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _respond(WireError("bad_argument", _first(error.errors())))


def _first(errors: Any) -> str:
    for problem in errors:
        where = ".".join(str(part) for part in problem.get("loc", ()))
        return f"{where}: {problem.get('msg', 'is not valid')}".lower()
    return "the request is not valid"
