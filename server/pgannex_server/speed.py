"""How fast an engine is, and how many tokens a text has: learnt while it works.

The batcher asks for a budget in tokens; the answer follows from the compute time that a
batch aims at and from what the last batches took.
"""

from __future__ import annotations

from collections.abc import Sequence

_FIRST_BUDGET = 256
_MIN_BUDGET = 64
_DECAY = 0.8
_TELLING_BYTES = 256


class Speed:
    """How fast the engine is, and how many tokens a byte of text is: both learnt as it works."""

    def __init__(self, batch_ms: float) -> None:
        self.target_s = batch_ms / 1000
        self.tokens_per_byte = 0.25
        self.max_tokens = 512
        self._cost = 0.0
        self._seconds = 0.0
        self.budget = _FIRST_BUDGET

    def cost(self, size: int) -> int:
        """The estimated tokens of a text of `size` bytes, special tokens included."""
        estimate = 2 + int(size * self.tokens_per_byte)
        return estimate if estimate < self.max_tokens else self.max_tokens

    def learn(self, cost: int, seconds: float, tokens: Sequence[int], size: int) -> None:
        """A batch of `size` bytes took `seconds`.

        Large batches weigh more: they show the engine's real pace. Where a text was cut off
        at the model's limit, nothing is learnt about tokens per byte.
        """
        self._cost = self._cost * _DECAY + cost
        self._seconds = self._seconds * _DECAY + seconds
        if self._seconds > 0:
            self.budget = max(_MIN_BUDGET, min(1 << 20, int(self.target_s * self._cost / self._seconds)))
        if size >= _TELLING_BYTES and max(tokens) < self.max_tokens:
            seen = min(2.0, max(0.02, sum(tokens) / size))
            self.tokens_per_byte += 0.1 * (seen - self.tokens_per_byte)

    def seconds_for(self, cost: int) -> float:
        """How long `cost` tokens would take, 0.1 s where nothing was measured yet."""
        return cost * self._seconds / self._cost if self._cost > 0 else 0.1
