"""Turn an encoder into an OpenVINO graph, in a process of its own.

`python -m pgannex_server.engines.encoder.convert` reads a request as JSON from standard
input, writes the graph (pooling and heads inside), the tokenizer and a few facts into a
folder, and answers with JSON. A process of its own, because torch and transformers take
hundreds of megabytes that a worker should not keep for its whole life.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn

from pgannex_server.engines.base import EngineError
from pgannex_server.engines.encoder import network, recipe, tokens
from pgannex_server.engines.encoder.batches import padded
from pgannex_server.engines.encoder.network import Network
from pgannex_server.engines.encoder.recipe import Recipe, refusal
from pgannex_server.engines.encoder.samples import SAMPLES, least_cosine
from pgannex_server.engines.encoder.vectors import Floats

SAME = 0.9999
"""The graph in float32 must agree with torch in float32 to this cosine."""
_CONVERTING = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError, NotImplementedError)
"""What a trace of foreign code, or OpenVINO's frontend, raises when it cannot go on."""


@dataclass(frozen=True, slots=True)
class Request:
    """`target` is an existing empty folder."""

    source: str
    target: str
    trust_remote_code: bool


class _SamePool(nn.Module):
    """Pools all tokens of a text: the graph has one mask."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        vectors: Tensor = self.net(input_ids, attention_mask, attention_mask)
        return vectors


def convert(request: Request) -> None:
    """Write graph, tokenizer and facts. Raises EngineError(load_failed)."""
    target, wanted = Path(request.target), recipe.read(Path(request.source))
    config = network.configuration(wanted, request.trust_remote_code)
    text_ids = tokens.load(wanted, config, request.trust_remote_code)
    net = network.build(wanted, config, torch.float32, request.trust_remote_code)
    if not tokens.save(text_ids, target):
        raise refusal("the tokenizer of this model is written in Python", hint='use engine = "torch"')
    try:
        graph = _graph(wanted, net)
        _compare(graph, net, text_ids)
    except _CONVERTING as err:
        raise refusal(
            f"OpenVINO cannot convert {request.source}: {err}", hint='use engine = "torch"'
        ) from err
    ov.save_model(graph, str(target / "model.xml"), compress_to_fp16=False)
    facts = {"dimensions": network.dimensions(net), "weight_bytes": network.size(net)}
    (target / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _graph(wanted: Recipe, net: Network) -> Any:
    """The traced network with both dimensions of its inputs left open."""
    names = ["input_ids", "attention_mask"] + ([] if wanted.include_prompt else ["pooled"])
    module: nn.Module = _SamePool(net) if wanted.include_prompt else net
    ids = torch.ones((2, 9), dtype=torch.int64)
    mask = torch.ones((2, 9), dtype=torch.int64)
    mask[1, 6:] = 0
    example = (ids, mask) if wanted.include_prompt else (ids, mask, mask)
    shapes = [(name, [-1, -1], ov.Type.i64) for name in names]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # every tracer warning; `_compare` finds what it cost
        return ov.convert_model(module, example_input=example, input=shapes)


def _compare(graph: Any, net: Network, text_ids: tokens.Tokens) -> None:
    """A trace can freeze a branch that depends on shapes: run other shapes and compare."""
    compiled = ov.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for texts in (SAMPLES, SAMPLES[:1], SAMPLES[2:]):
        found = text_ids.of(texts)
        ids, mask = padded(found, max(map(len, found)), text_ids.facts.pad_id)
        inputs = [ids, mask, mask][: len(graph.inputs)]
        close = least_cosine(np.asarray(compiled(inputs)[0]), _vectors(net, ids, mask))
        if close < SAME:
            raise ValueError(f"its vectors differ from torch's, cosine {close:.5f}")


def _vectors(net: Network, ids: Any, mask: Any) -> Floats:
    with torch.inference_mode():
        mask_ = torch.from_numpy(mask)
        vectors: Floats = net(torch.from_numpy(ids), mask_, mask_).numpy()
    return vectors


def main() -> int:
    """Answer {} or {"error": {…}} on standard output."""
    answer: dict[str, object] = {}
    try:
        convert(Request(**json.load(sys.stdin)))
    except EngineError as err:
        answer = {"error": {"message": err.message, "detail": err.detail, "hint": err.hint}}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
