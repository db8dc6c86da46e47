"""Micro-batches: which texts go through the network together, and as which matrices.

A `Layout` is what a network wants. The plain one pads like lengths to the longest of them;
the packed one (`packing`) puts several texts into a row. In both, texts are sorted by
length, the longest first (if memory runs out it does so at once), and a token budget keeps
the working set of one forward pass in the processor's caches.

Padding is always on the right, whatever side the tokenizer prefers: a causal model never
looks at what follows, an encoder masks it, and so positions count from 0 in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Inputs = tuple[npt.NDArray[Any], ...]

STEP = 16
"""Widths are multiples of this where that costs little: OpenVINO prepares again for each
new shape, which takes longer than a short text does."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`rows` are the places of the texts, in the order of the network's vectors."""

    rows: list[int]
    inputs: Inputs


class Layout(Protocol):
    """How a network wants its texts."""

    def batches(self, tokens: Sequence[Sequence[int]], budget: int, skipped: int = 0) -> Iterator[Batch]:
        """Cut `tokens` into batches of at most `budget` tokens, or of one text that is
        longer. The first `skipped` tokens of each text are not pooled."""


@dataclass(frozen=True, slots=True)
class Padded:
    """One text per row; the inputs are ids, mask, and a mask of what is pooled."""

    pad_id: int
    max_tokens: int

    def batches(self, tokens: Sequence[Sequence[int]], budget: int, skipped: int = 0) -> Iterator[Batch]:
        order = longest_first(tokens)
        start = 0
        while start < len(order):
            width = max(1, len(tokens[order[start]]))
            rows = order[start : start + max(1, budget // width)]
            start += len(rows)
            if len(rows) == 1:
                width = max(width, min(stepped(width), self.max_tokens))
            yield Batch(rows, self.inputs([tokens[row] for row in rows], width, skipped))

    def inputs(self, tokens: Sequence[Sequence[int]], width: int, skipped: int = 0) -> Inputs:
        """The three matrices. A text without tokens is one unmasked padding token."""
        ids = np.full((len(tokens), width), self.pad_id, dtype=np.int64)
        mask = np.zeros((len(tokens), width), dtype=np.int64)
        for row, of_text in enumerate(tokens):
            ids[row, : len(of_text)] = of_text
            mask[row, : max(1, len(of_text))] = 1
        if not skipped:
            return ids, mask, mask
        pooled = mask.copy()
        pooled[:, :skipped] = 0
        return ids, mask, pooled


def longest_first(tokens: Sequence[Sequence[int]]) -> list[int]:
    """The places of the texts by falling length; equal ones keep their order."""
    return sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))


def stepped(width: int) -> int:
    """`width` rounded up to a multiple of STEP."""
    return -(-width // STEP) * STEP
