"""The verbs metrics and environment over the frames socket: what the predictor's Python answers."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from frames_process import FramesServer, serving
from pgannex_wire.frame import SINGLE, FrameType
from pgannex_wire.message import Arg, Column, Failure, Open
from pgannex_wire.values import FLOAT4_ARRAY, INT8, JSONB, TEXT_OID, ColumnBlock, split_values
from predict_client import real_array


@pytest.fixture(scope="module")
def server() -> Iterator[FramesServer]:
    with serving() as made:
        yield made


def ask(server: FramesServer, verb: str, args: list[Arg], output: Column) -> list[str] | Failure:
    """The rows of an answer, or the error."""
    with server.client() as client:
        client.send(Open(verb, SINGLE, 0, "app", "", tuple(args), (), (output,)).encode())
        while True:
            frame = client.next()
            if frame.type == FrameType.ERROR:
                return Failure.decode(frame.payload)
            if frame.type == FrameType.ROWS:
                block = ColumnBlock.decode(frame.payload)
                values = split_values(block.columns[0], block.nrows)
                return [value.decode() for value in values if value is not None]


def metric(server: FramesServer, kind: str, truth: Any, found: Any, classes: int | None = None) -> Any:
    args = [
        Arg("ground_truth", FLOAT4_ARRAY, real_array(truth)),
        Arg("y_hat", FLOAT4_ARRAY, real_array(found)),
        Arg("kind", TEXT_OID, kind.encode()),
    ]
    if classes is not None:
        args.append(Arg("num_classes", INT8, struct.pack("!q", classes)))
    got = ask(server, "metrics", args, Column("result", JSONB))
    return got if isinstance(got, Failure) else json.loads(got[0])


def environment(server: FramesServer, question: str, argument: str = "") -> Any:
    args = [Arg("question", TEXT_OID, question.encode())]
    args += [Arg("argument", TEXT_OID, argument.encode())] if argument else []
    return ask(server, "environment", args, Column("answer", TEXT_OID))


def test_metrics_of_a_regression(server: FramesServer) -> None:
    assert metric(server, "r2_score", [1, 2, 3], [1, 2, 3]) == 1.0
    found = metric(server, "regression_metrics", [1, 2, 3, 4], [1, 2, 3, 6])
    assert found == {"r2": pytest.approx(0.2), "mse": 1.0, "mae": 0.5}


def test_metrics_of_two_classes(server: FramesServer) -> None:
    truth, found = [0, 0, 1, 1], [0, 1, 1, 1]
    assert metric(server, "f1_score", truth, found) == pytest.approx(0.8)
    got = metric(server, "classification_metrics", truth, found, 2)
    assert got["accuracy"] == 0.75
    assert got["recall"] == 1.0
    assert got["precision"] == pytest.approx(2 / 3)
    assert got["roc_auc"] == 0.75


def test_metrics_of_three_classes_are_means_over_all(server: FramesServer) -> None:
    got = metric(server, "classification_metrics", [0, 1, 2, 2], [0, 1, 2, 1], 3)
    assert "roc_auc" not in got
    assert got["f1_micro"] == 0.75
    assert got["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert metric(server, "confusion_matrix", [0, 1, 2], [0, 2, 2]) == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]


@pytest.mark.parametrize(
    ("kind", "truth", "found", "says"),
    [
        ("r2_score", [1, 2], [1], "ground_truth has 2 elements, y_hat 1"),
        ("r2_score", [], [], "ground_truth is empty"),
        ("r2_score", [1, float("nan")], [1, 2], "hold NaN"),
        ("guess", [1], [1], 'kind = "guess" is unknown'),
    ],
)
def test_metrics_of_what_cannot_be_measured(
    server: FramesServer, kind: str, truth: list[float], found: list[float], says: str
) -> None:
    got = metric(server, kind, truth, found)
    assert got.sqlstate == "22023"
    assert says in got.message
    assert got.hint


def test_the_environment_is_that_of_the_predictor(server: FramesServer) -> None:
    assert environment(server, "python_version") == [sys.version]
    assert environment(server, "package_version", "numpy") == [numpy.__version__]
    assert environment(server, "package_version", "sklearn")[0].startswith("1.")
    assert f"numpy=={numpy.__version__}" in environment(server, "pip_freeze")
    assert environment(server, "cuda")[0].split(":")[0] in ("available", "unavailable")
    assert any(line.startswith("xgboost ") for line in environment(server, "dependencies"))


@pytest.mark.parametrize(
    ("question", "argument", "says"),
    [
        ("package_version", "nothing_like_it", 'no package "nothing_like_it"'),
        ("package_version", "", "needs the name of a package"),
        ("weather", "", 'question = "weather" is unknown'),
    ],
)
def test_questions_without_an_answer(server: FramesServer, question: str, argument: str, says: str) -> None:
    got = environment(server, question, argument)
    assert got.sqlstate == "22023"
    assert says in got.message
    assert got.hint


def test_measures_are_bounded(server: FramesServer) -> None:
    many = list(range(1001))
    for kind, classes in (("classification_metrics", None), ("confusion_matrix", None)):
        got = metric(server, kind, many, many, classes)
        assert got.sqlstate == "22023"
        assert "1001 classes are too many" in got.message
    got = metric(server, "confusion_matrix", [0, 1], [0, 1], 1_000_000_000)
    assert "1000000000 classes are too many" in got.message
    half = numpy.zeros(1_000_001)
    got = metric(server, "r2_score", half, half)
    assert "1000001 elements are too many" in got.message
