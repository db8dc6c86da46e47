"""A backend from the outside: start a statement without waiting for it, see it run, end it.

For the tests of the bad day. Nothing here depends on a timing: `until` polls with a bound
that only ends a hang.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.pq import DiagnosticField, ExecStatus

Database = psycopg.Connection[tuple[Any, ...]]
PATIENCE_S = 60.0


@pytest.fixture
def connect(stack: Any) -> Iterator[Callable[..., Database]]:
    """Open connections that are closed when the test ends; keywords as of stack.connect."""
    opened: list[Database] = []

    def open_one(**keywords: Any) -> Database:
        opened.append(stack.connect(**keywords))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


def until(what: str, holds: Callable[[], Any], patience: float = PATIENCE_S) -> Any:
    """Wait until `holds()` is true and return its value; AssertionError after `patience`."""
    end = time.monotonic() + patience
    while True:
        value = holds()
        if value:
            return value
        assert time.monotonic() < end, f"after {patience:.0f} s it is still not so that {what}"
        time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a statement ended. `sqlstate` is empty where it ended well; seconds count from `finish`."""

    sqlstate: str = ""
    message: str = ""
    detail: str = ""
    hint: str = ""
    seconds: float = 0.0


class Statement:
    """A statement that was sent on a connection and is not waited for."""

    def __init__(self, connection: Database, sql: str) -> None:
        self.connection = connection
        self.pid = connection.info.backend_pid
        connection.pgconn.send_query(sql.encode())

    def finish(self) -> Outcome:
        """Wait for its end. The first error counts: after it libpq may add that the connection broke."""
        began = time.monotonic()
        outcome = Outcome()
        pgconn = self.connection.pgconn
        while (result := pgconn.get_result()) is not None:
            if result.status == ExecStatus.FATAL_ERROR and not outcome.sqlstate:
                fields = (
                    DiagnosticField.SQLSTATE,
                    DiagnosticField.MESSAGE_PRIMARY,
                    DiagnosticField.MESSAGE_DETAIL,
                    DiagnosticField.MESSAGE_HINT,
                )
                texts = [(result.error_field(f) or b"").decode() for f in fields]
                state, message, detail, hint = texts
                named = re.search(r"\bsqlstate: (\w{5})", detail)  # Multicorn raises XX000 and nothing else
                state = named[1] if named and state == "XX000" else state
                outcome = Outcome(state, message, detail, hint, time.monotonic() - began)
        return outcome


def outcome_of(connection: Database, sql: str) -> Outcome:
    """Run a statement to its end, whatever that is."""
    return Statement(connection, sql).finish()


def running(watcher: Database, pid: int) -> list[tuple[Any, ...]]:
    """The server's requests of one backend: verb and state."""
    return watcher.execute(
        "SELECT verb, state FROM pgml.stat_activity WHERE pid = %s AND verb NOT LIKE 'stat%%'", [pid]
    ).fetchall()


def until_running(watcher: Database, pid: int) -> None:
    until(f"a request of backend {pid} runs", lambda: running(watcher, pid))


def until_idle(watcher: Database, pid: int) -> float:
    """Wait until the server has no request of this backend; the seconds it took."""
    began = time.monotonic()
    until(f"no request of backend {pid} runs", lambda: not running(watcher, pid))
    return time.monotonic() - began
