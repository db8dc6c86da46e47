"""The verb predict over the frames socket: a real server, a real predictor, real artifacts.

What a call gives, where the bytes come from, who asks for them, what wrong rows and wrong
artifacts lead to.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from frames_process import Client, FramesServer, serving, stat_open, until
from pgannex_server.tabular import artifact
from pgannex_wire.frame import BULK, LAST, FrameType, pack_frame
from pgannex_wire.message import Column, Failure
from pgannex_wire.values import (
    FLOAT8S,
    TEXT_OID,
    ColumnBlock,
    RawColumn,
    pack_texts,
    pack_values,
    split_values,
)
from predict_client import (
    ARRAY_COLUMNS,
    WIDE_ARRAY_COLUMNS,
    Artifact,
    answer,
    array_block,
    bulk,
    fitted,
    give,
    give_nothing,
    predict,
    predict_open,
    real_array,
    refusal,
    rows_open,
    table_block,
    table_columns,
)

WIDTH = 4
NAMES = [f"f{j}" for j in range(WIDTH)]
RNG = np.random.default_rng(7)
MATRIX = RNG.normal(size=(600, WIDTH))
WEIGHTS = np.array([1.0, -2.0, 3.0, 0.5])
TARGET = MATRIX @ WEIGHTS


@pytest.fixture(scope="module")
def server() -> Iterator[FramesServer]:
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def linear(server: FramesServer) -> Artifact:
    """A model that is exact, so that its answers can be computed here."""
    return fitted(server, MATRIX, TARGET, "linear")


@pytest.fixture(scope="module")
def trees(server: FramesServer) -> Artifact:
    return fitted(server, MATRIX, TARGET, "xgboost")


@pytest.fixture(scope="module")
def classes(server: FramesServer) -> Artifact:
    return fitted(server, MATRIX, TARGET > 0, "xgboost", task="classification")


@pytest.fixture
def client(server: FramesServer) -> Iterator[Client]:
    with server.client() as made:
        yield made


SEEDS = itertools.count(1000)


def fresh(server: FramesServer) -> Artifact:
    """A model that the server has not seen: its seed is nobody else's."""
    return fitted(server, MATRIX[:100], TARGET[:100], "linear", seed=next(SEEDS))


# -- what a call gives ---------------------------------------------------------------------------


def test_the_first_call_sends_the_artifact_and_the_next_ones_do_not(
    server: FramesServer, linear: Artifact
) -> None:
    with server.client() as first:
        assert predict(first, linear, MATRIX[0]) == pytest.approx(TARGET[0], abs=1e-4)
    with server.client() as second:
        for row, wanted in zip(MATRIX[1:6], TARGET[1:6], strict=True):
            second.send(predict_open(linear.hash, row))
            assert answer(second, None)["prediction"] == [pytest.approx(wanted, abs=1e-4)]
        assert FrameType.NEED not in second.seen


def test_several_rows_in_one_array(client: Client, linear: Artifact) -> None:
    outputs = ("prediction", "predictions")
    client.send(predict_open(linear.hash, MATRIX[:7], outputs=outputs))
    got = answer(client, linear, outputs)
    assert got["predictions"] == [pytest.approx(TARGET[:7], abs=1e-4)]
    assert got["prediction"] == [pytest.approx(TARGET[0], abs=1e-4)]


def test_an_array_of_many_rows_is_computed_in_slices(client: Client, linear: Artifact) -> None:
    many = np.tile(MATRIX, (20, 1))
    client.send(predict_open(linear.hash, many, outputs=("predictions",)))
    got = answer(client, linear, ("predictions",))
    assert got["predictions"] == [pytest.approx(np.tile(TARGET, 20), abs=1e-4)]


def test_probabilities_and_classes(client: Client, classes: Artifact) -> None:
    outputs = ("prediction", "probabilities")
    at = int(np.argmax(TARGET))
    client.send(predict_open(classes.hash, MATRIX[at], outputs=outputs))
    got = answer(client, classes, outputs)
    assert got["prediction"] == [1.0]
    (pair,) = got["probabilities"]
    assert pair[1] > 0.5
    assert sum(pair) == pytest.approx(1.0, abs=1e-5)


def test_a_row_by_the_names_of_its_columns(client: Client, linear: Artifact) -> None:
    row = json.dumps(dict(zip(NAMES, MATRIX[3].tolist(), strict=True)))
    client.send(predict_open(linear.hash, row=row))
    assert answer(client, linear)["prediction"] == [pytest.approx(TARGET[3], abs=1e-4)]


def test_the_models_are_seen_in_stat_models(server: FramesServer, client: Client, trees: Artifact) -> None:
    predict(client, trees, MATRIX[0])
    names = ("model", "state", "engine", "requests", "rows", "pid", "memory_bytes", "source")
    (row,) = [row for row in server.rows("stat_models", *names) if row["source"] == trees.hash]
    assert row["model"] == f"test ({trees.hash[:8]})"
    assert (row["state"], row["engine"]) == ("ready", "xgboost")
    assert int(row["requests"] or 0) >= 1
    assert int(row["memory_bytes"] or 0) > 0


# -- wrong calls ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, WIDTH - 1, WIDTH + 1, 0])
def test_a_wrong_width_says_both_numbers(client: Client, linear: Artifact, count: int) -> None:
    failure = refusal(client, predict_open(linear.hash, [1.0] * count), linear)
    assert (failure.code, failure.sqlstate) == ("bad_argument", "22023")
    assert f"{WIDTH} features" in failure.message
    assert str(count) in failure.message
    assert str(WIDTH) in failure.hint


def test_nan_is_a_missing_value_for_trees_and_an_error_for_linear_models(
    server: FramesServer, linear: Artifact, trees: Artifact
) -> None:
    row = [float("nan"), 1.0, 1.0, 1.0]
    with server.client() as client:
        assert np.isfinite(predict(client, trees, row))
        failure = refusal(client, predict_open(linear.hash, row), linear)
    assert failure.code == "bad_argument"
    assert "NaN" in failure.message


@pytest.mark.parametrize(
    ("opened", "says"),
    [
        (predict_open("abc", [1.0]), 'artifact = "abc" is not the hash'),
        (predict_open("a" * 64), "needs features or a row"),
        (predict_open("a" * 64, [1.0], row="{}"), "needs features or a row"),
        (rows_open("a" * 64, ARRAY_COLUMNS, on_error="maybe"), 'on_error = "maybe" is unknown'),
    ],
)
def test_calls_that_make_no_sense_are_refused_before_anything_is_asked_for(
    client: Client, opened: bytes, says: str
) -> None:
    failure = refusal(client, opened)
    assert failure.code == "bad_argument"
    assert says in failure.message
    assert failure.hint


def test_a_question_that_the_model_has_no_answer_to(client: Client, linear: Artifact) -> None:
    failure = refusal(client, predict_open(linear.hash, MATRIX[0], outputs=("probabilities",)), linear)
    assert failure.code == "bad_argument"
    assert "probabilit" in failure.message


def test_of_several_outputs_those_that_the_model_has_not_are_null(client: Client, linear: Artifact) -> None:
    outputs = ("prediction", "probabilities", "label", "score", "components")
    client.send(predict_open(linear.hash, MATRIX[0], outputs=outputs))
    got = answer(client, linear, outputs)
    assert got.pop("prediction") == [pytest.approx(TARGET[0], abs=1e-4)]
    assert all(cells == [None] for cells in got.values())
    more = ("key", "prediction", "probabilities", "label", "score", "error")
    found = bulk(client, linear, table_columns(NAMES), [table_block(MATRIX[:3])], more)
    assert found["prediction"] == pytest.approx(TARGET[:3], abs=1e-4)
    assert found["probabilities"] == found["score"] == found["label"] == [None] * 3


# -- artifacts ---------------------------------------------------------------------------------------


def test_an_artifact_that_the_database_lacks(server: FramesServer, client: Client) -> None:
    client.send(predict_open("b" * 64, [1.0]))
    client.expect(FrameType.NEED)
    give_nothing(client, "b" * 64)
    failure = client.failure()
    assert failure.code == "artifact_missing"
    until("nothing of it is kept", lambda: not _seen(server, "b" * 64))


def test_bytes_that_another_key_signed_are_not_loaded(server: FramesServer, client: Client) -> None:
    good = fresh(server)
    forged = bytearray(good.data)
    forged[-1] ^= 1
    found = Artifact.__new__(Artifact)
    found.data = bytes(forged)
    found.hash = hashlib.sha256(found.data).hexdigest()
    failure = refusal(client, predict_open(found.hash, [1.0] * WIDTH), found)
    assert failure.code == "artifact_invalid"
    assert "key" in failure.hint
    with server.client() as again:
        again.send(predict_open(found.hash, [1.0] * WIDTH))
        again.expect(FrameType.NEED)


def test_bytes_that_are_others_than_asked_for(server: FramesServer, client: Client) -> None:
    wanted, other = fresh(server), fresh(server)
    client.send(predict_open(wanted.hash, [1.0] * WIDTH))
    client.expect(FrameType.NEED)
    give(client, other, hash=wanted.hash)
    assert client.failure().code == "artifact_invalid"


def test_of_several_that_need_the_same_artifact_one_asks(server: FramesServer) -> None:
    found = fresh(server)
    first, second = server.client(), server.client()
    with first, second:
        first.send(predict_open(found.hash, MATRIX[0]))
        first.expect(FrameType.NEED)
        second.send(predict_open(found.hash, MATRIX[1]))
        until("the second waits", lambda: _waiting(server) == 2)
        give(first, found)
        assert answer(first, None)["prediction"] == [pytest.approx(TARGET[0], abs=1e-3)]
        assert answer(second, None)["prediction"] == [pytest.approx(TARGET[1], abs=1e-3)]
        assert FrameType.NEED not in second.seen


@pytest.mark.parametrize("how", ["goes away", "has the wrong bytes", "has none"])
def test_where_the_one_that_asked_fails_the_next_one_asks(server: FramesServer, how: str) -> None:
    found, other = fresh(server), fresh(server)
    first, second = server.client(), server.client()
    with first, second:
        first.send(predict_open(found.hash, MATRIX[0]))
        first.expect(FrameType.NEED)
        second.send(predict_open(found.hash, MATRIX[1]))
        until("the second waits", lambda: _waiting(server) == 2)
        if how == "goes away":
            first.close()
        elif how == "has none":
            give_nothing(first, found.hash)
        else:
            give(first, other, hash=found.hash)
        assert answer(second, found)["prediction"] == [pytest.approx(TARGET[1], abs=1e-3)]


def test_parts_that_nobody_asked_for_are_refused(
    client: Client, linear: Artifact, server: FramesServer
) -> None:
    found = fresh(server)
    client.send(predict_open(found.hash, MATRIX[0]))
    client.expect(FrameType.NEED)
    give(client, linear)
    assert client.failure().code == "protocol_violation"


@pytest.mark.parametrize("signed", [True, False])
def test_a_large_artifact_is_verified_as_well(server: FramesServer, client: Client, signed: bool) -> None:
    meta, blobs = artifact.read(fresh(server).data)
    large = Artifact(server, artifact.build(meta, {**blobs, "padding": bytes(9 << 20)}))
    if signed:
        assert predict(client, large, MATRIX[0]) == pytest.approx(TARGET[0], abs=1e-3)
        return
    forged = bytearray(large.data)
    forged[-40] ^= 1
    large.data, large.hash = bytes(forged), hashlib.sha256(forged).hexdigest()
    assert refusal(client, predict_open(large.hash, MATRIX[0]), large).code == "artifact_invalid"


# -- rows --------------------------------------------------------------------------------------------


def test_rows_by_the_names_of_their_columns_in_any_order(client: Client, linear: Artifact) -> None:
    turned = MATRIX[:, ::-1]
    blocks = [table_block(turned[at : at + 100], at) for at in range(0, 600, 100)]
    got = bulk(client, linear, table_columns(NAMES[::-1]), blocks)
    assert sorted(got["key"], key=int) == [str(i) for i in range(600)]
    found = dict(zip(got["key"], got["prediction"], strict=True))
    assert [found[str(i)] for i in range(600)] == pytest.approx(TARGET, abs=1e-4)


def test_rows_with_one_array_each(client: Client, linear: Artifact) -> None:
    got = bulk(
        client, linear, ARRAY_COLUMNS, [array_block(list(MATRIX[:50])), array_block(list(MATRIX[50:60]), 50)]
    )
    assert dict(zip(got["key"], got["prediction"], strict=True))["55"] == pytest.approx(TARGET[55], abs=1e-4)


def test_a_query_without_rows(client: Client, linear: Artifact) -> None:
    assert bulk(client, linear, ARRAY_COLUMNS, [])["key"] == []
    assert bulk(client, linear, table_columns(NAMES), [table_block(MATRIX[:0])])["key"] == []


def test_columns_that_the_query_lacks_are_named(client: Client, linear: Artifact) -> None:
    client.send(rows_open(linear.hash, table_columns(["f0", "f2", "other"])))
    client.send(pack_frame(FrameType.BATCH, table_block(MATRIX[:2, :3]).encode(), LAST, 0))
    failure = _failure(client, linear)
    assert failure.code == "bad_argument"
    assert "f1, f3" in failure.message


def _wrong_rows() -> tuple[list[Any], list[int]]:
    rows: list[Any] = [list(row) for row in MATRIX[:10]]
    rows[2], rows[5], rows[9] = None, [1.0], [float("nan")] * WIDTH
    return rows, [2, 5, 9]


@pytest.mark.parametrize("on_error", ["null", "status"])
def test_rows_that_fail_are_null_and_may_say_why(client: Client, linear: Artifact, on_error: str) -> None:
    rows, bad = _wrong_rows()
    outputs = ("key", "prediction", "error")
    got = bulk(client, linear, ARRAY_COLUMNS, [array_block(rows)], outputs, on_error=on_error)
    for i in range(10):
        if i in bad:
            assert got["prediction"][i] is None
            assert (got["error"][i] is not None) == (on_error == "status")
        else:
            assert got["prediction"][i] == pytest.approx(TARGET[i], abs=1e-4)
            assert got["error"][i] is None
    if on_error == "status":
        assert "4 features" in got["error"][5]


def test_a_row_that_fails_names_its_position(client: Client, linear: Artifact) -> None:
    rows, _bad = _wrong_rows()
    client.send(rows_open(linear.hash, ARRAY_COLUMNS))
    client.send(pack_frame(FrameType.BATCH, array_block(list(MATRIX[:10])).encode(), 0, 0))
    client.send(pack_frame(FrameType.BATCH, array_block(rows, 10).encode(), LAST, 1))
    failure = _failure(client, linear)
    assert failure.sqlstate == "22004"
    assert "row 13" in failure.message
    assert "on_error" in failure.hint


def test_null_columns_where_nothing_was_trained_to_fill_them(client: Client, linear: Artifact) -> None:
    nulls = np.zeros((10, WIDTH), dtype=bool)
    nulls[4, 1] = True
    outputs = ("key", "prediction", "error")
    blocks = [table_block(MATRIX[:10], nulls=nulls)]
    got = bulk(client, linear, table_columns(NAMES), blocks, outputs, on_error="status")
    assert [i for i in range(10) if got["prediction"][i] is None] == [4]
    assert "f1" in got["error"][4]
    client.send(rows_open(linear.hash, table_columns(NAMES)))
    client.send(pack_frame(FrameType.BATCH, blocks[0].encode(), LAST, 0))
    assert "row 5" in _failure(client, linear).message


def test_a_batch_of_rows_as_json(client: Client, linear: Artifact) -> None:
    texts = [json.dumps(dict(zip(NAMES, row, strict=True))) for row in MATRIX[:5].tolist()]
    client.send(rows_open(linear.hash, [Column("row", TEXT_OID)], ("prediction",), flags=0))
    client.send(pack_frame(FrameType.BATCH, ColumnBlock(5, (pack_texts(texts),)).encode(), LAST, 0))
    assert answer(client, linear)["prediction"] == pytest.approx(TARGET[:5], abs=1e-4)


# -- many ---------------------------------------------------------------------------------------------


def test_a_hundred_clients_at_once_and_two_models(
    server: FramesServer, linear: Artifact, trees: Artifact
) -> None:
    with server.client() as client:
        predict(client, linear, MATRIX[0])
        wanted = [predict(client, trees, row) for row in MATRIX[:20]]
    wrong: list[str] = []

    def work(number: int) -> None:
        with server.client() as own:
            for at in range(20):
                if number % 2:
                    got, right = predict(own, linear, MATRIX[at]), TARGET[at]
                else:
                    got, right = predict(own, trees, MATRIX[at]), wanted[at]
                if got != pytest.approx(right, abs=1e-3):
                    wrong.append(f"client {number}, row {at}: {got}, not {right}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_scalar_call_is_answered_while_a_bulk_request_runs(server: FramesServer, linear: Artifact) -> None:
    with server.client() as own, server.client() as other:
        predict(other, linear, MATRIX[0])
        own.send(rows_open(linear.hash, ARRAY_COLUMNS, flags=BULK))
        block = array_block(list(MATRIX))
        own.send(pack_frame(FrameType.BATCH, block.encode(), 0, 0))
        own.expect(FrameType.ROWS)
        own.send(pack_frame(FrameType.BATCH, block.encode(), 0, 1))
        assert predict(other, linear, MATRIX[1]) == pytest.approx(TARGET[1], abs=1e-4)
        own.expect(FrameType.ROWS)
        own.send(pack_frame(FrameType.DONE))
        own.expect(FrameType.END)


def test_a_cancelled_bulk_request_leaves_nothing_behind(server: FramesServer, linear: Artifact) -> None:
    with server.client() as own:
        predict(own, linear, MATRIX[0])
        own.send(rows_open(linear.hash, ARRAY_COLUMNS))
        for seq in range(own.window):
            own.send(pack_frame(FrameType.BATCH, array_block(list(MATRIX)).encode(), 0, seq))
    until("the server has dropped it", lambda: server.in_flight() == 0)
    with server.client() as other:
        assert predict(other, linear, MATRIX[2]) == pytest.approx(TARGET[2], abs=1e-4)


def _failure(client: Client, found: Artifact) -> Failure:
    while True:
        frame = client.next()
        if frame.type == FrameType.ERROR:
            return Failure.decode(frame.payload)
        if frame.type == FrameType.NEED:
            give(client, found)
        assert frame.type != FrameType.END, "the request ended well"


def _waiting(server: FramesServer) -> int:
    return sum(
        row["verb"] == "predict" and row["state"] in ("waiting for artifact", "asked")
        for row in server.rows("stat_activity", "verb", "state")
    )


def _seen(server: FramesServer, hash: str) -> bool:
    return any(row["source"] == hash for row in server.rows("stat_models", "source"))


# -- numbers that do not fit, and what others see ----------------------------------------------------


def test_whole_rows_of_another_width_say_how_many_came(client: Client, linear: Artifact) -> None:
    for values, columns in (
        (_int_array([1, 2, 3]), [ARRAY_COLUMNS[0], Column("features", 1007)]),
        (real_array([1.0, 2.0, 3.0]), ARRAY_COLUMNS),
    ):
        outputs = ("key", "prediction", "error")
        block = ColumnBlock(1, (pack_texts(["0"]), pack_values([values])))
        got = bulk(client, linear, columns, [block], outputs, on_error="status")
        assert got["error"] == ["bad_argument: the model has 4 features, the array 3"]


def test_a_number_beyond_real_is_an_error_of_its_row(client: Client, linear: Artifact) -> None:
    rows = MATRIX[:4].copy()
    rows[2, 1] = 1e300
    outputs = ("key", "prediction", "error")
    arrays = ColumnBlock(
        4, (pack_texts(list("0123")), RawColumn(FLOAT8S, np.full(4, WIDTH, ">i4").tobytes() + rows.tobytes()))
    )
    for columns, block in (
        (WIDE_ARRAY_COLUMNS, arrays),
        (table_columns(NAMES), table_block(rows)),
    ):
        got = bulk(client, linear, columns, [block], outputs, on_error="status")
        assert [i for i in range(4) if got["prediction"][i] is None] == [2]
        assert got["prediction"][3] == pytest.approx(TARGET[3], abs=1e-4)
        assert got["error"][2].startswith("out_of_range: ")
    row = json.dumps(dict(zip(NAMES, rows[2].tolist(), strict=True)))
    failure = refusal(client, predict_open(linear.hash, row=row), linear)
    assert (failure.code, failure.sqlstate) == ("out_of_range", "22003")
    assert "1e+300" in failure.message or "out of range for type real" in failure.message


def test_a_role_sees_the_trained_models_that_it_used_and_no_hash(
    server: FramesServer, client: Client, linear: Artifact
) -> None:
    predict(client, linear, MATRIX[0], role="alice")

    def seen_by(role: str) -> list[str]:
        with server.client() as one:
            one.send(stat_open("stat_models", ("source",), role=role, grant=""))
            block = ColumnBlock.decode(one.expect(FrameType.ROWS).payload)
            return [v.decode() for v in split_values(block.columns[0], block.nrows) if v is not None]

    assert linear.hash[:8] in seen_by("alice")
    assert linear.hash not in seen_by("alice")
    assert linear.hash[:8] not in seen_by("mallory")


def _int_array(values: list[int]) -> bytes:
    head = struct.pack("!iiiii", 1, 0, 23, len(values), 1)
    return head + b"".join(struct.pack("!ii", 4, value) for value in values)
