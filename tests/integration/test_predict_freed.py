"""A predictor is soon free again: long forecasts let others go first, given-up work is dropped or killed."""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from frames_process import Client, FramesServer, serving, until
from pgannex_wire.frame import LAST, SINGLE, FrameType
from pgannex_wire.message import Arg, Column, Open
from pgannex_wire.values import FIXED, FLOAT4_ARRAY, FLOAT8, INT4, JSONB, TEXT_OID, ColumnBlock, RawColumn
from predict_client import Artifact, fitted, give, predict, predict_open, real_array, refusal

RNG = np.random.default_rng(3)
MATRIX = RNG.normal(size=(50, 2))
TARGET = MATRIX.sum(axis=1)
LONGEST = 10_000
_SLOW = """
import sys, time
from pgannex_server.tabular import calls, process

def slow(truth, found, classes):
    yield None
    print("slow begins", file=sys.stderr, flush=True)
    time.sleep(3600)
    yield 0.0

calls.METRICS["r2_score"] = slow
process.main()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[FramesServer]:
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def linear(server: FramesServer) -> Artifact:
    return fitted(server, MATRIX, TARGET, "linear")


@pytest.fixture(scope="module")
def series(server: FramesServer) -> Artifact:
    """A forecasting model of one series of daily values."""
    from pgannex_server.tabular.columns import Collector
    from pgannex_server.tabular.fit import fit
    from pgannex_server.tabular.spec import TrainSpec

    days = np.arange(60)
    columns = [
        {"name": "at", "pg_type": "date", "label": False},
        {"name": "amount", "pg_type": "float8", "label": True},
    ]
    spec = TrainSpec.parse(
        json.dumps(
            {"project": "p", "task": "forecasting", "algorithm": "lightgbm", "columns": columns,
             "hyperparams": {"time_column": "at", "horizon": 7, "n_estimators": 20}}
        )
    )  # fmt: skip
    collector = Collector(spec.columns)
    amount = np.sin(days * 2 * np.pi / 7) + days
    collector.feed(
        len(days),
        [
            RawColumn(FIXED, b"\x04\x00" + days.astype("<i4").tobytes()),
            RawColumn(FIXED, b"\x08\x00" + amount.astype("<f8").tobytes()),
        ],
    )

    class Silent:
        def info(self, text: str) -> None: ...
        def progress(self, fraction: float, text: str) -> None: ...

    return Artifact(server, fit(spec, collector.finish(), Silent()).body)


def forecast_open(hash: str, horizon: int, role: str = "app") -> bytes:
    args = (Arg("artifact", TEXT_OID, hash.encode()), Arg("horizon", INT4, struct.pack("!i", horizon)))
    wanted = (Column("step", INT4), Column("prediction", FLOAT8))
    return Open("forecast", SINGLE, 0, role, "", args, (), wanted).encode()


def slow_open() -> bytes:
    args = (
        Arg("ground_truth", FLOAT4_ARRAY, real_array([1, 2])),
        Arg("y_hat", FLOAT4_ARRAY, real_array([1, 2])),
        Arg("kind", TEXT_OID, b"r2_score"),
    )
    return Open("metrics", SINGLE, 0, "app", "", args, (), (Column("result", JSONB),)).encode()


def loaded(client: Client, found: Artifact) -> None:
    """Send the artifact if it is asked for, and wait for the end."""
    while True:
        frame = client.expect(FrameType.ROWS, FrameType.NEED, FrameType.END)
        if frame.type == FrameType.NEED:
            give(client, found)
        elif frame.type == FrameType.END:
            return


def predictor_pid(server: FramesServer) -> int:
    rows = server.rows("stat_models", "engine", "state", "pid", "device")
    return next(int(r["pid"] or 0) for r in rows if r["state"] == "ready" and r["engine"] == "skops")


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}/stat").exists()


def test_a_long_forecast_comes_in_parts(server: FramesServer, series: Artifact) -> None:
    blocks = []
    with server.client() as client:
        client.send(forecast_open(series.hash, 2500))
        while True:
            frame = client.expect(FrameType.ROWS, FrameType.NEED, FrameType.END)
            if frame.type == FrameType.NEED:
                give(client, series)
            elif frame.type == FrameType.ROWS:
                blocks.append((ColumnBlock.decode(frame.payload).nrows, bool(frame.flags & LAST)))
            else:
                break
    assert blocks == [(1000, False), (1000, False), (500, True)]


@pytest.mark.parametrize("horizon", [LONGEST + 1, 1_000_000])
def test_a_forecast_that_is_too_long(server: FramesServer, series: Artifact, horizon: int) -> None:
    with server.client() as client:
        failure = refusal(client, forecast_open(series.hash, horizon), series)
    assert failure.sqlstate == "22023"
    assert failure.hint == "give 1 to 10000 steps"


def test_a_prediction_goes_before_a_long_forecast_which_a_cancel_ends(
    server: FramesServer, series: Artifact, linear: Artifact
) -> None:
    with server.client() as other:
        predict(other, linear, MATRIX[0])
        pid = predictor_pid(server)
        with server.client() as client:
            client.send(forecast_open(series.hash, 1))
            loaded(client, series)
            client.send(forecast_open(series.hash, LONGEST))
            until("the forecast runs", lambda: server.in_flight() == 1)
            assert predict(other, linear, MATRIX[1]) == pytest.approx(TARGET[1], abs=1e-4)
            assert server.in_flight() == 1
        until("the forecast has gone", lambda: server.in_flight() == 0)
        assert predict(other, linear, MATRIX[2]) == pytest.approx(TARGET[2], abs=1e-4)
    assert predictor_pid(server) == pid


def test_a_predictor_that_computes_for_nobody_is_killed(server: FramesServer, linear: Artifact) -> None:
    with server.client() as client:
        predict(client, linear, MATRIX[0])
        pid = predictor_pid(server)
        os.kill(pid, signal.SIGSTOP)
        client.send(predict_open(linear.hash, MATRIX[1]))
        until("the call runs", lambda: server.in_flight() == 1)
    until("the predictor has gone", lambda: gone(pid))
    with server.client() as client:
        # The server still has the bytes.
        assert predict(client, linear, MATRIX[1]) == pytest.approx(TARGET[1], abs=1e-4)
    assert predictor_pid(server) != pid


def test_clients_that_give_up_early_do_not_keep_a_hung_predictor_alive() -> None:
    with serving("[limits]\nhang_s = 4") as server:
        linear = fitted(server, MATRIX, TARGET, "linear")
        with server.client() as client:
            predict(client, linear, MATRIX[0])
        pid = predictor_pid(server)
        os.kill(pid, signal.SIGSTOP)

        def give_up() -> bool:
            with server.client() as client:
                client.send(predict_open(linear.hash, MATRIX[1], deadline_ms=50))
                while client.next().type not in (FrameType.ROWS, FrameType.ERROR):
                    pass
            return gone(pid)

        until("the predictor is given up", give_up)


def test_a_call_that_cannot_be_interrupted_is_killed_with_its_caller_gone(tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(_SLOW)
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$2" in *tabular.process) exec {sys.executable} {slow};; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    with serving(f'[tabular]\ninterpreter = "{python}"') as server:
        linear = fitted(server, MATRIX, TARGET, "linear")
        with server.client() as other:
            predict(other, linear, MATRIX[0])
            with server.client() as client:
                client.send(slow_open())
                until("the call hangs", lambda: "slow begins" in server.log.read_text())
                other.send(predict_open(linear.hash, MATRIX[1]))
                until("both wait", lambda: server.in_flight() == 2)
            failure = other.failure()
            assert failure.code == "worker_died"
            assert "nobody waited for" in failure.message
        with server.client() as other:
            assert predict(other, linear, MATRIX[1]) == pytest.approx(TARGET[1], abs=1e-4)
