"""The engine that serves every encoder: torch and transformers, on a CPU or on CUDA.

float32 or bfloat16 is decided at load: on a CPU bfloat16 where a measurement says that it
is faster and a comparison says that this model's vectors stay the same; on CUDA bfloat16
where the card has it. `dtype = "float32"` gives full float32. OpenVINO is faster on a CPU
for one text; this engine needs no conversion.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import ClassVar

import numpy as np

from pgannex_server.engines import cache, probe
from pgannex_server.engines.base import EmbedOptions, EngineError, ModelInfo, ModelSpec
from pgannex_server.engines.encoder import recipe, tokens
from pgannex_server.engines.encoder.base import CPU_BUDGET, CUDA_BUDGET, EncoderEngine, Loaded, budget_of
from pgannex_server.engines.encoder.batches import Inputs, Padded
from pgannex_server.engines.encoder.samples import SAMPLES, TRUSTED_COSINE, least_cosine
from pgannex_server.engines.encoder.vectors import Floats

if "OMP_WAIT_POLICY" not in os.environ:
    # Read when libgomp is loaded, so before torch. Its own 300,000 turns, some milliseconds, are
    # spun at every barrier while the other thread waits for the processor (docs/decisions/0023).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import torch

from pgannex_server.engines.encoder import network
from pgannex_server.engines.encoder.network import Network

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
COMPARED_AT_MOST = 2_000_000_000
"""Weights, counted: a larger model is not run in float32 for a comparison."""


class TorchEngine(EncoderEngine):
    """A transformers encoder with its own pooling and heads."""

    name: ClassVar[str] = "torch"
    requires: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    def load(self, spec: ModelSpec) -> ModelInfo:
        threads = spec.threads or probe.cores()
        torch.set_num_threads(threads)
        self.device = device_of(spec)
        self.recipe = recipe.read(Path(spec.source))
        config = network.configuration(self.recipe, spec.trust_remote_code)
        text_ids = tokens.load(self.recipe, config, spec.trust_remote_code)
        self.network = self._network(spec, config, text_ids, threads)
        layout = network.layout_of(self.recipe, config, text_ids.facts)
        self.serving = network.fitting(self.network, layout)
        budget = CUDA_BUDGET if self.device.type == "cuda" else CPU_BUDGET
        dimensions = network.dimensions(self.network)
        self.loaded = Loaded(self.recipe, text_ids, layout, dimensions, budget_of(spec, budget))
        self.embed(SAMPLES, EmbedOptions())
        return self._info()

    def forward(self, inputs: Inputs) -> Floats:
        with torch.inference_mode():
            tensors = [torch.from_numpy(matrix).to(self.device) for matrix in inputs]
            vectors: Floats = self.serving(*tensors).cpu().numpy()
        return vectors

    def close(self) -> None:
        del self.network, self.serving
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _network(self, spec: ModelSpec, config: object, text_ids: tokens.Tokens, threads: int) -> Network:
        """The network in the precision that was asked for, or that is best."""
        dtype = self._wanted(spec, threads)
        made = network.build(self.recipe, config, dtype, spec.trust_remote_code)
        if spec.dtype != "auto" or dtype is torch.float32 or self.device.type == "cuda":
            return self._placed(made)
        if sum(p.numel() for p in made.parameters()) > COMPARED_AT_MOST:
            return made
        full = network.build(self.recipe, config, torch.float32, spec.trust_remote_code)
        close = least_cosine(sample_vectors(made, text_ids), sample_vectors(full, text_ids))
        if close >= TRUSTED_COSINE:
            return made
        log.warning("%s drifts to cosine %.4f with %s: float32 is used", dtype, close, spec.name)
        return full

    def _wanted(self, spec: ModelSpec, threads: int) -> torch.dtype:
        if spec.dtype != "auto":
            if spec.dtype not in DTYPES:
                raise recipe.refusal(
                    f'dtype "{spec.dtype}" is unknown', hint=f"known: auto, {', '.join(DTYPES)}"
                )
            return DTYPES[spec.dtype]
        if self.device.type == "cuda":
            has = torch.cuda.get_device_capability(self.device) >= (8, 0)
            return torch.bfloat16 if has else torch.float16
        return torch.bfloat16 if probe.torch_bfloat16_pays(threads, cache.folder(spec)) else torch.float32

    def _placed(self, net: Network) -> Network:
        try:
            return net.to(self.device)
        except torch.cuda.OutOfMemoryError as err:
            raise EngineError("out_of_memory", f"the model does not fit on {self.device}: {err}") from err

    def _info(self) -> ModelInfo:
        loaded = self.loaded
        return ModelInfo(
            engine=self.name,
            device=str(self.device),
            dtype=str(next(self.network.body.parameters()).dtype).removeprefix("torch."),
            dimensions=min(loaded.recipe.truncate or loaded.dimensions, loaded.dimensions),
            max_tokens=loaded.tokens.facts.max_tokens,
            memory_bytes=network.size(self.network),
            pooling=" + ".join(loaded.recipe.pooling),
            prompts=tuple(loaded.recipe.prompts),
        )


def device_of(spec: ModelSpec) -> torch.device:
    """The device that `spec` means. Raises EngineError(load_failed) for one that is not there."""
    wanted = spec.device
    if wanted == "auto":
        return torch.device("cuda" if probe.has_cuda_driver() and torch.cuda.is_available() else "cpu")
    if wanted.startswith("cuda"):
        number = (
            int(wanted.partition(":")[2] or 0) if wanted[4:].strip(":").isdigit() or wanted == "cuda" else -1
        )
        if not torch.cuda.is_available() or not 0 <= number < torch.cuda.device_count():
            raise recipe.refusal(
                f'device "{wanted}" is not there',
                hint="ask for cpu or auto, or install a torch built for CUDA and the NVIDIA driver",
            )
        return torch.device("cuda", number)
    if wanted != "cpu":
        raise recipe.refusal(f'device "{wanted}" is unknown', hint="known: auto, cpu, cuda, cuda:N")
    return torch.device("cpu")


def sample_vectors(net: Network, text_ids: tokens.Tokens) -> Floats:
    """The vectors of the samples, unnormalised."""
    found, facts = text_ids.of(SAMPLES), text_ids.facts
    inputs = Padded(facts.pad_id, facts.max_tokens).inputs(found, max(map(len, found)))
    with torch.inference_mode():
        return np.asarray(net(*map(torch.from_numpy, inputs)).numpy(), dtype=np.float32)
