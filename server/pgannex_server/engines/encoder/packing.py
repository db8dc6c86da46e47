"""Several texts in one row, so that hardly a token of padding is computed.

A token sees the tokens of its own text only, because the mask compares segment numbers,
and positions begin anew with each text. Pooling is one matrix product: `weights` holds for
each text what each token counts. Max pooling has no such matrix, and an architecture whose
positions or masks cannot be given from outside cannot be packed: those are padded.

Small batches of unlike lengths, which is what many connections make together, gain most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from pgannex_server.engines.encoder.batches import STEP, Batch, Inputs, longest_first, stepped
from pgannex_server.engines.encoder.vectors import Floats

WIDE = 64
"""Rows are at least this wide where there is enough to fill them; attention, whose cost
grows with the width, is still small next to the rest."""
MOST_TEXTS = 256
"""In one batch, so that `weights` stays small."""
_TRY_WIDTHS = 64
"""With at most so many texts every width up to WIDE is tried."""

LINEAR = ("mean", "cls", "lasttoken", "mean_sqrt_len_tokens", "weightedmean")


@dataclass(frozen=True, slots=True)
class Packed:
    """The inputs are ids, positions, segments (0 is padding) and weights."""

    pad_id: int
    first_position: int
    pooling: str

    def batches(self, tokens: Sequence[Sequence[int]], budget: int, skipped: int = 0) -> Iterator[Batch]:
        order = longest_first(tokens)
        lengths = [max(1, len(tokens[row])) for row in order]
        start = 0
        while start < len(order):
            width, places = _best(lengths[start : start + MOST_TEXTS], budget)
            rows = order[start : start + len(places)]
            start += len(rows)
            yield Batch(rows, self.inputs([tokens[row] for row in rows], width, places, skipped))

    def inputs(
        self, tokens: Sequence[Sequence[int]], width: int, places: Sequence[int], skipped: int
    ) -> Inputs:
        """The matrices for texts whose first tokens lie at `places` of the flattened rows."""
        texts = [of_text or (self.pad_id,) for of_text in tokens]
        lengths = np.array([len(of_text) for of_text in texts])
        shape = (1 + max(places) // width, width)
        own = np.repeat(np.arange(len(texts)), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        at = np.repeat(np.asarray(places), lengths) + within
        ids = np.full(shape, self.pad_id, dtype=np.int64)
        positions = np.full(shape, self.first_position, dtype=np.int64)
        segments = np.zeros(shape, dtype=np.int64)
        weights = np.zeros((len(texts), ids.size), dtype=np.float32)
        ids.reshape(-1)[at] = np.fromiter(chain.from_iterable(texts), np.int64, len(at))
        positions.reshape(-1)[at] = within + self.first_position
        segments.reshape(-1)[at] = own + 1
        weights[own, at] = _counts(self.pooling, within, lengths[own], skipped)
        return ids, positions, segments, weights


def _counts(pooling: str, within: np.ndarray, length: np.ndarray, skipped: int) -> Floats:
    """What each token counts in its text's vector."""
    first = np.minimum(skipped, length - 1) if pooling == "cls" else skipped
    pooled = within >= first
    number = np.maximum(length - skipped, 1).astype(np.float32)
    if pooling == "cls":
        return np.asarray(within == first, dtype=np.float32)
    if pooling == "lasttoken":
        return np.asarray(within == length - 1, dtype=np.float32)
    if pooling == "mean":
        return np.asarray(pooled / number, dtype=np.float32)
    if pooling == "mean_sqrt_len_tokens":
        return np.asarray(pooled / np.sqrt(number), dtype=np.float32)
    total = (length * (length + 1) - skipped * (skipped + 1)) / 2  # weightedmean: 1, 2, 3, …
    return np.asarray(pooled * (within + 1) / np.maximum(total, 1), dtype=np.float32)


def _best(lengths: Sequence[int], budget: int) -> tuple[int, list[int]]:
    """(width, places) for the first of `lengths`: as many as fit into the budget."""
    narrowest = stepped(lengths[0])
    if len(lengths) > _TRY_WIDTHS or narrowest >= WIDE:
        width = max(WIDE, narrowest)
        return width, _fill(lengths, width, budget)
    tried = [(width, _fill(lengths, width, budget)) for width in range(narrowest, WIDE + 1, STEP)]
    return min(tried, key=lambda t: (-len(t[1]), (1 + max(t[1]) // t[0]) * t[0]))


def _fill(lengths: Sequence[int], width: int, budget: int) -> list[int]:
    """First fit: each text into the first row with room, until one finds none."""
    rows = max(1, budget // width)
    used: list[int] = []
    first_open = 0
    places = []
    for length in lengths:
        row = first_open
        while row < len(used) and used[row] + length > width:
            row += 1
        if row == len(used):
            if row == rows:
                break
            used.append(0)
        places.append(row * width + used[row])
        used[row] += length
        while first_open < len(used) and width - used[first_open] < 2:
            first_open += 1
    return places
