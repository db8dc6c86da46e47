"""What cells become: statistics, encoding, imputing, scaling, and rows of JSON at prediction."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pgannex_server.tabular import json_rows, learning, preprocessing, statistics
from pgannex_server.tabular.learning import Learnt
from pgannex_server.tabular.preprocessing import Encoder
from pgannex_server.tabular.sampling import Split
from pgannex_wire import WireError
from tabular_rows import Array, spec_of, table_of

X = np.array([4.0, 1.0, 3.0, 2.0, 0.0])
TEXTS = ["b", "a", None, "b", "c"]
Y = np.array([1.0, 2.0, 3.0, 5.0, 9.0])


def learnt(
    columns: dict[str, Any],
    preprocess: dict[str, Any],
    nulls: dict[str, Array] | None = None,
    held_out: int = 0,
) -> tuple[Learnt, Array, Array]:
    """(what was learnt, the matrix of the training rows, that of the last `held_out`)."""
    spec = spec_of({**columns, "y": Y}, ["y"], "regression", preprocess=preprocess)
    split = Split(np.arange(5) >= 5 - held_out)
    table = table_of({**columns, "y": Y}, ["y"], batch=2, nulls=nulls)
    gridded = table_of({**columns, "y": Y}, ["y"], batch=2, nulls=nulls, spec=spec)
    if gridded.grid is not None:
        gridded.grid.divide(split.test)
        again = learning.learn(spec, gridded, split, Y[: 5 - held_out], 2)
        both = preprocessing.split_matrix(again.encoders, gridded, split)
    found = learning.learn(spec, table, split, Y[: 5 - held_out], 1)
    train, test = preprocessing.split_matrix(found.encoders, table, split)
    if gridded.grid is not None:
        assert (again.encoders, again.columns) == (found.encoders, found.columns)
        np.testing.assert_array_equal(both[0], train)
        np.testing.assert_array_equal(both[1], test)
    return found, train, test


def test_statistics_are_of_what_is_not_missing() -> None:
    found = statistics.of(np.array([4.0, 1.0, np.nan, 3.0, 1.0]), missing=2)
    assert (found.min, found.max, found.max_abs, found.mean) == (1.0, 4.0, 4.0, 2.25)
    assert (found.median, found.mode, found.distinct, found.missing) == (3.0, 1.0, 3, 3)
    assert found.variance == pytest.approx(np.var([4, 1, 3, 1]))
    assert found.std_dev == pytest.approx(np.std([4, 1, 3, 1]))
    assert sum(found.histogram) == 4
    assert (found.histogram[0], found.histogram[-1]) == (2, 1)
    assert len(found.ventiles) == 19


def test_statistics_of_many_values_agree_with_numpy() -> None:
    values = np.random.default_rng(1).normal(size=10_001)
    found = statistics.of(values)
    assert found.median == np.sort(values)[5000]
    assert found.ventiles[14] == pytest.approx(np.quantile(values, 0.75), abs=0.01)
    assert list(found.histogram) == np.histogram(values, bins=20)[0].tolist()
    assert found.distinct == 10_001


@pytest.mark.parametrize("kinds", [2, 30, 500, 5000, 10**9])
def test_the_mode_is_the_most_frequent_and_of_these_the_smallest(kinds: int) -> None:
    values = np.random.default_rng(kinds).integers(0, kinds, 3000).astype(np.float64)
    found = statistics.of(values)
    texts, counts = np.unique(values, return_counts=True)
    assert (found.distinct, found.mode) == (len(texts), texts[counts.argmax()])


@pytest.mark.parametrize("values", [np.empty(0), np.array([np.nan])])
def test_statistics_of_nothing_are_zero(values: Array) -> None:
    found = statistics.of(values)
    assert (found.distinct, found.max, found.missing) == (0, 0.0, len(values))


def test_statistics_of_one_value() -> None:
    found = statistics.of(np.full(3, 7, dtype=np.int16))
    assert (found.distinct, found.mode, found.std_dev, found.histogram[0]) == (1, 7.0, 0.0, 3)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("preserve", X),
        ("standard", (X - 2) / np.std(X)),
        ("min_max", X / 4),
        ("max_abs", X / 4),
        ("robust", (X - 2) / 2),
    ],
)
def test_scaling(scale: str, expected: Array) -> None:
    _found, train, _test = learnt({"x": X}, {"x": {"scale": scale}})
    np.testing.assert_allclose(train[:, 0], expected)


@pytest.mark.parametrize(
    ("impute", "fill"),
    [("mean", 2.25), ("median", 3.0), ("mode", 0.0), ("min", 0.0), ("max", 4.0), ("zero", 0.0)],
)
def test_imputing(impute: str, fill: float) -> None:
    values = np.array([4.0, 9.0, 3.0, 2.0, 0.0])
    nulls = {"x": np.array([False, True, False, False, False])}
    _found, train, _test = learnt({"x": values}, {"x": {"impute": impute}}, nulls)
    np.testing.assert_allclose(train[:, 0], [4, fill, 3, 2, 0])


def test_only_training_rows_are_learnt_from() -> None:
    found, _train, test = learnt({"x": X}, {"x": {"scale": "max_abs"}}, held_out=4)
    assert found.columns[0]["statistics"]["max"] == 4.0
    assert found.columns[0]["statistics"]["distinct"] == 1
    assert test[:, 0].tolist() == [0.25, 0.75, 0.5, 0.0]


@pytest.mark.parametrize(
    ("encode", "expected"),
    [
        ("native", [[2], [1], [0], [2], [3]]),
        ({"ordinal": ["c", "b", "a"]}, None),
        ("target", [[3], [2], [4], [3], [9]]),
        ("one_hot", [[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    ],
)
def test_encoding_texts(encode: Any, expected: list[list[float]] | None) -> None:
    how = {"encode": encode, "impute": "zero" if expected is None else "error"}
    found, train, _test = learnt({"t": TEXTS}, {"t": how})
    np.testing.assert_allclose(train, expected or [[2], [3], [0], [2], [1]])
    assert found.encoders[0].width == train.shape[1]
    assert preprocessing.width_of(found.encoders) == train.shape[1]
    described = found.columns[0]["statistics"]["categories"]
    assert described["b"]["members"] == 2
    # Through the artifact's JSON and back, unseen texts and all.
    meta = json.loads(json.dumps([e.to_meta() for e in found.encoders], sort_keys=True))
    again = [Encoder.from_meta(column) for column in meta]
    assert again == found.encoders
    table = json_rows.table_of(again, [json.dumps({"t": text}) for text in TEXTS])
    np.testing.assert_array_equal(preprocessing.matrix(again, table), train)


def test_texts_that_training_has_not_seen() -> None:
    for encode, expected in (("native", [0.0]), ("target", [4.0]), ("one_hot", [0.0] * 4)):
        found, _train, _test = learnt({"t": TEXTS}, {"t": {"encode": encode}})
        table = json_rows.table_of(found.encoders, ['{"t": "zebra"}'])
        assert preprocessing.matrix(found.encoders, table)[0].tolist() == expected


@pytest.mark.parametrize(
    ("columns", "preprocess", "message"),
    [
        ({"x": X}, {"x": {"encode": "one_hot"}}, "It does not make sense to one_hot encode"),
        ({"t": TEXTS}, {"t": {"impute": "mean"}}, "the mean of the categories of `t`"),
        ({"t": TEXTS}, {"t": {"encode": {"ordinal": ["a", "b"]}}}, "value is not present in ordinal"),
        ({"t": TEXTS}, {"t": {"encode": {"ordinal": ["a", "b", "c"]}}}, "1 missing values for t"),
        ({"x": np.array([1, 2, np.nan, np.nan, 3])}, {}, "2 missing values for x"),
        ({"x": np.array([1, 2, np.inf, 4, 3])}, {}, "infinite values"),
    ],
)
def test_what_makes_no_sense_is_refused(
    columns: dict[str, Any], preprocess: dict[str, Any], message: str
) -> None:
    with pytest.raises(WireError, match=message) as caught:
        learnt(columns, preprocess)
    assert caught.value.code == "bad_argument"
    assert caught.value.hint


def test_a_missing_value_of_a_held_out_row_is_refused_too() -> None:
    with pytest.raises(WireError, match="1 missing values for x"):
        learnt({"x": np.array([1.0, 2, 3, 4, np.nan])}, {}, held_out=2)


# -- rows of JSON ----------------------------------------------------------------------------------


def encoder(name: str, kind: Any = "number", pg_type: str = "float8", size: int = 1) -> Encoder:
    from pgannex_server.tabular.spec import Preprocessor

    return Encoder(name, pg_type, kind, kind == "array", size, Preprocessor())


ENCODERS = [encoder("a"), encoder("b", "time", "date"), encoder("c", "array", "int2[]", 4)]


@pytest.mark.parametrize(
    "text",
    [
        '{"c": [[1,2],[3,4]], "label": 1, "b": "1970-01-03", "a": 5}',
        '{"f1": 5, "f2": "1970-01-03", "f3": [1,2,3,4]}',
        '[5, "1970-01-03", "[1,2,3,4]"]',
    ],
)
def test_rows_are_matched_by_name_or_else_by_position(text: str) -> None:
    table = json_rows.table_of(ENCODERS, [text, text])
    assert preprocessing.matrix(ENCODERS, table).tolist() == [[5, 2, 1, 2, 3, 4]] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"f1": 5}', "the model has 3 columns, the row 1"),
        ('{"f1": "x", "f2": "1970-01-03", "f3": [1,2,3,4]}', "column a is a float8"),
        ('{"f1": 1, "f2": "soon", "f3": [1,2,3,4]}', "column b is a date"),
        ('{"f1": 1, "f2": "1970-01-03", "f3": [1,2]}', "Expected: 4 Received: 2"),
        ('{"f1": 1, "f2": "1970-01-03", "f3": [1,2,3,null]}', "holds NULL"),
        ("{", "a row is no JSON"),
    ],
)
def test_rows_that_do_not_fit_are_refused(text: str, message: str) -> None:
    with pytest.raises(WireError, match=message):
        json_rows.table_of(ENCODERS, [text])


def test_rows_with_missing_values_are_told_apart() -> None:
    rows = [
        '{"f1": null, "f2": "1970-01-03", "f3": [1,2,3,4]}',
        '{"f1": 1, "f2": "1970-01-03", "f3": [1,2,3,4]}',
    ]
    table = json_rows.table_of(ENCODERS, rows)
    assert list(preprocessing.unusable(ENCODERS, table)) == [0]
    with pytest.raises(WireError) as caught:
        preprocessing.matrix(ENCODERS, table)
    assert caught.value.code == "null_input"
