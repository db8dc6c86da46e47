"""A storm of cancels, timeouts and dying peers over every form of embed: nothing may crash.

Sessions run statements chosen at random, under statement timeouts of some milliseconds,
while others cancel and terminate them and kill workers and the server. A crash of one
backend would restart the whole cluster: the postmaster says whether that happened.
"""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from backends import until

Database = psycopg.Connection[tuple[Any, ...]]
SESSIONS = 6
STATEMENTS = 300
ALLOWED = {
    "57014": "cancelled, or its deadline passed",
    "57P01": "terminated",
    "58000": "its worker died",
    "53000": "the queue was full",
    "57P03": "the server is stopping",
    "08001": "the server is down",
    "08006": "the connection to the server broke",
    "25P02": "the transaction had failed before",
    "34000": "the cursor went with the transaction that failed",
    "": "the client's connection broke",
}
QUERY = "SELECT g, repeat('word ', g % 50) FROM generate_series(1, {n}) AS g"
FORMS = (
    "SELECT pgml.embed('echo', 'text {n}')",
    "SELECT count(*) FROM pgml.embed('echo', array_fill('a'::text, ARRAY[{n}]))",
    "SELECT pgml.embed('echo', array_fill('a'::text, ARRAY[{n}])) LIMIT 3",
    "SELECT count(*) FROM pgml.embedding"
    " WHERE model = 'echo' AND input = ANY (array_fill('a'::text, ARRAY[{n}]))",
    "SELECT count(*) FROM pgml.embed_rows('echo', $${query}$$)",
    "SELECT * FROM pgml.embed_rows('echo', $${query}$$) LIMIT 3",
    "SELECT count(*) FROM generate_series(1, {few}) AS g, LATERAL"
    " (SELECT * FROM pgml.embedding WHERE model = 'echo' AND input = g::text) AS e",
    "SELECT * FROM pgml.digest_rows($${query}$$)",
    "SELECT * FROM pgml.stat_activity",
    "BEGIN; DECLARE a CURSOR FOR SELECT * FROM pgml.embed_rows('echo', $${query}$$); FETCH 3 FROM a;"
    " SAVEPOINT s; DECLARE b CURSOR FOR SELECT * FROM pgml.embed_rows('echo', $${query}$$); FETCH 3 FROM b;"
    " ROLLBACK TO s; FETCH 5 FROM a; COMMIT",
    "DO $do$ BEGIN PERFORM pgml.embed('echo', 'a', '{{\"sleep_ms\": 20}}');"
    " EXCEPTION WHEN OTHERS THEN PERFORM pgml.embed('echo', 'b'); END $do$",
    "SELECT pgml.embed('echo', 'a', '{{\"oom\": true}}')",
)


class Storm:
    """The sessions, their counts of outcomes, and what went wrong for good."""

    def __init__(self, connect: Callable[..., Database]) -> None:
        self.connect = connect
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.pids: dict[int, int] = {}
        self.over = threading.Event()

    def session(self, number: int) -> None:
        choose = random.Random(number)
        db = self.connect(autocommit=True)
        for _ in range(STATEMENTS):
            if db.closed:
                db = self.connect(autocommit=True)
            self.pids[number] = db.info.backend_pid
            n = choose.choice((1, 10, 1000, 20000))
            sql = choose.choice(FORMS).format(n=n, few=min(n, 50), query=QUERY.format(n=n))
            try:
                db.execute(f"ROLLBACK; SET statement_timeout = {choose.choice((0, 0, 1, 5, 20, 100))}")
                db.execute(sql)
                self.outcomes["ok"] += 1
            except psycopg.Error as err:
                self.outcomes[err.sqlstate or ""] += 1
                if (err.sqlstate or "") not in ALLOWED:
                    self.wrong.append(f"{err.sqlstate} {err}: {sql}")
                if err.sqlstate == "08001":
                    self.over.wait(0.1)  # else all statements are spent while the server is down

    def shoot(self) -> None:
        """Cancel or terminate somebody, again and again."""
        choose = random.Random(99)
        with self.connect(autocommit=True) as db:
            while not self.over.wait(0.03):
                if self.pids:
                    pid = choose.choice(list(self.pids.values()))
                    act = "pg_terminate_backend" if choose.random() < 0.1 else "pg_cancel_backend"
                    db.execute(f"SELECT {act}(%s)", [pid])


def _postmaster(db: Database) -> Any:
    return db.execute("SELECT pg_postmaster_start_time(), pid FROM pg_stat_activity"
                      " WHERE backend_type = 'checkpointer'").fetchone()  # fmt: skip


@pytest.mark.every_postgres
@pytest.mark.timeout(400)
def test_storm(stack: Any, connect: Callable[..., Database]) -> None:
    watcher = connect(autocommit=True)
    before = _postmaster(watcher)
    storm = Storm(connect)
    threads = [threading.Thread(target=storm.session, args=(n,)) for n in range(SESSIONS)]
    shooter = threading.Thread(target=storm.shoot)
    for thread in (*threads, shooter):
        thread.start()
    for number in (signal.SIGKILL, signal.SIGTERM):
        threads[0].join(3)
        stack.signal_server(number)
        until("the server is gone", lambda: not stack.server_pid)
        stack.start_server()
    for thread in threads:
        thread.join()
    storm.over.set()
    shooter.join()
    assert not storm.wrong, "\n".join(storm.wrong[:5])
    assert sum(storm.outcomes.values()) == SESSIONS * STATEMENTS
    assert storm.outcomes["ok"] > 100, storm.outcomes
    assert _postmaster(watcher) == before, "a backend crashed"
    until("nothing is in flight", lambda: stack.in_flight() == 0)
    assert watcher.execute("SELECT pgml.embed('echo', 'after') IS NOT NULL").fetchone() == (True,)
