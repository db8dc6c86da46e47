"""The fastest engine for encoders on a CPU: OpenVINO, without torch in the process.

A model is converted once, in a process of its own (`encoder.convert`), and kept; from then
on a worker starts in well under a second. Pooling and heads are inside the graph, both its
dimensions are open. bfloat16 is used where this processor has it, where it was measured to
be faster, and where this model's vectors stay the same; `dtype = "float32"` gives full
float32. Models that do not convert are served by the torch engine.
"""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import openvino as ov

from pgannex_server.engines import cache, probe
from pgannex_server.engines.base import EmbedOptions, ModelInfo, ModelSpec
from pgannex_server.engines.encoder import graphs, recipe, tokens
from pgannex_server.engines.encoder.base import CPU_BUDGET, EncoderEngine, Loaded, budget_of
from pgannex_server.engines.encoder.batches import Inputs, Layout, Padded
from pgannex_server.engines.encoder.packing import Packed
from pgannex_server.engines.encoder.samples import SAMPLES, TRUSTED_COSINE, least_cosine
from pgannex_server.engines.encoder.vectors import Floats

log = logging.getLogger(__name__)

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoEngine(EncoderEngine):
    """A converted encoder."""

    name: ClassVar[str] = "openvino"
    requires: ClassVar[tuple[str, ...]] = ("openvino", "torch", "transformers")

    def load(self, spec: ModelSpec) -> ModelInfo:
        if spec.device not in ("auto", "cpu"):
            raise recipe.refusal(
                f'engine "openvino" does not serve device "{spec.device}"', hint="ask for cpu"
            )
        if spec.dtype not in ("auto", *PRECISIONS):
            raise recipe.refusal(
                f'engine "openvino" does not compute in dtype "{spec.dtype}"',
                hint=f"known: auto, {', '.join(PRECISIONS)}",
            )
        recipe.read(Path(spec.source))  # what is wrong with the files is said before a conversion
        kept = cache.folder(spec)
        if kept is not None:
            return self._load(spec, graphs.graph_folder(spec, kept), kept)
        with tempfile.TemporaryDirectory(prefix="pgannex-") as passing:
            return self._load(spec, graphs.graph_folder(spec, Path(passing)), None)

    def forward(self, inputs: Inputs) -> Floats:
        self.request.infer(list(inputs), share_inputs=True, share_outputs=True)
        vectors: Floats = self.request.get_output_tensor(0).data
        return vectors

    def close(self) -> None:
        del self.request

    def _load(self, spec: ModelSpec, folder: Path, kept: Path | None) -> ModelInfo:
        facts, own = graphs.facts(folder), recipe.read(Path(spec.source))
        text_ids = tokens.restore(folder)
        self.core = ov.Core()
        graph = self.core.read_model(str(folder / "model.xml"))
        layout = _layout(facts, own, text_ids.facts)
        self.loaded = Loaded(own, text_ids, layout, facts.dimensions, budget_of(spec, CPU_BUDGET))
        threads = spec.threads or probe.cores()
        dtype = self._choose(spec, graph, threads, folder if kept else None)
        self.request = self._request(graph, dtype, threads)
        self.embed(SAMPLES, EmbedOptions())
        return ModelInfo(
            engine=self.name,
            device="cpu",
            dtype=dtype,
            dimensions=min(own.truncate or facts.dimensions, facts.dimensions),
            max_tokens=text_ids.facts.max_tokens,
            memory_bytes=facts.weight_bytes * (3 if dtype == "bfloat16" else 2) // 2,
            pooling=" + ".join(own.pooling),
            prompts=tuple(own.prompts),
        )

    def _request(self, graph: Any, dtype: str, threads: int) -> Any:
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        return self.core.compile_model(graph, "CPU", settings).create_infer_request()

    def _choose(self, spec: ModelSpec, graph: Any, threads: int, folder: Path | None) -> str:
        """The precision to serve in; what was measured is kept beside the graph."""
        if spec.dtype != "auto":
            return spec.dtype
        if "BF16" not in self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return "float32"
        key = f"{probe.processor().name} | {threads} threads"
        gain = probe.remembered(folder, key, lambda: self._gain(graph, threads))
        return "bfloat16" if gain >= probe.PAYS else "float32"

    def _gain(self, graph: Any, threads: int) -> float:
        """Time in float32 over time in bfloat16; 0 if this model's vectors drift in it."""
        found = self.loaded.tokens.of(SAMPLES)
        inputs = list(next(self.loaded.layout.batches(found, CPU_BUDGET)).inputs)
        took, results = [], []
        for dtype in ("float32", "bfloat16"):
            request = self._request(graph, dtype, threads)
            request.infer(inputs)
            results.append(np.array(request.get_output_tensor(0).data))
            took.append(min(_seconds(request, inputs) for _ in range(5)))
        close = least_cosine(*results)
        if close < TRUSTED_COSINE:
            log.warning("bfloat16 drifts to cosine %.4f: float32 is used", close)
            return 0.0
        return took[0] / took[1]


def _layout(facts: graphs.Facts, own: recipe.Recipe, of_tokens: tokens.TokenFacts) -> Layout:
    """What the graph takes."""
    if facts.packed_from is None:
        return Padded(of_tokens.pad_id, of_tokens.max_tokens)
    return Packed(of_tokens.pad_id, facts.packed_from, own.pooling[0])


def _seconds(request: Any, inputs: list[Any]) -> float:
    start = time.perf_counter()
    request.infer(inputs)
    return time.perf_counter() - start
