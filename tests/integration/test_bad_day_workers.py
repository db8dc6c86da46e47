"""A worker dies, or a queue is full: who loses what, and what comes back by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from backends import Statement, outcome_of, until, until_running

Database = psycopg.Connection[tuple[Any, ...]]
SLEEPS = """SELECT pgml.embed('{model}', 'a', '{{"sleep_ms": 600000}}')"""
NAPS = """SELECT pgml.embed('{model}', 'a', '{{"sleep_ms": 1000}}')"""
QUICK = "SELECT pgml.embed('{model}', 'a')"
MODELS = """
[models.one]
engine = "echo"
[models.two]
engine = "echo"
[models.pair]
engine = "echo"
instances = 2
"""


@pytest.fixture(scope="module")
def own_server(stack: Any) -> Iterator[Any]:
    """The stack's server with echo models of several names and a small queue."""
    stack.restart_server("\n[limits]\nqueue = 4\n" + MODELS)
    yield stack
    stack.restart_server("")


def _workers(watcher: Database, model: str) -> list[int]:
    rows = watcher.execute(
        "SELECT pid FROM pgml.stat_models WHERE model = %s AND pid IS NOT NULL ORDER BY instance", [model]
    ).fetchall()
    return [row[0] for row in rows]


def test_a_killed_worker_fails_its_requests_and_no_others(
    own_server: Any, connect: Callable[..., Database]
) -> None:
    watcher, victim, other = connect(autocommit=True), connect(autocommit=True), connect(autocommit=True)
    for model in ("one", "two"):
        assert outcome_of(victim, QUICK.format(model=model)).sqlstate == ""
    doomed = Statement(victim, SLEEPS.format(model="one"))
    until_running(watcher, doomed.pid)
    unharmed = Statement(other, NAPS.format(model="two"))
    until_running(watcher, unharmed.pid)
    (pid,) = _workers(watcher, "one")
    until("the worker computes", lambda: _state(watcher, doomed.pid) == "running")
    os.kill(pid, signal.SIGKILL)
    outcome = doomed.finish()
    assert outcome.sqlstate == "58000", outcome
    assert unharmed.finish().sqlstate == ""
    assert outcome_of(victim, QUICK.format(model="one")).sqlstate == ""
    until("another worker serves", lambda: _workers(watcher, "one") not in ([], [pid]))
    assert victim.info.backend_pid == doomed.pid


def _state(watcher: Database, pid: int) -> str:
    row = watcher.execute("SELECT state FROM pgml.stat_activity WHERE pid = %s", [pid]).fetchone()
    return row[0] if row else ""


@pytest.mark.parametrize("kwarg", ["oom", "crash"])
def test_a_worker_that_dies_of_its_input(
    kwarg: str, own_server: Any, connect: Callable[..., Database]
) -> None:
    db = connect(autocommit=True)
    outcome = outcome_of(db, f"""SELECT pgml.embed('two', 'a', '{{"{kwarg}": true}}')""")
    assert outcome.sqlstate == "58000", outcome
    assert outcome_of(db, QUICK.format(model="two")).sqlstate == ""


def test_one_of_two_instances_is_killed(own_server: Any, connect: Callable[..., Database]) -> None:
    watcher = connect(autocommit=True)
    sessions = [connect(autocommit=True) for _ in range(2)]
    for session in sessions:
        assert outcome_of(session, QUICK.format(model="pair")).sqlstate == ""
    until("both instances are there", lambda: len(_workers(watcher, "pair")) == 2)
    statements = [
        Statement(s, f"""SELECT pgml.embed('pair', 'a', '{{"sleep_ms": 1500, "truncate_dim": {8 * n}}}')""")
        for n, s in enumerate(sessions, 1)
    ]
    until("each instance computes one", lambda: all(_state(watcher, s.pid) == "running" for s in statements))
    os.kill(_workers(watcher, "pair")[0], signal.SIGKILL)
    assert sorted(s.finish().sqlstate for s in statements) == ["", "58000"]


def test_a_bulk_request_loses_its_worker(own_server: Any, connect: Callable[..., Database]) -> None:
    watcher, victim = connect(autocommit=True), connect(autocommit=True)
    assert outcome_of(victim, QUICK.format(model="one")).sqlstate == ""
    query = "SELECT g, g::text FROM generate_series(1, 100000) AS g"
    bulk = Statement(
        victim, f"""SELECT count(*) FROM pgml.embed_rows('one', '{query}', '{{"sleep_ms": 300}}')"""
    )
    until("the worker computes", lambda: _state(watcher, bulk.pid) == "running")
    os.kill(_workers(watcher, "one")[0], signal.SIGKILL)
    assert bulk.finish().sqlstate == "58000"
    assert outcome_of(victim, QUICK.format(model="one")).sqlstate == ""


def test_a_full_queue_refuses_with_a_hint_and_serves_the_rest(
    own_server: Any, connect: Callable[..., Database]
) -> None:
    sessions = [connect(autocommit=True) for _ in range(20)]
    statements = [Statement(s, NAPS.format(model="one")) for s in sessions]
    outcomes = [s.finish() for s in statements]
    refused = [o for o in outcomes if o.sqlstate]
    assert {o.sqlstate for o in refused} == {"53000"}, refused
    assert all("try again" in o.hint for o in refused)
    assert len(outcomes) - len(refused) >= 4
    assert outcome_of(sessions[0], QUICK.format(model="one")).sqlstate == ""


def test_a_model_is_loaded_pinned_and_unloaded(own_server: Any, connect: Callable[..., Database]) -> None:
    db = connect(autocommit=True)

    def state() -> Any:
        return db.execute(
            "SELECT state, pinned FROM pgml.stat_models WHERE model = 'two' ORDER BY instance LIMIT 1"
        ).fetchone()

    assert db.execute("SELECT state FROM pgml.load_model('two')").fetchone() == ("ready",)
    assert state() == ("ready", False)
    db.execute("SELECT * FROM pgml.pin_model('two')")
    assert state() == ("ready", True)
    db.execute("SELECT * FROM pgml.unpin_model('two')")
    db.execute("SELECT * FROM pgml.unload_model('two')")
    until("it is unloaded", lambda: not _workers(db, "two"))
    assert outcome_of(db, QUICK.format(model="two")).sqlstate == ""
    outcome = outcome_of(db, "SELECT * FROM pgml.load_model('no-such-model')")
    assert outcome.sqlstate == "22023", outcome
    assert "two" in outcome.hint
