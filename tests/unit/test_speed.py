"""What the batcher learns about an engine."""

from __future__ import annotations

import pytest
from pgannex_server.speed import Speed


def test_the_budget_follows_the_engine() -> None:
    speed = Speed(50)
    for _ in range(30):
        speed.learn(1000, 0.1, [250] * 4, 4000)
    assert speed.budget == pytest.approx(500, rel=0.01)
    for _ in range(30):
        speed.learn(1000, 0.01, [250] * 4, 4000)
    assert speed.budget == pytest.approx(5000, rel=0.05)


def test_single_texts_do_not_make_the_engine_look_slow() -> None:
    speed = Speed(50)
    for _ in range(50):
        speed.learn(1000, 0.05, [20] * 50, 4000)
        speed.learn(20, 0.006, [20], 80)
    assert speed.budget > 850


def test_tokens_per_byte_are_learnt_from_texts_that_were_not_cut_off() -> None:
    speed = Speed(50)
    for _ in range(100):
        speed.learn(1000, 0.05, [100, 100], 400)
    assert speed.tokens_per_byte == pytest.approx(0.5, rel=0.01)
    assert speed.cost(100) == 51
    speed.learn(512, 0.05, [512], 1_000_000)
    assert speed.cost(100) == 51
    assert speed.cost(1_000_000) == speed.max_tokens == 512


def test_an_estimate_of_the_wait() -> None:
    speed = Speed(50)
    assert speed.seconds_for(1000) == 0.1
    speed.learn(1000, 0.5, [1], 1)
    assert speed.seconds_for(2000) == pytest.approx(1.0)
