"""Micro-batches: texts of like length together, padded to the longest of them only.

Sorting by length wastes little on padding; the token budget keeps the working set of one
forward pass in the processor's caches. Padding is always on the right, whatever side the
tokenizer prefers: a causal model never looks at what follows, an encoder masks it, and so
positions count from 0 in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """`rows` are the places of the texts; `ids` and `mask` are rows × longest."""

    rows: list[int]
    ids: Ids
    mask: Ids


def micro_batches(tokens: Sequence[Sequence[int]], budget: int, pad_id: int) -> Iterator[MicroBatch]:
    """Cut `tokens`, longest first, into batches of at most `budget` tokens with padding.

    Longest first: if memory runs out it does so at once, and buffers never grow again.
    One text that is longer than the budget is a batch of its own.
    """
    order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))
    start = 0
    while start < len(order):
        width = max(1, len(tokens[order[start]]))
        rows = order[start : start + max(1, budget // width)]
        start += len(rows)
        yield MicroBatch(rows, *padded([tokens[row] for row in rows], width, pad_id))


def padded(tokens: Sequence[Sequence[int]], width: int, pad_id: int) -> tuple[Ids, Ids]:
    """(ids, mask) as two matrices. A text without tokens is one unmasked padding token."""
    ids = np.full((len(tokens), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(tokens), width), dtype=np.int64)
    for row, of_text in enumerate(tokens):
        ids[row, : len(of_text)] = of_text
        mask[row, : max(1, len(of_text))] = 1
    return ids, mask
