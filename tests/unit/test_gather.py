"""Callers who come back at once are waited for; a lone one, bulk work and strangers are not."""

from __future__ import annotations

import pytest
from fake_engine import Bench
from pgannex_server.batching import BULK, INTERACTIVE
from pgannex_server.gather import Gather

LONG = b"x" * 800
"""Costs the fake engine about 10 ms, so that a hold of 3 ms is worth while."""


def crowd(bench: Bench, count: int) -> None:
    """`count` callers in a loop: one is answered, comes back, and then all are answered together."""
    bench.up()
    for _ in range(count):
        bench.submit(bench.join(INTERACTIVE), LONG)
    bench.engines[0].finish()
    bench.submit(bench.join(INTERACTIVE), LONG)
    assert len(bench.engines[0].taken[-1].items) == count
    bench.timers.clear()
    bench.engines[0].finish()


def test_a_full_batch_leaves_as_soon_as_the_callers_are_back() -> None:
    bench = Bench()
    crowd(bench, 4)
    batches = len(bench.engines[0].taken)
    for _ in range(3):
        bench.submit(bench.join(INTERACTIVE), LONG)
    assert len(bench.engines[0].taken) == batches, "the engine should wait for the fourth"
    bench.submit(bench.join(INTERACTIVE), LONG)
    assert len(bench.engines[0].taken[-1].items) == 4


def test_the_wait_ends_with_whoever_has_come() -> None:
    bench = Bench()
    crowd(bench, 4)
    bench.submit(bench.join(INTERACTIVE), LONG)
    seconds, end = bench.timers.pop()
    assert seconds <= 0.003
    end()
    assert len(bench.engines[0].taken[-1].items) == 1


def test_an_engine_that_goes_away_while_it_waits_gets_nothing() -> None:
    bench = Bench()
    crowd(bench, 4)
    taken = len(bench.engines[0].taken)
    bench.queue.gone(bench.engines[0])
    bench.submit(bench.join(INTERACTIVE), LONG)
    bench.timers.pop()[1]()
    assert len(bench.engines[0].taken) == taken
    bench.queue.free(bench.engines[0])
    assert len(bench.engines[0].taken[-1].items) == 1


def test_nobody_waits_after_a_lone_caller_or_a_bulk_batch() -> None:
    for lane in (INTERACTIVE, BULK):
        bench = Bench()
        bench.up()
        bench.submit(bench.join(lane), LONG)
        bench.engines[0].finish()
        assert not bench.timers
        bench.submit(bench.join(INTERACTIVE), LONG)
        assert len(bench.engines[0].taken) == 2


def test_an_engine_that_is_quick_does_not_wait() -> None:
    assert Gather().wish(16, 16, 0.0005) == 0.0


@pytest.mark.parametrize("failures", [1, 3, 10])
def test_callers_who_do_not_come_back_are_waited_for_ever_less(failures: int) -> None:
    gather, skipped = Gather(), []
    for _ in range(failures):
        misses = 0
        while not gather.wish(8, 0, 0.01):
            misses += 1
        skipped.append(misses)
        gather.ended(waiting=1)
    assert skipped == [0, 1, 2, 4, 8, 16, 32, 64, 64, 64][:failures]
    while not gather.wish(8, 0, 0.01):
        pass
    gather.ended(waiting=8)
    assert gather.wish(8, 0, 0.01) > 0, "a crowd that came back is waited for again"
