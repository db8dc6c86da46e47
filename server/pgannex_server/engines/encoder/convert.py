"""Turn an encoder into an OpenVINO graph, in a process of its own.

`python -m pgannex_server.engines.encoder.convert` reads a request as JSON from standard
input, writes the graph (pooling and heads inside), the tokenizer and a few facts into a
folder, and answers with JSON. A process of its own, because torch and transformers take
hundreds of megabytes that a worker should not keep for its whole life.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from torch import nn

from pgannex_server.engines.base import EngineError
from pgannex_server.engines.encoder import network, recipe, tokens
from pgannex_server.engines.encoder.batches import Inputs, Padded
from pgannex_server.engines.encoder.network import Network
from pgannex_server.engines.encoder.packing import Packed
from pgannex_server.engines.encoder.recipe import refusal
from pgannex_server.engines.encoder.samples import SAMPLES, least_cosine
from pgannex_server.engines.encoder.vectors import Floats

SAME = 0.9999
"""The graph in float32 must agree with torch in float32 to this cosine."""
_PR_SET_PDEATHSIG = 1
_CONVERTING = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError, NotImplementedError)
"""What a trace of foreign code, or OpenVINO's frontend, raises when it cannot go on."""


@dataclass(frozen=True, slots=True)
class Request:
    """`target` is an existing empty folder."""

    source: str
    target: str
    trust_remote_code: bool


def convert(request: Request) -> None:
    """Write graph, tokenizer and facts. Raises EngineError(load_failed)."""
    target, wanted = Path(request.target), recipe.read(Path(request.source))
    config = network.configuration(wanted, request.trust_remote_code)
    text_ids = tokens.load(wanted, config, request.trust_remote_code)
    net = network.build(wanted, config, torch.float32, request.trust_remote_code)
    if not tokens.save(text_ids, target):
        raise refusal("the tokenizer of this model is written in Python", hint='use engine = "torch"')
    layout = network.layout_of(wanted, config, text_ids.facts)
    try:
        graph = _graph(network.fitting(net, layout), isinstance(layout, Packed))
        _compare(graph, layout, net, text_ids)
    except _CONVERTING as err:
        raise refusal(
            f"OpenVINO cannot convert {request.source}: {err}", hint='use engine = "torch"'
        ) from err
    ov.save_model(graph, str(target / "model.xml"), compress_to_fp16=False)
    facts = {
        "dimensions": network.dimensions(net),
        "weight_bytes": network.size(net),
        "packed_from": layout.first_position if isinstance(layout, Packed) else None,
    }
    (target / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _graph(module: nn.Module, is_packed: bool) -> Any:
    """The traced network with all dimensions of its inputs left open."""
    ids = torch.ones((2, 9), dtype=torch.int64)
    part = torch.ones((2, 9), dtype=torch.int64)
    part[1, 6:] = 0
    example = (ids, ids.clone(), part, torch.rand((3, 18))) if is_packed else (ids, part, part.clone())
    names = (
        ("input_ids", "position_ids", "segments", "weights")
        if is_packed
        else ("input_ids", "attention_mask", "pooled")
    )
    shapes = [(name, [-1, -1], ov.Type.f32 if name == "weights" else ov.Type.i64) for name in names]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # every tracer warning; `_compare` finds what it cost
        return ov.convert_model(module, example_input=example, input=shapes)


def _compare(graph: Any, layout: Padded | Packed, net: Network, text_ids: tokens.Tokens) -> None:
    """A trace can freeze a branch that depends on shapes: run other shapes and compare."""
    compiled = ov.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    padded = Padded(text_ids.facts.pad_id, text_ids.facts.max_tokens)
    for texts in (SAMPLES, SAMPLES[:1], SAMPLES[2:]):
        for batch in layout.batches(text_ids.of(texts), 64):
            found = text_ids.of([texts[row] for row in batch.rows])
            truth = _vectors(net, padded.inputs(found, max(map(len, found))))
            close = least_cosine(np.asarray(compiled(list(batch.inputs))[0]), truth)
            if close < SAME:
                raise ValueError(f"its vectors differ from torch's, cosine {close:.5f}")


def _vectors(net: Network, inputs: Inputs) -> Floats:
    with torch.inference_mode():
        vectors: Floats = net(*map(torch.from_numpy, inputs)).numpy()
    return vectors


def main() -> int:
    """Answer {} or {"error": {…}} on standard output. Ends with the worker that asked."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answer: dict[str, object] = {}
    try:
        convert(Request(**json.load(sys.stdin)))
    except EngineError as err:
        answer = {"error": {"message": err.message, "detail": err.detail, "hint": err.hint}}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
