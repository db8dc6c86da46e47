"""The native host against a server that misbehaves: one error with the right code, and on.

tests/fake_server.py gives each behaviour by the name of the model; the fixture `peer` points
the cluster at it. The Multicorn host has the same tests in tests/multicorn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]
ONE = "SELECT tokens FROM pgml.embedding WHERE model = %s AND input = 'a b'"
ARRAY = "SELECT input, tokens FROM pgml.embedding WHERE model = %s AND input = ANY (%s)"
PUSH = "SELECT coalesce(sum(tokens), 0) FROM public.pushing WHERE model = %s AND query = %s"
ROWS = "SELECT g AS n, repeat('x', 1000) AS input FROM generate_series(1, 20000) AS g"
MANY = [f"word {n}" for n in range(3000)]


@pytest.fixture
def session(peer: None, connect: Callable[..., Database]) -> Database:
    return connect(autocommit=True)


BROKEN = {
    "garbage": "08P01",
    "huge": "08P01",
    "bad_block": "08P01",
    "early_end": "08P01",
    "welcoming": "08P01",
    "cut": "08006",
    "gone": "08006",
    "failing": "53000",
    "odd_state": "XX000",
}


@pytest.mark.parametrize("model", BROKEN)
@pytest.mark.parametrize("form", ["one", "array"])
def test_one_error_and_the_session_goes_on(session: Database, model: str, form: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        session.execute(ONE if form == "one" else ARRAY, [model] if form == "one" else [model, MANY])
    allowed = {BROKEN[model]}
    if model == "bad_block" and form == "array":
        allowed.add("08006")  # the peer closes while batches are on their way: that may be seen first
    assert caught.value.diag.sqlstate in allowed
    assert (caught.value.diag.message_detail or "").startswith("code: ")
    assert session.execute(ONE, ["proper"]).fetchall() == [(2,)]


def test_everything_in_an_error_arrives(session: Database) -> None:
    with pytest.raises(psycopg.Error) as caught:
        session.execute(ONE, ["failing"])
    diag = caught.value.diag
    assert diag.message_primary == "the queue is full: 512 requests"
    assert diag.message_detail == "code: overloaded\nnaïve 🐘"
    assert diag.message_hint == "try again"


@pytest.mark.parametrize("model", ["extra_rows", "fewer_rows"])
def test_rows_that_do_not_match_the_inputs_are_refused(session: Database, model: str) -> None:
    with pytest.raises(psycopg.errors.ProtocolViolation):
        session.execute(ARRAY, [model, ["a", "b"]])


def test_text_that_is_not_utf8_is_refused(session: Database) -> None:
    with pytest.raises(psycopg.errors.CharacterNotInRepertoire):
        session.execute("SELECT error FROM pgml.embedding WHERE model = 'bad_text' AND input = 'a'")


@pytest.mark.parametrize("model", ["proper", "bytewise", "split_rows", "slow_reader"])
def test_however_the_bytes_come_the_rows_are_whole(session: Database, model: str) -> None:
    texts = ["a b", "c", "", "d e f"] if model in ("bytewise", "split_rows") else MANY
    rows = session.execute(ARRAY, [model, texts]).fetchall()
    assert rows == [(text, len(text.split())) for text in texts]


def test_large_texts_pass_small_buffers_both_ways(session: Database) -> None:
    texts = ["x " * 500_000, "y", "z " * 700_000]
    rows = session.execute(
        "SELECT length(input), tokens FROM pgml.embedding WHERE model = 'slow_reader' AND input = ANY (%s)",
        [texts],
    ).fetchall()
    assert rows == [(1_000_000, 500_000), (1, 1), (1_400_000, 700_000)]


def test_rows_of_a_query_go_out_while_results_come_back(session: Database) -> None:
    query = "SELECT n, repeat('word ', n % 300) FROM generate_series(1, 5000) AS n"
    found = session.execute(
        "SELECT count(*), count(DISTINCT key), sum(tokens) FROM pgml.embedding_rows"
        " WHERE model = 'slow_reader' AND query = %s",
        [query],
    ).fetchone()
    assert found == (5000, 5000, sum(n % 300 for n in range(1, 5001)))


def test_notices_come_at_their_level(session: Database) -> None:
    seen: list[tuple[str | None, str | None]] = []
    session.add_notice_handler(lambda diag: seen.append((diag.severity_nonlocalized, diag.message_primary)))
    session.execute("SET client_min_messages = debug1")
    assert session.execute(ONE, ["noticing"]).fetchall() == [(2,)]
    wanted = [("DEBUG", 0), ("INFO", 1), ("NOTICE", 2), ("WARNING", 3), ("WARNING", 9)]
    assert [pair for pair in seen if pair[1] and pair[1].startswith("level")] == [
        (severity, f"level {level}") for severity, level in wanted
    ]


def test_an_idle_connection_that_died_is_opened_again(session: Database) -> None:
    for _ in range(3):
        assert session.execute(ONE, ["then_close"]).fetchall() == [(2,)]
        assert session.execute(ARRAY, ["then_close", ["a", "b c"]]).fetchall() == [("a", 1), ("b c", 2)]


@pytest.mark.parametrize("model", ["silent", "beating"])
def test_a_deadline_ends_what_the_server_does_not(session: Database, model: str) -> None:
    session.execute("SET pgannex.timeout = '300ms'")
    with pytest.raises(psycopg.errors.QueryCanceled) as caught:
        session.execute(ONE, [model])
    assert caught.value.diag.message_detail == "code: deadline"


def test_a_silent_server_is_noticed(session: Database) -> None:
    with pytest.raises(psycopg.errors.ConnectionFailure) as caught:
        session.execute(ONE, ["silent"])
    assert caught.value.diag.message_detail == "code: server_silent"


def test_a_savepoint_ends_only_its_own_scans(session: Database) -> None:
    with session.transaction():
        session.execute("DECLARE outside NO SCROLL CURSOR FOR " + ARRAY.replace("%s", "'proper'", 1), [MANY])
        assert len(session.execute("FETCH 2 FROM outside").fetchall()) == 2
        session.execute("SAVEPOINT here")
        session.execute("DECLARE inside NO SCROLL CURSOR FOR " + ARRAY.replace("%s", "'proper'", 1), [MANY])
        session.execute("FETCH 2 FROM inside")
        session.execute("ROLLBACK TO here")
        assert session.execute("FETCH 1 FROM outside").fetchall() == [("word 2", 2)]
        assert len(session.execute("FETCH ALL FROM outside").fetchall()) == len(MANY) - 3


@pytest.mark.parametrize("parts", [0, 1, 3])
def test_an_artifact_is_sent_when_it_is_needed(session: Database, parts: int) -> None:
    seen: list[str | None] = []
    session.add_notice_handler(lambda diag: seen.append(diag.message_primary))
    with session.transaction(force_rollback=True):
        session.execute("CREATE TABLE public.parts (hash text, part int, data bytea)")
        session.execute(
            "INSERT INTO public.parts SELECT 'h1', n, convert_to(repeat('x', 3000000), 'UTF8')"
            " FROM generate_series(1, %s) AS n",
            [parts],
        )
        session.execute(
            "ALTER FOREIGN TABLE pgml.embedding OPTIONS"
            " (ADD artifact 'SELECT data FROM public.parts WHERE hash = $1 ORDER BY part')"
        )
        question = "SELECT tokens FROM pgml.embedding WHERE model = 'needing' AND input = 'h1'"
        assert session.execute(question).fetchall() == [(1,)]
    assert seen == [f"h1: {max(parts, 1)} parts, {parts * 3_000_000} bytes, missing {parts == 0}"]


def test_a_pushed_query_is_sent_to_its_end(session: Database) -> None:
    assert session.execute(PUSH, ["pushed", ROWS]).fetchall() == [(0,)]
    assert session.execute(PUSH, ["pushed", "SELECT 1 AS input WHERE false"]).fetchall() == [(0,)]


@pytest.mark.parametrize("model", ["rows_too_early", "end_too_early", "ack_too_many"])
def test_a_push_that_is_answered_before_its_end_is_refused(session: Database, model: str) -> None:
    with pytest.raises(psycopg.errors.ProtocolViolation) as caught:
        session.execute(PUSH, [model, ROWS])
    assert caught.value.diag.message_detail == "code: protocol_violation"
    assert session.execute(ONE, ["proper"]).fetchall() == [(2,)]


def test_results_of_a_push_are_taken_frame_by_frame(session: Database) -> None:
    """640,000 rows come at once; the backend asks for the next frame when it has read one."""
    query = "SELECT 'a'::text AS input FROM generate_series(1, 3)"
    assert session.execute(PUSH, ["many_rows", query]).fetchall() == [(64 * 10_000 * 10 + 3,)]


def test_an_artifact_is_sent_in_the_middle_of_a_push(session: Database) -> None:
    seen: list[str | None] = []
    session.add_notice_handler(lambda diag: seen.append(diag.message_primary))
    assert session.execute(PUSH, ["needing_on_the_way", ROWS]).fetchall() == [(0,)]
    assert seen == ["3 parts, 0 missing"]


def test_a_request_that_ends_while_an_artifact_is_on_its_way_is_refused(session: Database) -> None:
    with pytest.raises(psycopg.errors.ProtocolViolation, match="artifact"):
        session.execute(ONE, ["needing_late"])
    assert session.execute(ONE, ["proper"]).fetchall() == [(2,)]


@pytest.mark.parametrize(("told", "kept"), [(0, 1), (3, 3), (64, 64), (65, 64), (2**32 - 1, 64)])
def test_the_window_that_the_server_gives_is_kept_within_bounds(
    peer: None, connect: Callable[..., Database], told: int, kept: int
) -> None:
    session = connect(autocommit=True, application_name=f"window={told}")
    seen: list[str | None] = []
    session.add_notice_handler(lambda diag: seen.append(diag.message_primary))
    assert session.execute(ONE, ["proper"]).fetchall() == [(2,)]
    texts = ["w"] * (512 * 70)
    rows = session.execute(ARRAY, ["hoarding", texts]).fetchall()
    assert len(rows) == len(texts)
    assert seen[0] == f"{kept} batches unanswered"
