"""Several requests of one backend at once, and what ends one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]
QUERY = "SELECT g, repeat(''words '', 40) || g FROM generate_series(1, {n}) AS g"
STREAM = f"SELECT key FROM pgml.embed_rows('echo', '{QUERY}')"
N = 20_000


@pytest.fixture(autouse=True)
def native_only(host: str) -> None:
    if host != "native":
        pytest.skip("with Multicorn2 a set-returning function collects its rows before the first FETCH")


def _open(db: Database, name: str, n: int = N) -> None:
    db.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {STREAM.format(n=n)}")


def _rest(db: Database, name: str) -> int:
    return len(db.execute(f"FETCH ALL FROM {name}").fetchall())


def test_two_cursors_in_turns(db: Database) -> None:
    _open(db, "one")
    _open(db, "two")
    for name in ("one", "two", "one", "two"):
        assert len(db.execute(f"FETCH 100 FROM {name}").fetchall()) == 100
    assert db.execute("SELECT pgml.embed('echo', 'between') IS NOT NULL").fetchone() == (True,)
    assert (_rest(db, "two"), _rest(db, "one")) == (N - 200, N - 200)


def test_rollback_to_a_savepoint_ends_the_streams_opened_after_it(db: Database) -> None:
    _open(db, "before")
    db.execute("FETCH 10 FROM before")
    db.execute("SAVEPOINT s")
    _open(db, "after")
    db.execute("FETCH 10 FROM after")
    db.execute("ROLLBACK TO s")
    with pytest.raises(psycopg.errors.InvalidCursorName), db.transaction():
        db.execute("FETCH 1 FROM after")
    assert _rest(db, "before") == N - 10


def test_an_error_ends_only_its_own_stream(db: Database) -> None:
    _open(db, "before")
    db.execute("FETCH 10 FROM before")
    with pytest.raises(psycopg.errors.InternalError_, match="no-such-model"), db.transaction():
        db.execute("SELECT pgml.embed('no-such-model', 'a')")
    assert _rest(db, "before") == N - 10


def test_a_stream_read_inside_a_savepoint_that_is_rolled_back(db: Database) -> None:
    """What an inner transaction read of an outer one's cursor is read; the rest is still to come."""
    _open(db, "outer_one")
    db.execute("FETCH 10 FROM outer_one")
    db.execute("SAVEPOINT s")
    db.execute("FETCH 10 FROM outer_one")
    db.execute("ROLLBACK TO s")
    assert _rest(db, "outer_one") == N - 20
    assert db.execute("SELECT count(*) FROM pgml.embed('echo', ARRAY['a', 'b'])").fetchone() == (2,)


def test_more_streams_than_connections_is_an_error_that_says_so(db: Database) -> None:
    with pytest.raises(psycopg.Error) as caught:
        for number in range(20):
            _open(db, f"c{number}")
            db.execute(f"FETCH 1 FROM c{number}")
    diag = caught.value.diag
    assert "8" in f"{diag.message_primary} {diag.message_detail} {diag.message_hint}"
    db.rollback()
    assert db.execute("SELECT pgml.embed('echo', 'a') IS NOT NULL").fetchone() == (True,)


def test_rollback_of_the_transaction_leaves_nothing_behind(db: Database, connect: Any) -> None:
    _open(db, "one")
    db.execute("FETCH 10 FROM one")
    pid = db.info.backend_pid
    db.rollback()
    watcher = connect(autocommit=True)
    for _ in range(200):
        row = watcher.execute("SELECT count(*) FROM pgml.stat_activity WHERE pid = %s", [pid]).fetchone()
        if row == (0,):
            return
        watcher.execute("SELECT pg_sleep(0.05)")
    pytest.fail("the request of the rolled back cursor still runs")


def test_a_transaction_with_an_open_stream_can_be_prepared(stack: Any, connect: Any) -> None:
    """PREPARE TRANSACTION closes the cursor; the transaction is kept, the request is not."""
    db = connect(autocommit=True)
    pid = db.info.backend_pid
    db.execute("CREATE TABLE IF NOT EXISTS cursors_prepared (id int, v real[])")
    sockets = set()
    try:
        for turn, end in enumerate(("COMMIT", "ROLLBACK", "COMMIT", "ROLLBACK", "COMMIT")):
            db.execute("BEGIN")
            db.execute("INSERT INTO cursors_prepared SELECT %s, pgml.embed('echo', 'a')", [turn])
            _open(db, "open_at_the_end")
            db.execute("FETCH 10 FROM open_at_the_end")
            db.execute("PREPARE TRANSACTION 'cursors'")
            stack.wait_idle()
            assert db.execute("SELECT cardinality(pgml.embed('echo', 'between'))").fetchone() == (384,)
            db.execute(f"{end} PREPARED 'cursors'")
            sockets.add(_sockets(pid))
        rows = db.execute("SELECT id, cardinality(v) FROM cursors_prepared ORDER BY id").fetchall()
        assert rows == [(0, 384), (2, 384), (4, 384)]
        assert db.info.backend_pid == pid and len(sockets) == 1, "each turn left a connection open"
    finally:
        db.execute("DROP TABLE cursors_prepared")


def _sockets(pid: int) -> int:
    """How many sockets a process holds."""
    names = [entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(str(name).startswith("socket:") for name in names)
