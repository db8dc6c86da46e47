"""The grid that features arrive in: it grows, and is divided in place."""

from __future__ import annotations

import numpy as np
import pytest
from pgannex_server.tabular.grid import Grid


def filled(nrows: int, width: int, dtype: str, batch: int) -> tuple[Grid, np.ndarray]:
    expected = np.arange(nrows * width, dtype=dtype).reshape(nrows, width)
    grid = Grid(width, dtype)
    for at in range(0, nrows, batch):
        part = expected[at : at + batch]
        grid.room(len(part))[:] = part
    return grid, expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_stay_while_it_grows(dtype: str) -> None:
    grid, expected = filled(300_000, 5, dtype, 7001)
    np.testing.assert_array_equal(grid.rows(), expected)
    assert grid.rows().dtype == dtype


@pytest.mark.parametrize(
    "test",
    [
        np.arange(200_000) >= 150_000,
        np.arange(200_000) < 50_000,
        np.arange(200_000) % 4 == 1,
        np.random.default_rng(0).random(200_000) < 0.3,
        np.arange(200_000) % 2 == 0,
    ],
    ids=["last", "first", "every fourth", "random", "half"],
)
def test_both_sides_keep_the_order_of_the_rows(test: np.ndarray) -> None:
    grid, expected = filled(200_000, 7, "float32", 6000)
    grid.divide(test)
    np.testing.assert_array_equal(grid.train, expected[~test])
    np.testing.assert_array_equal(grid.test, expected[test])
    assert grid.train.flags.c_contiguous


def test_one_row_on_either_side() -> None:
    grid, _expected = filled(2, 1, "float64", 2)
    grid.divide(np.array([True, False]))
    assert (grid.train.tolist(), grid.test.tolist()) == ([[1.0]], [[0.0]])
