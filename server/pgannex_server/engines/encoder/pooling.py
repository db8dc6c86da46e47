"""From token embeddings to one vector: pooling and the heads behind it, as torch modules.

Everything here is traced into OpenVINO's graph as well, so it is free of branches on
values. Rows are padded on the right (`batches`). Sums and heads are float32 whatever the
body computes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pgannex_server.engines.encoder.recipe import Head, Recipe, refusal

SMALLEST = 1e-9


class Pooling(nn.Module):
    """The modes' results side by side. `pooled` masks the tokens that count."""

    def __init__(self, modes: Sequence[str]) -> None:
        super().__init__()
        self.modes = tuple(modes)

    def forward(self, hidden: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        parts = [_POOLS[mode](hidden, mask, pooled) for mode in self.modes]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _cls(hidden: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
    return _pick(hidden, pooled.to(torch.int32).argmax(dim=1))


def _last(hidden: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
    return _pick(hidden, mask.sum(dim=1) - 1)


def _max(hidden: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
    return hidden.masked_fill(pooled.unsqueeze(-1) == 0, torch.finfo(hidden.dtype).min).amax(dim=1)


def _mean(hidden: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
    return _sum(hidden, pooled) / _count(pooled)


def _mean_sqrt(hidden: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
    return _sum(hidden, pooled) / torch.sqrt(_count(pooled))


def _weighted(hidden: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
    weights = pooled.to(hidden.dtype) * torch.cumsum(mask, dim=1).to(hidden.dtype)
    return _sum(hidden, weights) / weights.sum(dim=1, keepdim=True).clamp(min=SMALLEST)


def _sum(hidden: Tensor, weights: Tensor) -> Tensor:
    return (hidden * weights.unsqueeze(-1).to(hidden.dtype)).sum(dim=1)


def _count(pooled: Tensor) -> Tensor:
    return pooled.sum(dim=1, keepdim=True).to(torch.float32).clamp(min=SMALLEST)


def _pick(hidden: Tensor, places: Tensor) -> Tensor:
    index = places.to(torch.int64).view(-1, 1, 1).expand(-1, 1, hidden.shape[-1])
    return torch.gather(hidden, 1, index).squeeze(1)


_POOLS = {
    "cls": _cls,
    "lasttoken": _last,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted,
}


class Dense(nn.Module):
    """A linear layer with an activation, and a residual where the model has one."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        config = head.config
        wide, narrow = int(config["in_features"]), int(config["out_features"])
        self.linear = nn.Linear(wide, narrow, bias=bool(config.get("bias", True)))
        self.activation = _activation(str(config.get("activation_function") or "torch.nn.Tanh"), head)
        self.adds_input = bool(config.get("use_residual"))
        self.residual = (
            nn.Linear(wide, narrow, bias=False) if self.adds_input and wide != narrow else nn.Identity()
        )

    def forward(self, vectors: Tensor) -> Tensor:
        out: Tensor = self.activation(self.linear(vectors))
        return out + self.residual(vectors) if self.adds_input else out


class LayerNorm(nn.Module):
    """sentence-transformers keeps the layer under the name `norm`."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(int(head.config["dimension"]))

    def forward(self, vectors: Tensor) -> Tensor:
        normed: Tensor = self.norm(vectors)
        return normed


class Normalize(nn.Module):
    """A normalisation that is not the last module."""

    def forward(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=-1)


def heads(recipe: Recipe) -> nn.Sequential:
    """The modules behind the pooling, with their weights."""
    return nn.Sequential(*(_head(head) for head in recipe.heads))


def _head(head: Head) -> nn.Module:
    if head.kind == "Normalize":
        return Normalize()
    if head.config.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise refusal(f"{head.folder} works on token embeddings, which no engine serves")
    module: nn.Module = Dense(head) if head.kind == "Dense" else LayerNorm(head)
    weights = head.folder / "model.safetensors"
    if not weights.exists():
        raise refusal(
            f"{head.folder} has no model.safetensors",
            hint="only safetensors are loaded: save the model again with sentence-transformers",
        )
    try:
        module.load_state_dict({k: v.float() for k, v in load_file(weights).items()})
    except (RuntimeError, OSError, SafetensorError) as err:
        raise refusal(f"the weights of {head.folder} do not fit its config.json: {err}") from err
    return module


def _activation(path: str, head: Head) -> nn.Module:
    """An activation of torch.nn by its dotted name; nothing else is imported."""
    kind: Any = getattr(nn, path.rpartition(".")[2], None) if path.startswith("torch.nn.") else None
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise refusal(f'activation "{path}" of {head.folder} is not one of torch.nn')
    made: nn.Module = kind()
    return made
