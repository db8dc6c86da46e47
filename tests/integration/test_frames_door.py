"""The frames door over a real socket: the protocol's rules, credits, cancel, trust."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from frames_process import Client, FramesServer, bulk, embed_open, serving
from pgannex_wire.frame import BULK, LAST, MISSING, PUSH, SINGLE, UNORDERED, FrameType, pack_frame
from pgannex_wire.message import Arg, Column, Heartbeat, Hello, Need, Open, Part
from pgannex_wire.values import (
    INT4,
    INT8,
    JSON,
    TEXT_OID,
    ColumnBlock,
    pack_fixed,
    pack_texts,
    pack_values,
    split_values,
    unpack_fixed,
)

SLOW = {"sleep_ms": 600_000}
# hang_s: a worker that nobody waits for any more is given up after a few seconds, for the next test
MODELS = """
[limits]
hang_s = 4
[models.slow]
engine = "echo"
[models.small]
engine = "echo"
options = { dimensions = 8 }
aliases = ["tiny"]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[FramesServer]:
    with serving(MODELS) as made:
        yield made


def closed(client: Client) -> bool:
    """Whether the server closes its end."""
    try:
        while True:
            client.next()
    except EOFError:
        return True


# -- the scalar call ------------------------------------------------------------------------


def test_open_need_not_wait_for_welcome(server: FramesServer) -> None:
    with Client(server.socket, hello=False) as client:
        client.send(Hello(1, 0, 1, "t", "d", "a").encode() + embed_open("text"))
        client.expect(FrameType.ROWS)
        client.expect(FrameType.END)
        beats = FrameType.HEARTBEAT  # on a busy machine, while the worker starts
        seen = [type_ for type_ in client.seen if type_ != beats]
        assert seen == [FrameType.WELCOME, FrameType.ROWS, FrameType.END]


def test_a_connection_carries_one_request_after_the_other(client: Client) -> None:
    vectors = [client.embed(f"text {i % 3}") for i in range(30)]
    assert all(vectors[i] == vectors[i % 3] for i in range(30))
    assert len({bytes(v) for v in vectors}) == 3


def test_calls_that_differ_in_more_than_the_text_are_not_mixed_up(client: Client) -> None:
    plain, prompted = client.embed("x"), client.embed("x", kwargs={"prompt": "p "})
    small = client.embed("x", model="small")
    assert (len(small), len(plain)) == (8, 384)
    assert plain != prompted == client.embed("p x")
    assert client.embed("") == client.embed("", kwargs={})
    assert client.embed("x", model="small", kwargs={"prompt": "p "}) == client.embed("p x", model="small")


def test_outputs_come_in_the_order_and_type_that_was_asked_for(client: Client) -> None:
    args = (Arg("model", TEXT_OID, b"small"), Arg("input", TEXT_OID, b"a b"))
    for oid in (INT4, INT8):
        outputs = (Column("tokens", oid), Column("error", TEXT_OID), Column("embedding", 0))
        client.send(Open("embed", SINGLE, 0, "r", "", args, (), outputs).encode())
        block = ColumnBlock.decode(client.expect(FrameType.ROWS).payload)
        assert unpack_fixed(block.columns[0], oid, 1) == [4]
        client.expect(FrameType.END)
    assert split_values(block.columns[1], 1) == [None]
    (text,) = split_values(block.columns[2], 1)
    assert text is not None and text.startswith(b"{") and text.count(b",") == 7


def test_large_texts_pass(client: Client) -> None:
    assert len(client.embed("word " * 200_000)) == 384


@pytest.mark.parametrize(
    ("how", "code", "sqlstate"),
    [
        ({"model": "nope"}, "unknown_model", "XX000"),
        ({"kwargs": {"nope": 1}}, "bad_argument", "22023"),
        ({"kwargs": {"dimensions": 1000}}, "bad_argument", "22023"),
        ({"kwargs": {"x" * 1_000_000: 1}}, "bad_argument", "22023"),
        ({"outputs": ("nope",)}, "bad_argument", "22023"),
        ({"on_error": "nope"}, "bad_argument", "22023"),
        ({"grant": "{"}, "protocol_violation", "08P01"),
        ({"deadline_ms": 300, "kwargs": SLOW, "model": "slow"}, "deadline", "57014"),
    ],
)
def test_what_is_refused_says_why_and_closes(
    client: Client, how: dict[str, object], code: str, sqlstate: str
) -> None:
    client.send(embed_open("x", **how))  # type: ignore[arg-type]
    failure = client.failure()
    assert (failure.code, failure.sqlstate) == (code, sqlstate)
    assert closed(client)


def test_an_unknown_model_s_hint_names_those_there_are(client: Client) -> None:
    client.send(embed_open("x", model="nope"))
    assert client.failure().hint == "available models: echo, slow, small, tiny"


def test_json_too_deep_to_be_read_is_a_bad_argument(client: Client) -> None:
    deep = b'{"prompt": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    args = (Arg("model", TEXT_OID, b"echo"), Arg("input", TEXT_OID, b"x"), Arg("kwargs", JSON, deep))
    client.send(Open("embed", SINGLE, 0, "", "", args, (), (Column("tokens", INT4),)).encode())
    assert client.failure().code == "bad_argument"


def test_what_nobody_foresaw_is_answered_and_logged(client: Client, server: FramesServer) -> None:
    # The grant is the database's own: nobody checks how deep it is.
    client.send(embed_open("x", grant="[" * 100_000))
    assert client.failure().code == "internal"
    assert "RecursionError" in server.log.read_text()


def test_a_long_value_is_not_repeated_in_full(client: Client) -> None:
    client.send(embed_open("x", model="m" * 1_000_000))
    failure = client.failure()
    assert failure.code == "unknown_model"
    assert len(failure.message) < 3000


def test_bad_bytes_are_invalid_text(client: Client) -> None:
    args = (Arg("model", TEXT_OID, b"echo"), Arg("input", TEXT_OID, b"\xff\xfe"))
    client.send(Open("embed", SINGLE, 0, "", "", args, (), (Column("tokens", INT4),)).encode())
    assert client.failure().code == "invalid_text"


# -- batches ----------------------------------------------------------------------------------


def test_rows_come_back_in_order_with_their_keys(client: Client) -> None:
    texts = [("word " * (i % 50)) + str(i) for i in range(3000)]
    answer = bulk(client, texts, per_batch=100)
    assert answer.keys == [str(i) for i in range(3000)]
    assert answer.answered == list(range(30))
    assert answer.end is not None and answer.end.rows == 3000 and answer.end.model == "echo"
    for i in (0, 1, 1234, 2999):
        assert answer.vectors[i] == client.embed(texts[i]).tobytes()


def test_unordered_rows_are_the_same_rows(client: Client) -> None:
    texts = [("word " * (i % 50)) + str(i) for i in range(3000)]
    ordered = bulk(client, texts, per_batch=100)
    unordered = bulk(client, texts, per_batch=100, flags=BULK | UNORDERED)
    assert sorted(unordered.answered) == list(range(30))
    pairs = zip(ordered.keys, ordered.vectors, strict=True)
    assert dict(pairs) == dict(zip(unordered.keys, unordered.vectors, strict=True))


@pytest.mark.parametrize("flags", [0, UNORDERED])
def test_empty_batches_and_empty_requests_are_answered(client: Client, flags: int) -> None:
    assert bulk(client, [], per_batch=1, flags=flags).keys == []
    client.send(embed_open(None, flags=flags, outputs=("key",)))
    client.batch(0, [], [])
    client.batch(1, ["k"], ["text"], last=True)
    frames = [client.expect(FrameType.ROWS) for _ in range(2)]
    assert sorted((f.seq, f.flags & LAST, ColumnBlock.decode(f.payload).nrows) for f in frames) == [
        (0, LAST, 0),
        (1, LAST, 1),
    ]
    client.expect(FrameType.END)


def test_a_null_is_an_error_with_its_position(client: Client) -> None:
    client.send(embed_open(None, flags=0))
    client.batch(0, ["a", "b"], ["x", "y"])
    client.batch(1, ["c", "d"], ["z", None], last=True)
    failure = client.failure()
    assert (failure.code, failure.sqlstate) == ("null_input", "22004")
    assert "element 4" in failure.message


@pytest.mark.parametrize("on_error", ["null", "status"])
def test_a_bad_row_does_not_lose_the_others(client: Client, on_error: str) -> None:
    texts = ["good", None, "poison", "also good"]
    answer = bulk(client, texts, 2, flags=0, on_error=on_error, kwargs={"fail": "poison"})
    assert answer.keys == ["0", "1", "2", "3"]
    assert [v is None for v in answer.vectors] == [False, True, True, False]
    told = ["", "null_input", "internal", ""] if on_error == "status" else [""] * 4
    assert [(e or "").split(":")[0] for e in answer.errors] == told


def test_a_text_beyond_the_limit_is_too_large() -> None:
    with serving("[limits]\nmax_text_bytes = 1000") as server, server.client() as client:
        client.send(embed_open("x" * 1001))
        assert client.failure().code == "too_large"
        with server.client() as other:
            assert len(other.embed("x" * 1000)) == 384


def test_fixed_columns_pass_through(client: Client) -> None:
    args = (Arg("model", TEXT_OID, b"small"),)
    columns = (Column("id", INT8), Column("input", TEXT_OID))
    outputs = (Column("id", INT8), Column("tokens", INT4))
    client.send(Open("embed", 0, 0, "", "", args, columns, outputs).encode())
    block = ColumnBlock(3, (pack_fixed(INT8, 8, [1 << 40, None, -5]), pack_texts(["a", "b", "c"])))
    client.send(pack_frame(FrameType.BATCH, block.encode(), LAST, 0))
    rows = ColumnBlock.decode(client.expect(FrameType.ROWS).payload)
    expected = [(1 << 40).to_bytes(8, "big"), None, (-5).to_bytes(8, "big", signed=True)]
    assert split_values(rows.columns[0], rows.nrows) == expected
    client.expect(FrameType.END)


def test_pushed_rows_are_acknowledged_and_digested(client: Client) -> None:
    names = ("column_name", "row_count", "null_count", "sha256")
    columns = (Column("t", TEXT_OID), Column("n", INT4))
    wanted = tuple(Column(name, 0) for name in names)
    client.send(Open("digest", PUSH, 0, "", "", (), columns, wanted).encode())
    batches: tuple[list[str | None], ...] = (["a", None], ["b"])
    for seq, texts in enumerate(batches):
        block = ColumnBlock(len(texts), (pack_texts(texts), pack_fixed(INT4, 4, [7] * len(texts))))
        client.send(pack_frame(FrameType.BATCH, block.encode(), 0, seq))
        assert client.expect(FrameType.ACK).seq == seq
    client.send(pack_frame(FrameType.DONE))
    rows = ColumnBlock.decode(client.expect(FrameType.ROWS).payload)
    got = list(zip(*[split_values(column, rows.nrows) for column in rows.columns], strict=True))
    text = hashlib.sha256(pack_texts(["a", None, "b"]).data).hexdigest().encode()
    number = hashlib.sha256(pack_values([(7).to_bytes(4, "big")] * 3).data).hexdigest().encode()
    assert got == [(b"t", b"3", b"1", text), (b"n", b"3", b"0", number)]


# -- artifacts ----------------------------------------------------------------------------------


def test_an_artifact_is_asked_for_once_and_changes_the_result(server: FramesServer) -> None:
    data = os.urandom(3000)
    hash = hashlib.sha256(data).hexdigest()
    with server.client() as client:
        client.send(embed_open("x", kwargs={"artifact": hash}))
        assert Need.decode(client.expect(FrameType.NEED).payload).hash == hash
        for seq in range(3):
            part = Part(hash, data[seq * 1000 : (seq + 1) * 1000])
            client.send(part.encode(seq, LAST if seq == 2 else 0))
        first = client.expect(FrameType.ROWS).payload
        client.expect(FrameType.END)
    with server.client() as other:
        again = other.embed("x", kwargs={"artifact": hash}).tobytes()
        assert again in first and again != other.embed("x").tobytes()


@pytest.mark.parametrize(
    ("data", "flags", "code"),
    [(b"wrong", LAST, "artifact_invalid"), (b"", LAST | MISSING, "artifact_missing")],
)
def test_an_artifact_that_does_not_come_fails_the_request(
    client: Client, data: bytes, flags: int, code: str
) -> None:
    hash = hashlib.sha256(os.urandom(9)).hexdigest()
    client.send(embed_open("x", kwargs={"artifact": hash}))
    client.expect(FrameType.NEED)
    client.send(Part(hash, data).encode(0, flags))
    assert client.failure().code == code


# -- a full queue ---------------------------------------------------------------------------------


def test_who_waits_for_nothing_does_not_fill_the_queue() -> None:
    with serving("[limits]\nqueue = 2") as server, ExitStack() as held:
        for _ in range(5):
            idle = held.enter_context(Client(server.socket))
            idle.send(embed_open(None, flags=0))
        with Client(server.socket) as client:
            assert len(client.embed("x")) == 384
        idle.batch(0, ["k"], ["text"], last=True)
        idle.expect(FrameType.ROWS)


# -- rules ----------------------------------------------------------------------------------------


def _no_hello() -> bytes:
    return embed_open("x")


VIOLATIONS = {
    "OPEN before HELLO": _no_hello(),
    "another major": Hello(9, 0, 1, "t", "", "").encode(),
    "HELLO twice": Hello(1, 0, 1, "t", "", "").encode() * 2,
    "a frame of the server's": Hello(1, 0, 1, "t", "", "").encode() + pack_frame(FrameType.END),
    "a batch without a request": Hello(1, 0, 1, "t", "", "").encode() + pack_frame(FrameType.BATCH),
    "two requests at once": Hello(1, 0, 1, "t", "", "").encode()
    + embed_open("x", kwargs=SLOW, model="slow") * 2,
    "a length beyond the limit": b"\xff\xff\xff\xff" + bytes(8),
    "more rows than a block may claim": Hello(1, 0, 1, "t", "", "").encode()
    + embed_open(None, flags=0)
    + pack_frame(FrameType.BATCH, b"\xff\xff\xff\xff\0\0"),
    "a HELLO without an end": b"\0\x10\0\0\x01" + bytes(7 + (70 << 10)),
    "a payload that ends early": pack_frame(FrameType.HELLO, b"\0\1"),
}


@pytest.mark.parametrize("name", list(VIOLATIONS))
def test_who_breaks_the_rules_is_told_and_closed(server: FramesServer, name: str) -> None:
    with Client(server.socket, hello=False) as client:
        client.send(VIOLATIONS[name])
        assert client.failure().code == "protocol_violation"
        assert closed(client)
    assert server.in_flight() == 0


def test_who_says_nothing_is_not_waited_for(server: FramesServer, client: Client) -> None:
    with Client(server.socket, hello=False) as silent:
        silent.send(b"\0")
        assert silent.failure().message == "no HELLO came"
        assert closed(silent)
    client.embed("who said HELLO is served, however late")


@pytest.mark.parametrize("names", ["outputs", "args", "columns"])
def test_a_name_that_comes_twice_is_a_bad_argument(client: Client, names: str) -> None:
    arg, column = Arg("input", TEXT_OID, b"x"), Column("input", TEXT_OID)
    args = (Arg("model", TEXT_OID, b"echo"), arg) + (arg,) * (names == "args")
    columns = (column,) * (names == "columns")
    wanted = (Column("tokens", 23),) * (2 if names == "outputs" else 1)
    client.send(Open("embed", SINGLE, 0, "app", "", args, columns, wanted).encode())
    failure = client.failure()
    assert (failure.code, "named twice" in failure.message) == ("bad_argument", True)


def test_more_batches_than_credits_are_a_violation(client: Client) -> None:
    client.send(embed_open(None, flags=0, model="slow", kwargs=SLOW))
    for seq in range(17):
        client.batch(seq, ["k"], ["text"])
    assert "16 batches are unanswered" in client.failure().message


def test_batches_out_of_turn_are_a_violation(client: Client) -> None:
    client.send(embed_open(None, flags=0))
    client.batch(1, ["k"], ["text"])
    assert client.failure().code == "protocol_violation"


def test_an_ignorable_frame_is_ignored(client: Client) -> None:
    client.send(pack_frame(0x41, b"future") + embed_open("x"))
    client.expect(FrameType.ROWS)


def test_a_running_request_has_a_heartbeat(client: Client) -> None:
    client.send(embed_open("x", model="slow", kwargs={"sleep_ms": 2500}))
    while (frame := client.next()).type != FrameType.ROWS:
        if frame.type == FrameType.HEARTBEAT:
            assert Heartbeat.decode(frame.payload) == Heartbeat(0, 0)
    assert FrameType.HEARTBEAT in client.seen
