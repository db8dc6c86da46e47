"""The wrapper against servers that misbehave, and the ways in which a scan ends early.

The fake server gives each behaviour by the name of the model; what the wrapper must do is
raise one error with the right code, or answer properly, and work again afterwards.
"""

from __future__ import annotations

import gc
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_server
import pytest
import stand_in
from foreign_tables import tables
from pgannex_fdw import client
from pgannex_fdw.wrapper import PgannexForeignDataWrapper
from stand_in import FakeBackend, PostgresError, Session, quals_of

EMBEDDING = tables()["embedding"]
BUFFERS = {"usual": 0, "tiny": 4096}


@pytest.fixture(scope="module", params=BUFFERS)
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fake server, once with socket buffers of the usual size and once with tiny ones."""
    with tempfile.TemporaryDirectory(prefix="annex") as folder:
        path = str(Path(folder) / "fake.sock")
        threading.Thread(target=fake_server.serve, args=(path, BUFFERS[request.param]), daemon=True).start()
        while not _answers(path):
            time.sleep(0.01)
        yield path


def _answers(path: str) -> bool:
    """A socket is there before anybody listens on it."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


@pytest.fixture
def fake(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBackend]:
    """The process as a backend that speaks to the fake server, and looks often."""
    from pgannex_fdw import backend

    monkeypatch.setattr(client, "CLIENT_CHECK_S", 0.0)
    found = FakeBackend(address)
    backend.install(found)
    client.POOL = client.Pool()
    yield found
    client.POOL.clear()


@pytest.fixture
def session(fake: FakeBackend) -> Session:
    return Session(PgannexForeignDataWrapper)


def one(session: Session, model: str, text: str = "a b", columns: tuple[str, ...] = ("tokens",)) -> Any:
    return session.read(EMBEDDING, columns, quals_of(EMBEDDING, {"model": model, "input": text}))


def batch(session: Session, model: str, texts: list[str]) -> list[list[Any]]:
    quals = quals_of(EMBEDDING, {"model": model, "input": {"any": texts}})
    return session.read(EMBEDDING, ["ordinal", "input", "embedding"], quals)


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("silent", "server_silent"),
        ("garbage", "protocol_violation"),
        ("huge", "protocol_violation"),
        ("cut", "connection_lost"),
        ("gone", "connection_lost"),
        ("bad_block", "protocol_violation"),
        ("extra_rows", "protocol_violation"),
        ("fewer_rows", "protocol_violation"),
        ("early_end", "protocol_violation"),
        ("failing", "overloaded"),
        ("odd_state", "internal"),
    ],
)
@pytest.mark.parametrize("form", ["single", "batch"])
def test_one_error_with_its_code(
    model: str, code: str, form: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(PostgresError) as caught:
        if model == "silent":
            patch.setattr(client, "SILENCE_S", 0.3)
        if form == "single":
            one(session, model)
        else:
            batch(session, model, ["a", "b", "c"])
    assert f"code: {code}," in caught.value.detail, caught.value.detail
    assert one(session, "fake", "three words here") == [[3]]


def test_text_that_is_not_utf8_never_reaches_a_row(session: Session) -> None:
    with pytest.raises(PostgresError) as caught:
        one(session, "bad_text", columns=("error",))
    assert "code: invalid_text," in caught.value.detail


@pytest.mark.parametrize("model", ["fake", "bytewise", "slow_reader", "split_rows"])
@pytest.mark.parametrize("count", [1, 3, 1300])
def test_a_batch_is_answered_in_order(model: str, count: int, session: Session) -> None:
    texts = ["x" * (n % 7) for n in range(count)]
    rows = batch(session, model, texts)
    assert rows == [[n, text, [float(len(text))]] for n, text in enumerate(texts, 1)]


def test_texts_larger_than_every_buffer(session: Session) -> None:
    texts = [str(n) + "x" * (1 << 20) for n in range(12)]
    assert [row[2] for row in batch(session, "slow_reader", texts)] == [[float(len(t))] for t in texts]


def test_a_connection_that_died_while_idle_is_replaced(session: Session) -> None:
    for _ in range(3):
        assert one(session, "then_close") == [[2]]


def test_notices_are_passed_on(session: Session) -> None:
    stand_in.notices.clear()
    assert one(session, "noticing") == [[2]]
    assert [text for _level, text in stand_in.notices] == [f"level {n}" for n in (0, 1, 2, 3, 9)]


def test_an_artifact_is_refused_and_the_request_goes_on(session: Session) -> None:
    stand_in.notices.clear()
    assert one(session, "needing", "abc") == [[1]]
    assert stand_in.notices[0][1] == "abc: 1 parts, 0 bytes, missing True"


def test_a_deadline_holds_where_the_server_only_beats(
    session: Session, fake: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "DEADLINE_GRACE_S", 0.0)
    fake.timeout = 300
    with pytest.raises(PostgresError) as caught:
        one(session, "beating")
    assert "code: deadline," in caught.value.detail


def test_an_interrupt_is_answered_by_a_row_that_no_qual_lets_pass(
    session: Session, fake: FakeBackend
) -> None:
    instance = session.instance(EMBEDDING)
    scan = instance.execute(quals_of(EMBEDDING, {"model": "beating", "input": "a"}), {"tokens"})
    fake.interrupt = True
    for _ in range(3):  # a barrier, say: Postgres looks, and asks for the next row
        assert set(next(scan)) == {None}
    fake.cancel = True
    with pytest.raises(PostgresError) as caught:
        list(scan)
    assert "sqlstate: 57014" in caught.value.detail
    assert instance._running == []


def test_a_client_that_went_away_ends_the_request(session: Session, fake: FakeBackend) -> None:
    fake.client_gone = True
    with pytest.raises(PostgresError, match="gone away"):
        one(session, "beating")


def test_a_scan_that_is_left_early_gives_its_connection_up(session: Session) -> None:
    instance = session.instance(EMBEDDING)
    texts = ["x"] * 2000
    quals = quals_of(EMBEDDING, {"model": "fake", "input": {"any": texts}})
    scan = instance.execute(quals, {"ordinal", "tokens"})
    next(scan)
    assert len(instance._running) == 1
    del scan
    gc.collect()
    assert instance._running == []
    assert one(session, "fake") == [[2]]


def test_a_rollback_ends_its_scans_and_a_savepoint_only_its_own(session: Session) -> None:
    instance = session.instance(EMBEDDING)

    def begin() -> Any:
        texts = quals_of(EMBEDDING, {"model": "fake", "input": {"any": ["x"] * 2000}})
        scan = instance.execute(texts, {"ordinal"})
        next(scan)
        return scan

    outer = begin()
    instance.sub_begin(2)
    inner = begin()
    assert len(instance._running) == 2
    instance.sub_rollback(2)
    assert len(instance._running) == 1
    assert len(list(outer)) == 1999
    third = begin()
    session.rollback()
    assert instance._running == []
    assert inner is not third


def test_several_requests_at_once_up_to_a_limit(session: Session) -> None:
    instance = session.instance(EMBEDDING)
    quals = quals_of(EMBEDDING, {"model": "fake", "input": {"any": ["x"] * 2000}})
    scans = [instance.execute(quals, {"ordinal"}) for _ in range(client.MAX_CONNECTIONS)]
    with pytest.raises(PostgresError) as caught:
        instance.execute(quals, {"ordinal"})
    assert "code: overloaded," in caught.value.detail
    assert [len(list(scan)) for scan in scans] == [2000] * client.MAX_CONNECTIONS
    assert one(session, "fake") == [[2]]


@pytest.mark.parametrize(
    ("path", "reason"), [("/nowhere/at.all", "no such file"), ("/dev/null", "connection refused")]
)
def test_no_server_is_an_error_of_class_08(
    path: str, reason: str, session: Session, fake: FakeBackend
) -> None:
    fake.path = path
    with pytest.raises(PostgresError, match=f"no server answers on {path}") as caught:
        one(session, "fake")
    assert reason in caught.value.detail
    assert "sqlstate: 08001" in caught.value.detail
