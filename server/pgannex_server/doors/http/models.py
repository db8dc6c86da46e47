"""GET /v1/models: the models that may be used, in OpenAI's shape.

An alias is listed as a model of its own whose `root` is the model it stands for. Whether a
model is loaded, and what it has done, is pgml.stat_models' and /metrics' to say.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from pgannex_server.config import ModelConfig

if TYPE_CHECKING:
    from pgannex_server.service import Service


def router(service: Service) -> APIRouter:
    routes = APIRouter()
    created = int(time.time())

    @routes.get("/v1/models", summary="every model and alias")
    async def list_models() -> dict[str, Any]:
        configs = [model.config for model in service.registry.models.values()]
        cards = [_card(name, c, created) for c in configs for name in (c.name, *c.aliases)]
        return {"object": "list", "data": cards}

    @routes.get("/v1/models/{model:path}", summary="one model")
    async def one_model(model: str) -> dict[str, Any]:
        return _card(model, service.registry.get(model).config, created)

    return routes


def _card(name: str, model: ModelConfig, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "pgannex", "root": model.name}
