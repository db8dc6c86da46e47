"""One call: to the echo engine, to a real encoder, in a fresh backend, and against a server that is down."""

from __future__ import annotations

import time

import psycopg

from bench.measure import Measurement, Sense, median, percentile
from bench.rivals import encode_one
from bench.target import Target

ONE = "SELECT 1;"
ECHO = "SELECT cardinality(embedding) FROM pgml.embedding WHERE model = 'echo' AND input = 'trailing blanks';"
SENTENCE = "which function removes trailing blanks from a string?"


def _typical(run: tuple[list[float], float], clients: int) -> float:
    """µs of a transaction: the p50 of one client, the mean of several (pgbench shares its clock)."""
    latencies, rate = run
    return percentile(latencies, 0.5) if clients == 1 else clients / rate * 1e6


def echo(target: Target) -> list[Measurement]:
    """p50 of a call through the foreign table to the echo engine's worker, over SELECT 1."""
    rows = []
    for clients, limit in ((1, 75.0), (2, None)):
        target.pgbench(ECHO, clients=clients, seconds=1)
        rounds = [
            (
                target.pgbench(ONE, clients=clients, seconds=2),
                target.pgbench(ECHO, clients=clients, seconds=3),
            )
            for _ in range(3)
        ]
        base, call = (median([_typical(run[i], clients) for run in rounds]) for i in (0, 1))
        extra = median([_typical(run[1], clients) - _typical(run[0], clients) for run in rounds])
        note = f"SELECT 1 {base:.0f} µs, echo {call:.0f} µs"
        sense: Sense = "at most" if limit else "report"
        name = f"echo through the foreign table over SELECT 1, {clients} client{'s'[: clients > 1]}"
        rows.append(Measurement(name, extra, "µs", sense, limit, note))
    return rows


def _first_and_second(db: psycopg.Connection[tuple[object, ...]], sql: str) -> tuple[float, float]:
    times = []
    for _ in range(2):
        start = time.perf_counter()
        db.execute(sql.encode()).fetchall()
        times.append((time.perf_counter() - start) * 1e3)
    return times[0], times[1]


def first_call(target: Target) -> list[Measurement]:
    """The first call of a fresh backend over its second, which pays for the library and the connection."""
    extra, memory = [], []
    with target.connect() as neighbour:
        # Code pages that one process alone has touched count as private: with a neighbour
        # that did the same, only what each backend allocates is left.
        for sql in (ONE, ECHO):
            neighbour.execute(sql.encode()).fetchall()
        for _ in range(15):
            with target.connect() as db:
                db.execute("SELECT 1").fetchall()
                first, second = _first_and_second(db, ECHO)
                extra.append(first - second)
                for _ in range(5):
                    db.execute(ECHO.encode()).fetchall()
                with_calls = _private_kib(db.info.backend_pid)
            with target.connect() as db:
                for _ in range(7):
                    db.execute("SELECT 1").fetchall()
                memory.append((with_calls - _private_kib(db.info.backend_pid)) / 1024)
    return [
        Measurement("first call of a fresh backend over its second", median(extra), "ms", "at most", 5.0),
        Measurement(
            "private memory of a backend after its first calls", median(memory), "MiB", "at most", 2.0
        ),
    ]


def _private_kib(pid: int) -> int:
    """Private memory of a process in KiB, from smaps_rollup. Needs root or the same user."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


def short_text(target: Target) -> list[Measurement]:
    """One short text by pgml.embed, SQL included, over sentence-transformers encode() of it."""
    rows = []
    limits = {"openvino": 0.3, "torch": 0.7}
    for engine, model in target.models.items():
        if engine not in limits:
            continue
        ours = _embed_times(target, model)
        theirs = encode_one(target.folder, SENTENCE, seconds=4)
        again = _embed_times(target, model)
        mine = min(median(ours), median(again))
        note = f"pgml.embed {mine:.2f} ms, encode() {median(theirs):.2f} ms"
        name = f"one short text over sentence-transformers, {engine}"
        rows.append(Measurement(name, mine / median(theirs), "×", "at most", limits[engine], note))
    return rows


def _embed_times(target: Target, model: str, rounds: int = 300) -> list[float]:
    times = []
    with target.connect() as db:
        for i in range(rounds + 20):
            start = time.perf_counter()
            db.execute("SELECT pgml.embed(%s, %s)", (model, SENTENCE), binary=True, prepare=True).fetchall()
            if i >= 20:
                times.append((time.perf_counter() - start) * 1e3)
    return times


def server_down(target: Target) -> list[Measurement]:
    """An error of class 08 when nothing listens: a socket path with no server behind it."""
    times, states = [], set()
    with target.connect() as db:
        old = db.execute("SHOW pgannex.socket").fetchone()
        assert old is not None
        _set_socket(db, str(target.frames_socket) + ".nobody")
        try:
            for _ in range(20):
                start = time.perf_counter()
                try:
                    db.execute(ECHO.encode())
                except psycopg.OperationalError as err:
                    states.add(err.sqlstate)
                times.append((time.perf_counter() - start) * 1e3)
        finally:
            _set_socket(db, str(old[0]))
    honest = all(state and state.startswith("08") for state in states) and bool(states)
    note = f"SQLSTATE {', '.join(sorted(str(s) for s in states)) or 'none'}"
    return [
        Measurement(
            "server down: time to the error, p95", percentile(times, 0.95), "ms", "at most", 10.0, note
        ),
        Measurement("server down: every error is of class 08", float(honest), "", "at least", 1.0, note),
    ]


def _set_socket(db: psycopg.Connection[tuple[object, ...]], path: str) -> None:
    literal = path.replace("'", "''")
    db.execute(f"ALTER SYSTEM SET pgannex.socket = '{literal}'".encode())
    db.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        row = db.execute("SHOW pgannex.socket").fetchone()
        if row and row[0] == path:
            return
        time.sleep(0.02)
    raise RuntimeError("pgannex.socket did not change within 10 s")
