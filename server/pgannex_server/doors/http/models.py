"""GET /v1/models: the models that may be used, in OpenAI's shape, and how each of them does.

An alias is listed as a model of its own whose `root` is the model it stands for. OpenAI's
clients ignore the fields that are ours: `state`, `pinned` and, once it has been loaded,
`engine`, `device`, `dimensions` and `max_tokens`. What a model has done is /metrics' to say.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

if TYPE_CHECKING:
    from pgannex_server.registry import Model
    from pgannex_server.service import Service


def router(service: Service) -> APIRouter:
    routes = APIRouter()
    created = int(time.time())

    @routes.get("/v1/models", summary="every model and alias")
    async def list_models() -> dict[str, Any]:
        models = service.registry.models.values()
        cards = [_card(name, m, created) for m in models for name in (m.name, *m.config.aliases)]
        return {"object": "list", "data": cards}

    @routes.get("/v1/models/{model:path}", summary="one model")
    async def one_model(model: str) -> dict[str, Any]:
        return _card(model, service.registry.get(model), created)

    return routes


def _card(name: str, model: Model, created: int) -> dict[str, Any]:
    card = {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "pgannex",
        "root": model.name,
        "state": model.state,
        "pinned": model.pinned,
    }
    info = model.info
    if info is not None:
        card |= {
            "engine": info.engine,
            "device": info.device,
            "dimensions": info.dimensions,
            "max_tokens": info.max_tokens,
        }
    return card
