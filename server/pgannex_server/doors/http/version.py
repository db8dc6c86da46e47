"""GET /version: which pgannex answers, and which version of the wire it speaks."""

from __future__ import annotations

from fastapi import APIRouter

from pgannex_server import __version__

router = APIRouter()


@router.get("/version", summary="version of the server")
async def version() -> dict[str, str]:
    return {"version": __version__}
