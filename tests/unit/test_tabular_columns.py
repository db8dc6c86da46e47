"""Columns as they travel, decoded: every encoding and type, NULL, other batches, sums of the rows."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pgannex_server.tabular.cells import numeric
from pgannex_server.tabular.columns import Collector, Series
from pgannex_wire import WireError
from pgannex_wire.values import FIXED, FLOAT4S, FLOAT8S, TEXT, RawColumn, pack_fixed, pack_texts, pack_values
from tabular_rows import table_of


def series_of(pg_type: str, raw: RawColumn, nrows: int, array: bool = False) -> Series:
    collector = Collector([{"name": "c", "pg_type": pg_type, "array": array}])
    collector.feed(nrows, [raw])
    return collector.finish()["c"]


@pytest.mark.parametrize(
    ("pg_type", "layout", "values"),
    [
        ("bool", "?", [1, 0]),
        ("int2", ">i2", [-3, 4]),
        ("int4", ">i4", [-3, 70000]),
        ("int8", ">i8", [-3, 1 << 40]),
        ("float4", ">f4", [0.5, -2.0]),
        ("float8", ">f8", [0.1, -2.0]),
    ],
)
@pytest.mark.parametrize("with_null", [False, True])
def test_numbers_are_the_same_in_every_encoding(
    pg_type: str, layout: str, values: list[Any], with_null: bool
) -> None:
    sent = [np.array([v], layout).tobytes() for v in values]
    width = len(sent[0])
    more = [None] if with_null else []
    fixed_data = b"".join(item[::-1] for item in sent) + bytes(width * with_null)
    bitmap = b"\x04" if with_null else b""
    texts = [("t" if v else "f") if pg_type == "bool" else repr(v) for v in values]
    for raw in (
        RawColumn(FIXED, bytes((width, with_null)) + bitmap + fixed_data),
        pack_values([*sent, *more]),
        pack_texts([*texts, *more], TEXT),
    ):
        series = series_of(pg_type, raw, 2 + with_null)
        assert series.values()[:2].tolist() == values
        nulls = series.nulls()
        assert (nulls is None) if not with_null else nulls.tolist() == [False, False, True]  # type: ignore[union-attr]


def test_times_are_days_since_1970() -> None:
    noon = datetime(2024, 2, 29, 12, tzinfo=UTC)
    days = noon.timestamp() / 86400
    micros = round((noon - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)
    for pg_type in ("timestamp", "timestamptz"):
        raw = RawColumn(FIXED, bytes((8, 0)) + struct.pack("<q", micros))
        assert series_of(pg_type, raw, 1).values().tolist() == [days]
        assert series_of(pg_type, pack_values([struct.pack("!q", micros)]), 1).values().tolist() == [days]
        text = pack_texts(["2024-02-29 12:00:00+00"], TEXT)
        assert series_of(pg_type, text, 1).values().tolist() == pytest.approx([days], abs=1e-9)
    raw = RawColumn(FIXED, bytes((4, 0)) + struct.pack("<3i", 8825, 2**31 - 1, -(2**31)))
    assert series_of("date", raw, 3).values().tolist() == [19782.0, np.inf, -np.inf]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (struct.pack("!hhHHh", 1, 0, 0, 0, 12), 12.0),
        (struct.pack("!hhHHhh", 2, 0, 0x4000, 1, 12, 5000), -12.5),
        (struct.pack("!hhHHh", 1, 1, 0, 0, 3), 30000.0),
        (struct.pack("!hhHH", 0, 0, 0, 0), 0.0),
        (struct.pack("!hhHH", 0, 0, 0xC000, 0), float("nan")),
    ],
)
def test_numeric_is_read_in_its_send_form(data: bytes, expected: float) -> None:
    assert numeric(data) == expected or np.isnan(expected)
    found = series_of("numeric", pack_values([data]), 1).values()[0]
    assert found == expected or np.isnan(expected)


def array_sent(oid: int, shape: tuple[int, ...], items: list[bytes | None]) -> bytes:
    head = struct.pack("!3i", len(shape), any(i is None for i in items), oid)
    head += b"".join(struct.pack("!2i", size, 1) for size in shape)
    return head + pack_values(items).data


def test_arrays_of_any_shape_are_flat_rows() -> None:
    items: list[bytes | None] = [struct.pack("!h", at) for at in range(4)]
    one = array_sent(21, (2, 2), items)
    series = series_of("int2[]", pack_values([one, one]), 2, array=True)
    assert series.values().tolist() == [[0, 1, 2, 3]] * 2
    assert series.size == 4
    other = array_sent(21, (4,), items)
    assert series_of("int2[]", pack_values([one, other, None]), 3, array=True).size == 4
    text = pack_texts(["{{0,1},{2,3}}", "{4,5,6,7}"], TEXT)
    assert series_of("_int2", text, 2).values().tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    floats = RawColumn(FLOAT4S, struct.pack("!2i", 2, -1) + struct.pack("<2f", 1, 2))
    found = series_of("float4[]", floats, 2, array=True)
    assert found.values()[0].tolist() == [1, 2]
    assert np.isnan(found.values()[1]).all()
    doubles = RawColumn(FLOAT8S, struct.pack("!2i", 1, 1) + struct.pack("<2d", 0.1, 0.2))
    assert series_of("float8[]", doubles, 2, array=True).values().tolist() == [[0.1], [0.2]]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            pack_texts(["{1,2}", "{1}"], TEXT),
            "Mismatched array length for feature `c`. Expected: 2 Received: 1",
        ),
        (pack_texts(["{1,NULL}"] * 2, TEXT), "holds NULL"),
        (pack_values([array_sent(21, (1,), [None])] * 2), "holds NULL"),
        (RawColumn(FLOAT4S, struct.pack("!2i", 1, 2) + bytes(12)), "Mismatched array length"),
        (RawColumn(FLOAT4S, struct.pack("!2i", 5, 2)), "do not fit"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(raw: RawColumn, message: str) -> None:
    with pytest.raises(WireError, match=message):
        series_of("int2[]", raw, 2, array=True)


def test_arrays_of_another_batch_that_do_not_fit_are_refused() -> None:
    collector = Collector([{"name": "c", "pg_type": "float4[]", "array": True}])
    collector.feed(1, [pack_texts(["{1,2}"], TEXT)])
    with pytest.raises(WireError, match="Expected: 2 Received: 3"):
        collector.feed(1, [pack_texts(["{1,2,3}"], TEXT)])


def test_texts_are_codes_in_the_order_of_the_texts() -> None:
    collector = Collector([{"name": "c", "pg_type": "mood"}])
    collector.feed(2, [pack_texts(["b", None])])
    collector.feed(2, [pack_texts(["a", "b"])])
    series = collector.finish()["c"]
    assert series.categories == ["a", "b"]
    assert series.values().tolist() == [1, -1, 0, 1]
    assert series.nulls().tolist() == [False, True, False, False]  # type: ignore[union-attr]


def test_the_sum_of_the_rows_is_that_of_the_rows_and_not_of_the_batches() -> None:
    columns = {"x": np.arange(10.0), "t": [None, "a", "b"] * 3 + ["a"]}
    nulls = {"x": np.arange(10) % 3 == 0}
    whole = table_of(columns, nulls=nulls)
    assert table_of(columns, nulls=nulls, batch=3).sha256 == whole.sha256
    assert table_of(columns).sha256 != whole.sha256
    columns["x"] = columns["x"][::-1].copy()  # type: ignore[index]
    assert table_of(columns, nulls=nulls).sha256 != whole.sha256


@pytest.mark.parametrize(
    "raw",
    [
        RawColumn(FIXED, b"\x08\x00" + bytes(7)),
        RawColumn(FIXED, b"\x04\x00" + bytes(4)),
        RawColumn(FIXED, b""),
        RawColumn(FIXED, b"\x08\x02" + bytes(8)),
        pack_values([b"123"]),
        pack_texts(["x"], TEXT),
    ],
)
def test_bytes_that_are_no_column_are_refused(raw: RawColumn) -> None:
    with pytest.raises(WireError) as caught:
        series_of("float8", raw, 1)
    assert caught.value.code == "protocol_violation"


def test_a_type_that_is_neither_number_nor_text_is_refused() -> None:
    with pytest.raises(WireError, match='Unhandled type for quantitative scalar column: c "money"'):
        series_of("money", pack_fixed(20, 8, [1]), 1)
