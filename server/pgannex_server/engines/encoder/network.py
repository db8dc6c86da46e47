"""The torch module that a recipe describes: a transformers body, pooling and heads.

Weights come from safetensors and from nowhere else. Of a model with encoder and decoder
only the encoder is kept. Which device and precision to use is the engine's question.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pgannex_server.engines.encoder.batches import Padded
from pgannex_server.engines.encoder.packing import LINEAR, Packed
from pgannex_server.engines.encoder.pooling import Pooling, heads
from pgannex_server.engines.encoder.recipe import Recipe, refusal
from pgannex_server.engines.encoder.tokens import TokenFacts

_ENCODERS = {
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
    "longt5": "LongT5EncoderModel",
}
_PACKABLE = {"bert": False, "roberta": True, "xlm-roberta": True, "camembert": True}
"""Architectures that take positions and a mask per pair of tokens from outside, and whether
their positions begin behind the padding's id."""
_LOADING = (
    OSError, ValueError, ImportError, KeyError, RuntimeError, AttributeError, TypeError, SafetensorError,
)  # fmt: skip
"""What transformers raises for a folder that it cannot load; it has no error of its own."""


class Network(nn.Module):
    """(ids, mask, pooled) → one float32 vector per row, before the last normalisation."""

    def __init__(self, body: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.body = body
        self.pooling = Pooling(recipe.pooling)
        self.heads = heads(recipe)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, pooled: Tensor) -> Tensor:
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask)[0]
        vectors: Tensor = self.heads(self.pooling(hidden.float(), attention_mask, pooled))
        return vectors


class PackedNetwork(nn.Module):
    """(ids, positions, segments, weights) → one float32 vector per row of weights."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.body = net.body
        self.heads = net.heads

    def forward(self, input_ids: Tensor, position_ids: Tensor, segments: Tensor, weights: Tensor) -> Tensor:
        mask = (segments.unsqueeze(2) == segments.unsqueeze(1)).unsqueeze(1)
        hidden = self.body(input_ids=input_ids, position_ids=position_ids, attention_mask=mask)[0]
        vectors: Tensor = self.heads(weights @ hidden.float().reshape(-1, hidden.shape[-1]))
        return vectors


def layout_of(recipe: Recipe, config: Any, facts: TokenFacts) -> Padded | Packed:
    """Packed where the architecture and the pooling allow it, else padded."""
    first = _PACKABLE.get(config.model_type)
    if first is None or recipe.pooling[0] not in LINEAR or len(recipe.pooling) > 1:
        return Padded(facts.pad_id, facts.max_tokens)
    return Packed(facts.pad_id, (config.pad_token_id or 0) + 1 if first else 0, recipe.pooling[0])


def fitting(net: Network, layout: Padded | Packed) -> Network | PackedNetwork:
    """`net` in the form that takes the layout's inputs."""
    return net if isinstance(layout, Padded) else PackedNetwork(net).eval()


def configuration(recipe: Recipe, trust_remote_code: bool) -> Any:
    """The transformers configuration in the recipe's folder."""
    from transformers import AutoConfig

    _quieten()
    try:
        config = AutoConfig.from_pretrained(
            str(recipe.transformer), trust_remote_code=trust_remote_code, local_files_only=True
        )
    except _LOADING as err:
        raise refusal(f"cannot read the configuration in {recipe.transformer}: {err}") from err
    config.use_cache = False
    return config


def build(recipe: Recipe, config: Any, dtype: torch.dtype, trust_remote_code: bool) -> Network:
    """The network in evaluation mode on the CPU."""
    require_safetensors(recipe.transformer)
    try:
        body = _body(recipe, config, dtype, trust_remote_code)
    except _LOADING as err:
        raise refusal(f"cannot load the weights in {recipe.transformer}: {err}") from err
    if isinstance(getattr(body, "pooler", None), nn.Module) and not trust_remote_code:
        body.pooler = None  # type: ignore[assignment]  # nobody reads what it computes
    return Network(body, recipe).eval().requires_grad_(False)


def require_safetensors(folder: Path) -> None:
    """Refuse a folder whose weights are in another format, pickles above all."""
    if any(folder.glob("*.safetensors")):
        return
    others = [p.name for p in sorted(folder.glob("*.bin")) + sorted(folder.glob("*.pt"))]
    raise refusal(
        f"{folder} has no weights in safetensors",
        detail=f"it has {', '.join(others)}" if others else "",
        hint="only safetensors are loaded, because other formats can run code: choose a revision that has "
        "model.safetensors, or save the model again with save_pretrained",
    )


def dimensions(network: Network) -> int:
    """The length of a vector, found by computing one."""
    one = torch.ones((1, 1), dtype=torch.int64, device=next(network.parameters()).device)
    with torch.inference_mode():
        return int(network(one, one, one).shape[-1])


def size(network: Network) -> int:
    """Bytes of the weights; a tensor that two layers share counts once."""
    tensors = [*network.parameters(), *network.buffers()]
    return sum({t.data_ptr(): t.numel() * t.element_size() for t in tensors}.values())


def _quieten() -> None:
    """No progress bars and advice in a server's log; errors still raise."""
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()
    quiet.set_verbosity_error()


def _body(recipe: Recipe, config: Any, dtype: torch.dtype, trust_remote_code: bool) -> nn.Module:
    import transformers

    name = _ENCODERS.get(config.model_type)
    kind = getattr(transformers, name) if name else transformers.AutoModel
    arguments: dict[str, Any] = {"config": config, "dtype": dtype, "use_safetensors": True}
    if not name:
        arguments["trust_remote_code"] = trust_remote_code
    body = kind.from_pretrained(str(recipe.transformer), local_files_only=True, **arguments)
    if config.is_encoder_decoder and not name:
        body = body.get_encoder()
    return cast(nn.Module, body)
