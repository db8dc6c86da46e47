"""Which rows are held out, and which folds the others fall into."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pgannex_server.tabular import sampling
from pgannex_server.tabular.spec import TrainSpec
from pgannex_wire import WireError
from tabular_rows import Array, spec_of

COLUMNS = {"x": np.empty(1), "y": np.empty(1)}


def spec(task: str = "classification", **more: Any) -> TrainSpec:
    return spec_of(COLUMNS, ["y"], task, **more)


def held_out(label: Array | None, nrows: int = 100, task: str = "classification", **more: Any) -> list[int]:
    return np.flatnonzero(sampling.split(spec(task, **more), nrows, label).test).tolist()


def test_first_and_last_take_rows_as_they_came() -> None:
    assert held_out(None, 8, test_sampling="last") == [6, 7]
    assert held_out(None, 8, test_sampling="first") == [0, 1]


@pytest.mark.parametrize(("size", "rows"), [(0.25, 25), (0.5, 50), (2, 2), (30, 30), (0.001, 1), (0.254, 25)])
def test_a_size_up_to_one_is_a_fraction(size: float, rows: int) -> None:
    for how in ("first", "last", "random", "stratified"):
        assert len(held_out(np.arange(100) % 3, test_size=size, test_sampling=how)) == rows


@pytest.mark.parametrize("size", [1, 1.0, 100, 1e9])
def test_a_size_that_leaves_nothing_to_learn_from_is_refused(size: float) -> None:
    with pytest.raises(WireError, match=r"is too large\. There are only 100 samples\."):
        held_out(None, test_size=size)


def test_stratified_is_by_the_label() -> None:
    label = np.array([0] * 60 + [1] * 32 + [2] * 8)
    found = np.array(held_out(label))
    assert np.bincount(label[found]).tolist() == [15, 8, 2]


def test_a_row_that_is_alone_in_its_class_stays_in_training() -> None:
    label = np.array([0] * 50 + [1] * 49 + [2])
    for seed in range(20):
        assert 99 not in held_out(label, seed=seed)


def test_stratified_numbers_are_spread_evenly() -> None:
    label = np.random.default_rng(0).permutation(100).astype(float)
    found = held_out(label, task="regression")
    assert set(np.histogram(label[found], bins=5, range=(0, 100))[0].tolist()) <= {4, 5, 6}


@pytest.mark.parametrize("how", ["random", "stratified"])
def test_the_same_seed_gives_the_same_rows(how: str) -> None:
    label = np.arange(100) % 4
    assert held_out(label, test_sampling=how) == held_out(label, test_sampling=how)
    assert held_out(label, test_sampling=how) != held_out(label, test_sampling=how, seed=7)


@pytest.mark.parametrize("how", ["random", "stratified", "last", "first"])
def test_folds_score_every_row_once(how: str) -> None:
    label = np.arange(47) % 3
    scored = []
    for train, test in sampling.folds(spec(test_sampling=how), 5, label, 47):
        assert not set(train.tolist()) & set(test.tolist())
        assert len(train) + len(test) == 47
        assert len(test) in (9, 10)
        scored += test.tolist()
        if how == "stratified":
            assert np.bincount(label[test], minlength=3).min() >= 2
    assert sorted(scored) == list(range(47))


def test_folds_of_rows_as_they_came_are_contiguous() -> None:
    for _train, test in sampling.folds(spec(test_sampling="last"), 4, None, 40):
        assert test.tolist() == list(range(test[0], test[0] + 10))


def test_more_folds_than_rows_are_refused() -> None:
    with pytest.raises(WireError, match="There are only 3 training samples"):
        list(sampling.folds(spec(), 5, None, 3))


def test_one_row_is_refused() -> None:
    with pytest.raises(WireError, match="there is only 1 row"):
        held_out(None, 1)
