"""GET /v1/models: the models that may be used, in OpenAI's shape.

An alias is listed as a model of its own whose `root` is the model it stands for. Whether a
model is loaded, and what it has done, is pgml.stat_models' and /metrics' to say.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from pgannex_wire.errors import WireError

from pgannex_server.config import ModelConfig


def router(models: Mapping[str, ModelConfig]) -> APIRouter:
    routes = APIRouter()
    created = int(time.time())
    cards = {card["id"]: card for model in models.values() for card in _cards(model, created)}

    @routes.get("/v1/models", summary="every model and alias")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": list(cards.values())}

    @routes.get("/v1/models/{model:path}", summary="one model")
    async def one_model(model: str) -> dict[str, Any]:
        card = cards.get(model)
        if card is None:
            raise WireError(
                "unknown_model", f'no model is called "{model}"', hint=f"known: {', '.join(cards)}"
            )
        return card

    return routes


def _cards(model: ModelConfig, created: int) -> list[dict[str, Any]]:
    return [
        {"id": name, "object": "model", "created": created, "owned_by": "pgannex", "root": model.name}
        for name in (model.name, *model.aliases)
    ]
