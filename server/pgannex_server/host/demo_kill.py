"""`make demo`, act two: what a client sees when things die in the middle of its statement.

One connection goes through all of it; its backend's pid is compared at the end, because a
crash of the model that takes Postgres down would show there first.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from pgannex_server.host import processes
from pgannex_server.host.daemon import Daemon
from pgannex_server.host.demo import MODEL

Database = psycopg.Connection[tuple[object, ...]]

# About a minute of work for two cores: nothing here waits for its end.
_BULK = (
    "SELECT count(*) FROM pgml.embed_rows(%s, "
    "'SELECT id, description FROM pgannex_demo.text, generate_series(1, 20)')"
)
_ONE = "SELECT pgml.embed(%s, 'hello')"
_RUNNING = "SELECT rows FROM pgml.stat_activity WHERE verb = 'embed' AND lane = 'bulk'"
_WORKER = "SELECT pid FROM pgml.stat_models WHERE pid > 0 AND model LIKE '%%' || %s"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client of a broken statement saw."""

    sqlstate: str
    message: str
    seconds: float
    """From the blow to the error."""


def act_two(db: Database, other: Database, daemon: Daemon) -> bool:
    """Break things. Whether every error was the promised one and the backend survived."""
    print("\nact two: now we kill it\n")
    pid = db.info.backend_pid
    fine = [
        _show("the worker is killed (SIGKILL)", _struck(db, other, lambda: _kill_worker(other)), "58000"),
        _again(db, "the next statement, with a new worker"),
        _show("the query is cancelled", _struck(db, other, lambda: _cancel(other, pid)), "57014"),
        _show("the server is killed (SIGKILL)", _struck(db, other, lambda: processes.kill(daemon.pid)), "08"),
        _show("a statement while it is down", _error(db, _ONE), "08"),
    ]
    daemon.start()
    fine.append(_again(db, "the server is started again"))
    row = db.execute("SELECT pg_backend_pid()").fetchone()
    same = row is not None and row[0] == pid
    verdict = "the same" if same else "ANOTHER ONE"
    print(f"\n  the backend's pid was {pid} and is {row[0] if row else '?'}: {verdict}")
    return all(fine) and same


def _struck(db: Database, other: Database, blow: Callable[[], None]) -> Seen:
    """Run a bulk embed, strike once rows have come back, and report the error."""
    struck_at: list[float] = []

    def strike() -> None:
        _wait_for_rows(other)
        struck_at.append(time.monotonic())
        blow()

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        return _error(db, _BULK, struck_at)
    finally:
        thread.join()


def _wait_for_rows(other: Database) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        row = other.execute(_RUNNING).fetchone()
        if row is not None and int(str(row[0] or 0)) > 0:
            return
        time.sleep(0.05)


def _error(db: Database, statement: str, struck_at: Sequence[float] = ()) -> Seen:
    """Run a statement that should fail; the time counts from the blow, if there was one."""
    began = time.monotonic()
    try:
        db.execute(statement.encode(), [MODEL])
    except psycopg.Error as err:
        ended = time.monotonic()
        return Seen(
            err.sqlstate or "", err.diag.message_primary or str(err), ended - (struck_at or [began])[0]
        )
    return Seen("", "no error", time.monotonic() - began)


def _kill_worker(other: Database) -> None:
    for row in other.execute(_WORKER, [MODEL]).fetchall():
        os.kill(int(str(row[0])), signal.SIGKILL)


def _cancel(other: Database, pid: int) -> None:
    other.execute("SELECT pg_cancel_backend(%s)", [pid])


def _show(what: str, seen: Seen, sqlstate: str) -> bool:
    fine = seen.sqlstate.startswith(sqlstate)
    print(f"  {what}\n      {seen.sqlstate or '-'}  {seen.message}  (after {seen.seconds * 1000:.0f} ms)")
    if not fine:
        print(f"      NOT AS PROMISED: SQLSTATE {sqlstate}…")
    return fine


def _again(db: Database, what: str) -> bool:
    began = time.monotonic()
    row = db.execute("SELECT pg_catalog.cardinality(pgml.embed(%s, 'hello'))", [MODEL]).fetchone()
    found = row is not None and int(str(row[0])) > 0
    print(f"  {what}\n      works  (after {(time.monotonic() - began) * 1000:.0f} ms)")
    return found
