"""Cancel: every kind in every form of embed; how long the client waits, and the server's in-flight gauge."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

import psycopg

from bench.measure import Measurement
from bench.target import Target

SLEEPY = "echo-slow"
"""An echo model that takes 2 s for each batch."""
SLEEP = 2.0

FORMS = {
    "scalar": f"SELECT pgml.embed('{SLEEPY}', 'a')",
    "array": f"SELECT pgml.embed('{SLEEPY}', ARRAY['a', 'b'])",
    "table": f"SELECT embedding FROM pgml.embedding WHERE model = '{SLEEPY}' AND input = ANY ('{{a,b}}')",
    "rows": f"SELECT * FROM pgml.embed_rows('{SLEEPY}', 'SELECT objoid, description FROM pg_description')",
}
Kind = Callable[[Target, psycopg.Connection[tuple[object, ...]]], float]


def _by_function(name: str) -> Kind:
    def act(target: Target, victim: psycopg.Connection[tuple[object, ...]]) -> float:
        with target.connect() as db:
            at = time.perf_counter()
            db.execute(f"SELECT {name}(%s)".encode(), (victim.info.backend_pid,))
            return at

    return act


def _disconnect(target: Target, victim: psycopg.Connection[tuple[object, ...]]) -> float:
    at = time.perf_counter()
    duplicate = socket.socket(fileno=os.dup(victim.pgconn.socket))
    duplicate.shutdown(socket.SHUT_RDWR)
    duplicate.close()
    return at


KINDS: dict[str, Kind] = {
    "pg_cancel_backend": _by_function("pg_cancel_backend"),
    "pg_terminate_backend": _by_function("pg_terminate_backend"),
    "client disconnect": _disconnect,
}


def cancels(target: Target) -> list[Measurement]:
    """The slowest of every kind and form."""
    waits: dict[str, float] = {}
    frees: dict[str, float] = {}
    for kind, act in KINDS.items():
        for form, sql in FORMS.items():
            waits[f"{kind}, {form}"], frees[f"{kind}, {form}"] = _one(target, sql, act)
    for form, sql in FORMS.items():
        name = f"statement_timeout, {form}"
        waits[name], frees[name] = _by_timeout(target, sql)
    slow, late = max(waits, key=lambda k: waits[k]), max(frees, key=lambda k: frees[k])
    return [
        Measurement(
            "cancel: the wait ends, slowest kind and form", waits[slow], "ms", "at most", 100.0, slow
        ),
        Measurement("cancel: in-flight back to 0, slowest", frees[late], "ms", "at most", 1000.0, late),
    ]


def _one(target: Target, sql: str, act: Kind) -> tuple[float, float]:
    ended: list[float] = []
    victim = psycopg.connect(target.dsn, autocommit=True, options="-c client_connection_check_interval=50ms")

    def call() -> None:
        try:
            victim.execute(sql.encode()).fetchall()
        except psycopg.Error:
            ended.append(time.perf_counter())

    time.sleep(SLEEP)  # what was cancelled before is still computed: start with a free engine
    thread = threading.Thread(target=call)
    thread.start()
    _wait_for(lambda: target.in_flight() > 0)
    at = act(target, victim)
    thread.join(30)
    free = _wait_for(lambda: target.in_flight() == 0)
    victim.close()
    assert ended, "the statement was not cancelled"
    return (ended[0] - at) * 1e3, (free - at) * 1e3


def _by_timeout(target: Target, sql: str) -> tuple[float, float]:
    time.sleep(SLEEP)
    with target.connect() as db:
        db.execute("SET statement_timeout = '300ms'")
        start = time.perf_counter()
        try:
            db.execute(sql.encode()).fetchall()
            raise AssertionError("the statement did not time out")
        except psycopg.errors.QueryCanceled:
            ended = time.perf_counter()
    free = _wait_for(lambda: target.in_flight() == 0)
    return (ended - start) * 1e3 - 300, (free - start) * 1e3 - 300


def _wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> float:
    """The moment at which the condition held."""
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        if condition():
            return time.perf_counter()
        time.sleep(0.005)
    raise AssertionError("a condition did not come true in time")
