"""An encoder engine but for its forward pass: texts in, finished vectors out.

Checks the options of a call, resolves the prompt, tokenizes, cuts micro-batches, calls
`forward` on each and puts the rows back in order. An engine adds `load` and `forward`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pgannex_server.engines.base import EmbedOptions, EmbedResult, Engine, EngineError, ModelSpec
from pgannex_server.engines.encoder.batches import Inputs, Layout
from pgannex_server.engines.encoder.recipe import Recipe
from pgannex_server.engines.encoder.tokens import Tokens
from pgannex_server.engines.encoder.vectors import Floats, finish

CPU_BUDGET = 1024
"""Tokens of a micro-batch on a CPU: larger ones leave the caches and were slower."""
CUDA_BUDGET = 16384
TAKEN = ("prompt", "prompt_name", "normalize", "dimensions")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loaded encoder serves with. `dimensions` is the length before truncation."""

    recipe: Recipe
    tokens: Tokens
    layout: Layout
    dimensions: int
    budget: int


class EncoderEngine(Engine):
    """One encoder model; `loaded` is set by `load`."""

    loaded: Loaded

    @abstractmethod
    def forward(self, inputs: Inputs) -> Floats:
        """One vector per text of a batch before the last normalisation, float32."""

    def embed(self, texts: Sequence[str], options: EmbedOptions) -> EmbedResult:
        prompt, dimensions, normalize = self._checked(options)
        ids = self.loaded.tokens.of([prompt + text for text in texts] if prompt else texts)
        vectors = self._vectors(ids, prompt, dimensions, normalize)
        return EmbedResult(vectors.tobytes(), dimensions, [len(of_text) for of_text in ids])

    def _vectors(self, ids: list[list[int]], prompt: str, dimensions: int, normalize: bool) -> Floats:
        loaded = self.loaded
        skipped = loaded.tokens.of_prompt(prompt) if prompt and not loaded.recipe.include_prompt else 0
        out = np.empty((len(ids), dimensions), dtype="<f4")
        for batch in loaded.layout.batches(ids, loaded.budget, skipped):
            out[batch.rows] = finish(self.forward(batch.inputs), dimensions, normalize)
        return out

    def _checked(self, options: EmbedOptions) -> tuple[str, int, bool]:
        """(prompt, dimensions, normalize) of a call. Raises EngineError(bad_argument)."""
        recipe, most = self.loaded.recipe, self.loaded.dimensions
        if options.extra:
            raise EngineError(
                "bad_argument",
                f'embed takes no option "{options.extra[0][0]}"',
                hint=f"it takes {', '.join(TAKEN)}",
            )
        if options.dimensions is not None and not 1 <= options.dimensions <= most:
            raise EngineError(
                "bad_argument",
                f"dimensions = {options.dimensions} is not possible",
                hint=f"this model's vectors have {most} dimensions",
            )
        dimensions = options.dimensions or min(recipe.truncate or most, most)
        normalize = recipe.normalize if options.normalize is None else options.normalize
        return self._prompt(options), dimensions, normalize

    def _prompt(self, options: EmbedOptions) -> str:
        recipe = self.loaded.recipe
        if options.prompt is not None:
            return options.prompt
        name = options.prompt_name if options.prompt_name is not None else recipe.default_prompt
        if not name:
            return ""
        if name not in recipe.prompts:
            known = ", ".join(recipe.prompts) or "none"
            raise EngineError(
                "bad_argument", f'the model has no prompt "{name}"', hint=f"its prompts: {known}"
            )
        return recipe.prompts[name]


def budget_of(spec: ModelSpec, default: int) -> int:
    """`batch_tokens` of the model's options, else `default`."""
    given = spec.options.get("batch_tokens")
    if given is None:
        return default
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise EngineError("load_failed", f"batch_tokens = {given!r} is not a positive whole number")
    return given
