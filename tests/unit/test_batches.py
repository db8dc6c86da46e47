"""Micro-batches hold every token of every text once, within the budget, in either layout."""

from __future__ import annotations

import random

import pytest

np = pytest.importorskip("numpy", reason="numpy is not installed: no encoder engine can be tested")

from pgannex_server.engines.encoder.batches import Padded  # noqa: E402
from pgannex_server.engines.encoder.packing import LINEAR, Packed  # noqa: E402


def texts(seed: int, count: int, longest: int) -> list[list[int]]:
    dice = random.Random(seed)
    return [[dice.randrange(5, 999) for _ in range(dice.randrange(0, longest))] for _ in range(count)]


CASES = [(0, 1, 5), (1, 16, 30), (2, 300, 12), (3, 40, 300), (4, 64, 2), (5, 700, 40)]


@pytest.mark.parametrize(("seed", "count", "longest"), CASES)
@pytest.mark.parametrize("budget", [1, 64, 1024])
def test_packed_rows_hold_each_text_once(seed: int, count: int, longest: int, budget: int) -> None:
    tokens = texts(seed, count, longest)
    seen = []
    for batch in Packed(0, 2, "mean").batches(tokens, budget):
        ids, positions, segments, weights = batch.inputs
        assert ids.size <= max(budget, -(-max(map(len, tokens)) // 16) * 16, 64)
        assert ids.shape == positions.shape == segments.shape
        assert weights.shape == (len(batch.rows), ids.size)
        for number, row in enumerate(batch.rows, start=1):
            mine = np.argwhere(segments == number)
            assert len(set(mine[:, 0])) == 1, "a text lies in one row"
            assert list(ids[segments == number]) == (tokens[row] or [0])
            assert list(positions[segments == number]) == list(range(2, 2 + len(mine)))
            assert set(np.flatnonzero(weights[number - 1])) <= set(
                np.flatnonzero(segments.reshape(-1) == number)
            )
        seen += batch.rows
    assert sorted(seen) == list(range(count))


@pytest.mark.parametrize(("seed", "count", "longest"), CASES)
@pytest.mark.parametrize("budget", [1, 64, 1024])
def test_padded_rows_hold_each_text_once(seed: int, count: int, longest: int, budget: int) -> None:
    tokens = texts(seed, count, longest)
    seen = []
    for batch in Padded(9, 512).batches(tokens, budget):
        ids, mask, pooled = batch.inputs
        assert pooled is mask
        for at, row in enumerate(batch.rows):
            assert list(ids[at][mask[at] == 1]) == (tokens[row] or [9])
        if len(batch.rows) > 1:
            assert ids.size <= budget
            assert ids.shape[1] == max(1, *(len(tokens[row]) for row in batch.rows))
        seen += batch.rows
    assert sorted(seen) == list(range(count))


def test_a_lone_text_never_outgrows_the_model() -> None:
    (batch,) = Padded(0, 50).batches([[1] * 49], 1024)
    assert batch.inputs[0].shape == (1, 50)


@pytest.mark.parametrize(
    ("pooling", "skipped", "expected"),
    [
        ("mean", 0, [0.25, 0.25, 0.25, 0.25]),
        ("mean", 2, [0, 0, 0.5, 0.5]),
        ("cls", 0, [1, 0, 0, 0]),
        ("cls", 1, [0, 1, 0, 0]),
        ("lasttoken", 2, [0, 0, 0, 1]),
        ("mean_sqrt_len_tokens", 0, [0.5, 0.5, 0.5, 0.5]),
        ("weightedmean", 0, [0.1, 0.2, 0.3, 0.4]),
        ("weightedmean", 2, [0, 0, 3 / 7, 4 / 7]),
    ],
)
def test_weights_are_the_pooling(pooling: str, skipped: int, expected: list[float]) -> None:
    (batch,) = Packed(0, 0, pooling).batches([[7, 8, 9, 10]], 1024, skipped)
    np.testing.assert_allclose(batch.inputs[3][0][:4], expected, rtol=1e-6)
    assert not batch.inputs[3][0][4:].any()


def test_short_texts_leave_little_padding() -> None:
    """What the layout is for: unlike lengths, few texts."""
    tokens = [[1] * n for n in (30, 25, 20, 14, 12, 11, 9, 8, 8, 7, 7, 6, 5, 4, 4, 3)]
    for pooling in LINEAR:
        computed = sum(batch.inputs[0].size for batch in Packed(0, 0, pooling).batches(tokens, 1024))
        assert computed <= 1.15 * sum(map(len, tokens))
