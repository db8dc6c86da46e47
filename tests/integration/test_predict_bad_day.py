"""The predictor's bad days: killed, stopped, out of room, without its libraries, too slow."""

from __future__ import annotations

import os
import signal
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from frames_process import FramesServer, serving, until
from pgannex_wire.frame import LAST, FrameType, pack_frame
from predict_client import (
    ARRAY_COLUMNS,
    Artifact,
    answer,
    array_block,
    fitted,
    predict,
    predict_open,
    refusal,
    rows_open,
)

WIDTH = 3
RNG = np.random.default_rng(3)
MATRIX = RNG.normal(size=(200, WIDTH))
TARGET = MATRIX.sum(axis=1)


@pytest.fixture(scope="module")
def server() -> Iterator[FramesServer]:
    with serving("[limits]\nhang_s = 2") as made:
        yield made


@pytest.fixture(scope="module")
def linear(server: FramesServer) -> Artifact:
    return fitted(server, MATRIX, TARGET, "linear")


def process_of(server: FramesServer, found: Artifact) -> int:
    """The pid of the predictor that holds a model, 0 if none does."""
    rows = server.rows("stat_models", "source", "state", "pid")
    return next((int(r["pid"] or 0) for r in rows if r["source"] == found.hash and r["state"] == "ready"), 0)


def test_a_killed_predictor_fails_what_it_computed_and_comes_back(
    server: FramesServer, linear: Artifact
) -> None:
    with server.client() as client:
        predict(client, linear, MATRIX[0])
        pid = process_of(server, linear)
        os.kill(pid, signal.SIGSTOP)
        client.send(predict_open(linear.hash, MATRIX[1]))
        until("the call runs", lambda: server.in_flight() == 1)
        os.kill(pid, signal.SIGKILL)
        failure = client.failure()
    assert (failure.code, failure.sqlstate) == ("worker_died", "58000")
    assert "predictor" in failure.message
    with server.client() as client:
        # The server still has the bytes: nobody is asked for them.
        client.send(predict_open(linear.hash, MATRIX[1]))
        assert answer(client, None)["prediction"] == [pytest.approx(TARGET[1], abs=1e-4)]
    assert process_of(server, linear) not in (0, pid)


def test_a_bulk_request_between_two_batches_survives_the_predictor(
    server: FramesServer, linear: Artifact
) -> None:
    with server.client() as client:
        predict(client, linear, MATRIX[0])
        pid = process_of(server, linear)
        client.send(rows_open(linear.hash, ARRAY_COLUMNS))
        client.send(pack_frame(FrameType.BATCH, array_block(list(MATRIX)).encode(), 0, 0))
        client.expect(FrameType.ROWS)
        os.kill(pid, signal.SIGKILL)
        until("another process has the model", lambda: process_of(server, linear) not in (0, pid))
        client.send(pack_frame(FrameType.BATCH, array_block(list(MATRIX)).encode(), LAST, 1))
        client.expect(FrameType.ROWS)
        client.expect(FrameType.END)


def test_a_hung_predictor_is_killed(server: FramesServer, linear: Artifact) -> None:
    with server.client() as client:
        predict(client, linear, MATRIX[0])
        os.kill(process_of(server, linear), signal.SIGSTOP)
        failure = refusal(client, predict_open(linear.hash, MATRIX[1]))
    assert failure.code == "worker_died"
    assert "took longer than 2 s" in failure.message


def test_a_deadline_that_passes(server: FramesServer, linear: Artifact) -> None:
    with server.client() as client:
        predict(client, linear, MATRIX[0])
        pid = process_of(server, linear)
        os.kill(pid, signal.SIGSTOP)
        try:
            failure = refusal(client, predict_open(linear.hash, MATRIX[1], deadline_ms=100))
        finally:
            os.kill(pid, signal.SIGCONT)
    assert (failure.code, failure.sqlstate) == ("deadline", "57014")
    with server.client() as client:
        assert predict(client, linear, MATRIX[2]) == pytest.approx(TARGET[2], abs=1e-4)


def test_models_that_were_used_longest_ago_make_room_and_come_back() -> None:
    with serving("[tabular]\npredictor_memory = 1") as server:
        first = fitted(server, MATRIX, TARGET, "linear", seed=1)
        second = fitted(server, MATRIX, 2 * TARGET, "linear", seed=2)
        with server.client() as client:
            predict(client, first, MATRIX[0])
            predict(client, second, MATRIX[0])
        until("the first has gone", lambda: not process_of(server, first))
        assert process_of(server, second)
        with server.client() as client:
            client.send(predict_open(first.hash, MATRIX[1]))
            assert answer(client, None)["prediction"] == [pytest.approx(TARGET[1], abs=1e-4)]


def test_a_model_that_the_server_forgot_is_asked_for_again() -> None:
    with serving("[limits]\nartifact_bytes = 2000\n[tabular]\npredictor_memory = 10000") as server:
        first = fitted(server, MATRIX, TARGET, "linear", seed=1)
        second = fitted(server, MATRIX, 2 * TARGET, "linear", seed=2)
        for found, factor in ((first, 1), (second, 2), (first, 1)):
            with server.client() as client:
                got = predict(client, found, MATRIX[0])
                assert got == pytest.approx(factor * TARGET[0], abs=1e-3)
                assert FrameType.NEED in client.seen


def test_an_artifact_that_has_no_room_is_refused_before_it_is_kept() -> None:
    with serving("[limits]\nartifact_bytes = 1000\n[tabular]\npredictor_memory = 1000") as server:
        found = fitted(server, MATRIX, TARGET, "xgboost")
        with server.client() as client:
            failure = refusal(client, predict_open(found.hash, MATRIX[0]), found)
    assert (failure.code, failure.sqlstate) == ("too_large", "54000")
    assert "predictor_memory" in failure.hint


def test_without_the_libraries_a_prediction_says_what_to_install_and_the_rest_works(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    environ = {"PYTHONNOUSERSITE": "1"}
    with (
        serving(f'[tabular]\ninterpreter = "{python}"', environ=environ) as server,
        server.client() as client,
    ):
        assert len(client.embed("hello")) > 0
        failure = refusal(client, predict_open("a" * 64, [1.0]))
    assert (failure.code, failure.sqlstate) == ("engine_missing", "0A000")
    assert "pgannex[tabular]" in failure.hint
    assert sys.executable not in failure.detail


def test_a_stopped_server_leaves_no_predictor_behind() -> None:
    with serving() as server:
        found = fitted(server, MATRIX, TARGET, "linear")
        with server.client() as client:
            predict(client, found, MATRIX[0])
        pid = process_of(server, found)
        assert server.stop() == 0
        until("the predictor has gone", lambda: not Path(f"/proc/{pid}/stat").exists())
