"""Which rows are held out, and which folds the others fall into: `split`, `folds`.

`last` and `first` take rows as they came. `random` draws them; `stratified` draws from each
class, or from each twentieth of a label that is a number, so that both sides are alike. Rows
keep their order on both sides. The same seed and rows give the same split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError

from pgannex_server.tabular.cells import Array, Mask
from pgannex_server.tabular.spec import TrainSpec

Rows = NDArray[np.intp]
_STRATA = 20
_MOST_CLASSES = 0.5


@dataclass(frozen=True, slots=True)
class Split:
    """`test`: True where a row is held out."""

    test: Mask

    @property
    def train_rows(self) -> int:
        return len(self.test) - self.test_rows

    @property
    def test_rows(self) -> int:
        return int(np.count_nonzero(self.test))


def split(spec: TrainSpec, nrows: int, label: Array | None) -> Split:
    """`label`: the first label's values or codes, of all rows. Raises WireError(bad_argument)."""
    wanted = _wanted(spec.test_size, nrows)
    test = np.zeros(nrows, dtype=bool)
    if spec.test_sampling == "last":
        test[nrows - wanted :] = True
    elif spec.test_sampling == "first":
        test[:wanted] = True
    else:
        random = np.random.default_rng(spec.seed)
        if spec.test_sampling == "random" or label is None:
            test[random.permutation(nrows)[:wanted]] = True
        else:
            test[_stratified(strata(label, spec.task == "classification"), wanted, random)] = True
    return Split(test)


def _wanted(test_size: float, nrows: int) -> int:
    wanted = round(nrows * test_size) if test_size <= 1 else round(test_size)
    if wanted >= nrows:
        raise WireError(
            "bad_argument",
            f"test_size = {test_size:g} is too large. There are only {nrows} samples.",
            hint="test_size is a fraction up to 1, or a number of rows; rows to learn from must be left",
        )
    if nrows < 2:
        raise WireError(
            "bad_argument",
            "there is only 1 row",
            hint="one to learn from and one to measure it on are needed",
        )
    return max(1, wanted)


def strata(label: Array, is_class: bool) -> Array:
    """A small whole number per row: its class, or which twentieth of the label it is in."""
    if is_class:
        return _small(np.unique(label, return_inverse=True)[1])
    at = np.unique(np.arange(1, _STRATA) * len(label) // _STRATA)
    edges = np.unique(np.partition(label, at)[at])
    return _small(np.searchsorted(edges, label, side="right"))


def _small(group: Array) -> Array:
    """In 16 bits where they do: those are sorted in a pass."""
    return group.astype(np.int16) if len(group) and group.max() < 1 << 15 else group


def _stratified(group: Array, wanted: int, random: np.random.Generator) -> Rows:
    """Rows drawn so that each group gives its share; a row that is alone in its group stays.

    In each group rows are put in a random order and given places 1/2n, 3/2n, …; those with the
    lowest places of all are drawn, ties in a random order.
    """
    shuffled = random.permutation(len(group))
    order = shuffled[np.argsort(group[shuffled], kind="stable")]
    counts = np.bincount(group)
    counts = counts[counts > 0]
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    size = np.repeat(counts, counts)
    places = (np.arange(len(order)) - starts + 0.5) / size
    places[size == 1] = 2.0
    places += random.random(len(order)) * 1e-9
    return order[np.argpartition(places, wanted - 1)[:wanted]]


def folds(spec: TrainSpec, count: int, label: Array | None, nrows: int) -> Iterator[tuple[Rows, Rows]]:
    """(training rows, rows to score) of each fold, in the order of the training rows.

    Contiguous where the test rows are the last or first; else drawn as the test rows were.
    """
    everyone = np.arange(nrows)
    if count > nrows:
        raise WireError(
            "bad_argument",
            f"search_args cv is {count}. There are only {nrows} training samples.",
            hint='fewer folds, such as {"cv": 2}',
        )
    order = everyone
    if spec.test_sampling in ("random", "stratified"):
        random = np.random.default_rng(spec.seed)
        order = random.permutation(nrows)
        if spec.test_sampling == "stratified" and label is not None:
            group = strata(label, spec.task == "classification")
            order = order[np.argsort(group[order], kind="stable")]
            fold = np.empty(nrows, dtype=np.int64)
            fold[order] = everyone % count
            for at in range(count):
                yield np.flatnonzero(fold != at), np.flatnonzero(fold == at)
            return
    for part in np.array_split(order, count):
        scored = np.sort(part)
        yield np.delete(everyone, scored), scored
