"""The server is down, killed, stopped, restarted, not to be reached: what a session sees.

Each test leaves the server as it found it. A session outlives all of it: an error of class
08, the same backend, and answers again once the server is back.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from backends import Statement, outcome_of, until, until_running

Database = psycopg.Connection[tuple[Any, ...]]
QUICK = "SELECT pgml.embed('echo', 'a')"
LONG = """SELECT pgml.embed('echo', 'a', '{"sleep_ms": 15000}')"""
STREAM = """SELECT count(*) FROM pgml.embed_rows(
    'echo', 'SELECT g, g::text FROM generate_series(1, 100000) AS g', '{"sleep_ms": 1000}')"""


@pytest.fixture
def server(stack: Any) -> Iterator[Any]:
    """The server of the stack, which is put right afterwards."""
    yield stack
    if stack.server_pid:
        stack.signal_server(signal.SIGCONT)
    stack.start_server()


@pytest.fixture
def session(connect: Callable[..., Database], server: Any) -> Database:
    """A session that has a connection to the server already."""
    db: Database = connect(autocommit=True)
    assert outcome_of(db, QUICK).sqlstate == ""
    return db


def _workers(db: Database) -> list[int]:
    return [row[0] for row in db.execute("SELECT pid FROM pgml.stat_models WHERE pid IS NOT NULL")]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_down(session: Database, connect: Callable[..., Database], server: Any) -> None:
    server.stop_server()
    for db in (session, connect(autocommit=True)):
        outcome = outcome_of(db, QUICK)
        assert outcome.sqlstate == "08001", outcome
        assert "pgannex" in outcome.hint + outcome.detail + outcome.message
        assert outcome_of(db, "SELECT * FROM pgml.stat_server").sqlstate == "08001"
        assert outcome_of(db, "SELECT 1").sqlstate == ""


def test_back_again_in_the_same_session(session: Database, server: Any) -> None:
    pid = session.info.backend_pid
    server.stop_server()
    assert outcome_of(session, QUICK).sqlstate == "08001"
    server.start_server()
    assert outcome_of(session, QUICK).sqlstate == ""
    assert session.info.backend_pid == pid


def test_a_restart_between_two_calls_goes_unnoticed(session: Database, server: Any) -> None:
    server.stop_server()
    server.start_server()
    assert outcome_of(session, QUICK).sqlstate == ""


@pytest.mark.parametrize("sql", [LONG, STREAM], ids=["one text", "embed_rows"])
def test_killed_in_mid_request(
    sql: str, session: Database, connect: Callable[..., Database], server: Any
) -> None:
    watcher = connect(autocommit=True)
    workers = _workers(watcher)
    statement = Statement(session, sql)
    until_running(watcher, statement.pid)
    server.kill_server()
    outcome = statement.finish()
    # A request of which nothing has been answered may have been tried once more: then 08001.
    assert outcome.sqlstate in ("08006", "08001"), outcome
    until("the killed server's workers are gone", lambda: not any(map(_alive, workers)))
    server.start_server()
    assert outcome_of(session, QUICK).sqlstate == ""
    assert session.info.backend_pid == statement.pid


@pytest.mark.parametrize("sql", [LONG, STREAM], ids=["one text", "embed_rows"])
def test_stopped_in_mid_request(
    sql: str, session: Database, connect: Callable[..., Database], server: Any
) -> None:
    watcher = connect(autocommit=True)
    statement = Statement(session, sql)
    until_running(watcher, statement.pid)
    server.signal_server(signal.SIGSTOP)
    outcome = statement.finish()
    assert outcome.sqlstate == "08006", outcome
    server.signal_server(signal.SIGCONT)
    assert outcome_of(session, QUICK).sqlstate == ""


def test_stopped_before_the_request(session: Database, connect: Callable[..., Database], server: Any) -> None:
    server.signal_server(signal.SIGSTOP)
    statements = [Statement(session, QUICK), Statement(connect(autocommit=True), QUICK)]
    assert [s.finish().sqlstate for s in statements] == ["08006", "08006"]
    server.signal_server(signal.SIGCONT)
    assert outcome_of(session, QUICK).sqlstate == ""


def test_cancel_while_the_server_is_stopped(
    session: Database, connect: Callable[..., Database], server: Any
) -> None:
    """A cancel needs no server."""
    watcher = connect(autocommit=True)
    server.signal_server(signal.SIGSTOP)
    statement = Statement(session, QUICK)
    until(
        "the statement is active",
        lambda: (
            watcher.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'", [statement.pid]
            ).fetchone()
            == (1,)
        ),
    )
    watcher.execute("SELECT pg_cancel_backend(%s)", [statement.pid])
    assert statement.finish().sqlstate == "57014"


def test_termination_drains(session: Database, connect: Callable[..., Database], server: Any) -> None:
    """SIGTERM lets a running request finish."""
    watcher = connect(autocommit=True)
    statement = Statement(session, """SELECT pgml.embed('echo', 'a', '{"sleep_ms": 1500}')""")
    until_running(watcher, statement.pid)
    assert server.stop_server()
    assert statement.finish().sqlstate == ""


@pytest.fixture
def socket_setting(stack: Any) -> Iterator[Callable[[str], None]]:
    """Set pgannex.socket for the cluster; put back afterwards."""
    with psycopg.connect(stack.dsn, autocommit=True) as admin:
        admin.execute("SELECT pgml.embed('echo', 'loads the library')")

        def point_at(path: str) -> None:
            admin.execute(
                "ALTER SYSTEM RESET pgannex.socket"
                if not path
                else f"ALTER SYSTEM SET pgannex.socket = '{path}'"
            )
            admin.execute("SELECT pg_reload_conf()")
            wanted = path or str(stack.frames_socket)
            until("the setting arrived", lambda: admin.execute("SHOW pgannex.socket").fetchone() == (wanted,))

        yield point_at
        point_at("")


def test_no_socket(
    socket_setting: Callable[[str], None], connect: Callable[..., Database], stack: Any
) -> None:
    missing = str(stack.stack.state.run / "no-such.sock")
    socket_setting(missing)
    outcome = outcome_of(connect(autocommit=True), QUICK)
    assert outcome.sqlstate == "08001", outcome
    assert missing in outcome.message + outcome.detail


def test_a_socket_that_nobody_listens_on(
    socket_setting: Callable[[str], None], connect: Callable[..., Database], stack: Any
) -> None:
    import socket

    dead = str(stack.stack.state.run / "dead.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(dead)
    Path(dead).chmod(0o777)
    try:
        socket_setting(dead)
        assert outcome_of(connect(autocommit=True), QUICK).sqlstate == "08001"
    finally:
        Path(dead).unlink()


def test_a_socket_that_is_not_permitted(connect: Callable[..., Database], stack: Any) -> None:
    if stack.stack.state.owner.uid == 0:
        pytest.skip("root may open any socket")
    socket_file = stack.frames_socket
    mode = socket_file.stat().st_mode
    socket_file.chmod(0)
    try:
        outcome = outcome_of(connect(autocommit=True), QUICK)
    finally:
        socket_file.chmod(mode & 0o777)
    assert outcome.sqlstate == "08001", outcome
    assert "permi" in (outcome.message + outcome.detail + outcome.hint).lower()
    assert outcome_of(connect(autocommit=True), QUICK).sqlstate == ""
