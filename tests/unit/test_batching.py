"""Lanes, fair shares and token budgets, with a fake engine that answers when told to."""

from __future__ import annotations

import random

import pytest
from fake_engine import OPTIONS, Bench, Request
from pgannex_server.batch import Batch
from pgannex_server.batching import BULK, INTERACTIVE
from pgannex_server.workers.pipe import unpack_embed
from pgannex_wire import WireError


def names(batch: Batch) -> set[str]:
    return {item[2].job.name for item in batch.items if isinstance(item[2].job, Request)}


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.up()
    return bench


def test_an_idle_engine_gets_a_text_at_once(bench: Bench) -> None:
    request = bench.join(INTERACTIVE)
    bench.submit(request, b"hello")
    assert unpack_embed(bench.engines[0].taken[0].data[8:]) == (OPTIONS, [b"hello"])
    bench.engines[0].finish()
    assert request.delivered == [(0, 0)]


def test_texts_that_came_while_it_computed_share_the_next_batch(bench: Bench) -> None:
    for name in "abcdef":
        bench.submit(bench.join(INTERACTIVE, name), b"text")
    batches = list(bench.run_dry())
    assert [names(batch) for batch in batches] == [{"a"}, set("bcdef")]


def test_requests_with_different_options_never_share_a_batch(bench: Bench) -> None:
    bench.submit(bench.join(INTERACTIVE, "first"), b"text")
    for i in range(10):
        bench.submit(bench.join(INTERACTIVE, f"n{i}", options=b"%d" % (i % 2)), b"text")
    for batch in bench.run_dry():
        assert len({name[-1:] in "02468" for name in names(batch) if name != "first"}) <= 1


def test_interactive_goes_before_bulk_that_is_already_prepared(bench: Bench) -> None:
    bulk = bench.join(BULK, "bulk")
    bench.submit(bulk, *[b"x" * 400] * 200)
    bench.settle()
    bench.submit(bench.join(INTERACTIVE, "now"), b"text")
    batches = list(bench.run_dry())
    assert names(batches[0]) == {"bulk"}
    assert names(batches[1]) == {"now"}
    assert sorted(bulk.delivered) == [(0, i) for i in range(200)]


def test_bulk_gets_a_turn_however_many_single_texts_come(bench: Bench) -> None:
    (engine,) = bench.engines
    single, bulk = bench.join(INTERACTIVE, "single"), bench.join(BULK, "bulk")
    bench.submit(single, b"a text")
    bench.submit(bulk, *[b"a longer text of a bulk request"] * 20_000)
    turns: list[str] = []
    for _ in range(100):
        bench.submit(single, b"a text")
        bench.settle()
        bench.clock += 0.05
        (who,) = names(engine.finish())
        turns.append(who)
    assert 5 <= turns.count("bulk") <= 15


def test_batches_converge_on_the_compute_time_that_is_aimed_at(bench: Bench) -> None:
    bulk = bench.join(BULK)
    bench.submit(bulk, *[b"x" * 200] * 2000)
    batches = list(bench.run_dry())
    seconds = [batch.cost / bench.engines[0].rate for batch in batches[3:-1]]
    assert seconds, "too few batches to judge"
    assert all(0.04 <= s <= 0.051 for s in seconds), seconds


def test_a_batch_holds_texts_of_about_one_length(bench: Bench) -> None:
    rng = random.Random(7)
    bulk = bench.join(BULK)
    bench.submit(bulk, *[b"x" * rng.choice((20, 200, 2000)) for _ in range(3000)])
    spread = []
    for batch in bench.run_dry():
        lengths = [len(item[2].texts[item[3]] or b"") for item in batch.items]
        spread.append(len(lengths) * max(lengths) / max(1, sum(lengths)))
    arrival_order = 2000 * 3 / (20 + 200 + 2000)
    assert sum(spread) / len(spread) < 1.5 < arrival_order


def test_every_text_is_computed_exactly_once_whatever_the_mixture() -> None:
    bench = Bench(engines=3)
    bench.up()
    rng = random.Random(1)
    requests = []
    for r in range(40):
        request = bench.join(rng.choice((INTERACTIVE, BULK)), str(r), options=b"%d" % rng.randrange(3))
        sizes = [rng.randrange(0, 60) for _ in range(rng.randrange(1, 5))]
        for seq, n in enumerate(sizes):
            bench.submit(request, *[b"y" * rng.randrange(3000) for _ in range(n)], seq=seq)
        requests.append((request, [(seq, i) for seq, n in enumerate(sizes) for i in range(n)]))
        if rng.random() < 0.5:
            busy = [e for e in bench.engines if e.batch]
            if busy:
                rng.choice(busy).finish()
        bench.settle()
    list(bench.run_dry())
    for request, expected in requests:
        assert sorted(request.delivered) == expected


def test_two_bulk_requests_get_equal_shares(bench: Bench) -> None:
    first, second = bench.join(BULK, "first"), bench.join(BULK, "second")
    bench.submit(first, *[b"x" * 200] * 4000)
    for _, _batch in zip(range(3), bench.run_dry(), strict=False):
        pass
    bench.submit(second, *[b"x" * 200] * 4000)
    before = len(first.delivered)
    for _, _batch in zip(range(20), bench.run_dry(), strict=False):
        pass
    gained = len(first.delivered) - before
    assert 0.6 <= gained / max(1, len(second.delivered)) <= 1.7


def test_one_text_does_not_wait_behind_a_large_interactive_array(bench: Bench) -> None:
    array = bench.join(INTERACTIVE, "array")
    bench.submit(array, *[b"x" * 200] * 3000)
    for _, _batch in zip(range(3), bench.run_dry(), strict=False):
        pass
    single = bench.join(INTERACTIVE, "single")
    bench.submit(single, b"text")
    batches = [batch for _, batch in zip(range(2), bench.run_dry(), strict=False)]
    assert single.delivered, [names(batch) for batch in batches]


def test_a_request_that_left_is_not_computed(bench: Bench) -> None:
    stays, goes = bench.join(BULK, "stays"), bench.join(BULK, "goes")
    bench.submit(stays, *[b"x" * 100] * 500)
    bench.submit(goes, *[b"x" * 100] * 500)
    bench.settle()
    bench.queue.leave(goes)
    batches = list(bench.run_dry())
    assert all("goes" not in names(batch) for batch in batches[1:])
    assert sorted(stays.delivered) == [(0, i) for i in range(500)]


def test_a_paused_request_is_not_computed_until_it_resumes(bench: Bench) -> None:
    blocker = bench.join(INTERACTIVE, "blocker")
    bench.submit(blocker, b"text")
    paused = bench.join(INTERACTIVE, "paused")
    paused.share.paused = True
    bench.submit(paused, b"text")
    assert [names(batch) for batch in bench.run_dry()] == [{"blocker"}]
    paused.share.paused = False
    bench.queue.wake()
    assert [names(batch) for batch in bench.run_dry()] == [{"paused"}]


def test_work_without_an_instance_asks_for_one() -> None:
    bench = Bench()
    request = bench.join(INTERACTIVE)
    bench.submit(request, b"text")
    assert bench.wanted == 1
    bench.up()
    list(bench.run_dry())
    assert request.delivered == [(0, 0)]


def test_a_deadline_fails_the_request(bench: Bench) -> None:
    late = bench.join(INTERACTIVE, deadline=110.0)
    later = bench.join(INTERACTIVE, deadline=120.0)
    never = bench.join(INTERACTIVE)
    bench.queue.expire(115.0)
    assert late.error is not None and late.error.code == "deadline"
    assert later.error is None and never.error is None


def test_a_lost_batch_fails_only_those_who_are_in_it() -> None:
    bench = Bench(engines=2)
    bench.up()
    hit, other = bench.join(INTERACTIVE, "hit"), bench.join(INTERACTIVE, "other")
    bench.submit(hit, b"text")
    bench.submit(other, b"text")
    lost = next(e for e in bench.engines if e.batch and names(e.batch) == {"hit"})
    assert lost.batch is not None
    lost.batch.lose(WireError("worker_died", "gone"))
    assert hit.error is not None and other.error is None


def test_null_texts_are_passed_over(bench: Bench) -> None:
    request = bench.join(BULK)
    bench.submit(request, b"a", None, b"b")
    list(bench.run_dry())
    assert sorted(request.delivered) == [(0, 0), (0, 2)]


def test_ahead_counts_who_came_before_in_the_same_or_a_faster_lane(bench: Bench) -> None:
    first = bench.join(BULK)
    second = bench.join(INTERACTIVE)
    third = bench.join(BULK)
    assert [bench.queue.ahead(r) for r in (first, second, third)] == [0, 0, 2]
