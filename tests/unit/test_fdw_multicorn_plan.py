"""What the Multicorn host makes of options, quals and values, without a server."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from itertools import count, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pgannex_fdw import backend, gate, plan, rows
from pgannex_fdw.options import TableSpec, read_table
from pgannex_wire import values
from pgannex_wire.errors import WireError
from pgannex_wire.values import ColumnBlock


@dataclass
class Definition:
    column_name: str
    type_oid: int = 25
    options: dict[str, str] = field(default_factory=dict)


@dataclass
class Qual:
    field_name: str
    operator: Any
    value: Any

    @property
    def is_list_operator(self) -> bool:
        return isinstance(self.operator, tuple)


ANY = ("=", True)
HOST = cast(
    backend.Backend, SimpleNamespace(utf8=True, real_array_text=lambda b: repr(list(array("f", b))).encode())
)


def table(**columns: tuple[int, dict[str, str]]) -> TableSpec:
    found = {name: Definition(name, oid, options) for name, (oid, options) in columns.items()}
    return read_table({"verb": "embed", "model_column": "model"}, found)


REQUIRED, OPTIONAL = {"input": "required"}, {"input": "optional", "batch": "false"}
SPEC = table(
    model=(25, {"input": "required", "batch": "false"}),
    input=(25, REQUIRED),
    kwargs=(3802, OPTIONAL),
    ordinal=(20, {}),
    embedding=(1021, {}),
)


def test_single_values_become_args_and_come_back() -> None:
    quals = [Qual("model", "=", "m"), Qual("input", "=", "x"), Qual("kwargs", "=", '{"a": 1}')]
    scan = plan.plan_scan(SPEC, quals)
    assert [(a.name, a.value, a.format) for a in scan.args] == [
        ("model", b"m", 1), ("input", b"x", 1), ("kwargs", b'{"a": 1}', 1),
    ]  # fmt: skip
    assert scan.given == {0: "m", 1: "x", 2: '{"a": 1}'}
    assert (scan.batch, scan.missing, scan.empty, scan.model) == (None, (), False, "m")


def test_a_list_becomes_the_batch() -> None:
    scan = plan.plan_scan(SPEC, [Qual("model", "=", "m"), Qual("input", ANY, ["a", "b"])])
    assert scan.batch is not None
    assert (scan.batch.name, list(scan.elements), scan.missing) == ("input", ["a", "b"], ())


@pytest.mark.parametrize(
    "qual",
    [
        Qual("input", "<>", "x"),
        Qual("input", "~~", "x%"),
        Qual("input", ("=", False), ["x"]),
        Qual("input", ("<>", True), ["x"]),
        Qual("embedding", "=", "{}"),
    ],
)
def test_only_equality_counts(qual: Qual) -> None:
    assert plan.plan_scan(SPEC, [Qual("model", "=", "m"), qual]).missing == ("input",)


def test_a_list_for_a_column_that_takes_none_is_missing() -> None:
    assert plan.plan_scan(SPEC, [Qual("model", ANY, ["m"]), Qual("input", "=", "x")]).missing == ("model",)


@pytest.mark.parametrize("qual", [Qual("input", "=", None), Qual("input", ANY, None), Qual("input", ANY, [])])
def test_what_holds_for_no_row_asks_nothing(qual: Qual) -> None:
    assert plan.plan_scan(SPEC, [Qual("model", "=", "m"), qual]).empty


def test_null_for_an_optional_input_is_no_value() -> None:
    quals = [Qual("model", "=", "m"), Qual("input", "=", "x"), Qual("kwargs", "=", None)]
    scan = plan.plan_scan(SPEC, quals)
    assert not scan.empty
    assert len(scan.args) == 2


def test_the_error_of_a_missing_input_names_it_and_says_what_to_write() -> None:
    error = plan.missing_error(SPEC, plan.plan_scan(SPEC, [Qual("model", "=", "m")]))
    assert '"input"' in error.message
    assert "LATERAL" in error.hint
    assert error.row.sqlstate == "22023"


@pytest.mark.parametrize("value", ["{a,b}", 3, object()])
def test_an_array_that_multicorn_garbled_is_an_error_not_an_empty_result(value: object) -> None:
    with pytest.raises(WireError, match="cannot pass the array"):
        plan.plan_scan(SPEC, [Qual("model", "=", "m"), Qual("input", ANY, value)])


def test_the_planner_is_told_what_keeps_clauses_on_the_scan() -> None:
    known = [Qual("model", "=", "m"), Qual("input", "=", "x")]
    assert plan.estimate(SPEC, known, {"model", "input", "embedding"})[0] == 1
    assert plan.estimate(SPEC, [known[0], Qual("input", ANY, ["a"] * 7)], {"embedding"})[0] == 7
    unseen = plan.estimate(SPEC, known[:1], {"model", "input"})
    assert unseen[0] * unseen[1] < 100_000, "a SQL function's plan would be compiled for it"
    assert plan.estimate(SPEC, known, {"kwargs"}) == unseen


def test_a_fuller_set_of_inputs_is_a_cheaper_path() -> None:
    keys = {frozenset(names): rows_ for names, rows_ in plan.path_keys(SPEC)}
    assert len(keys) == 7
    assert keys[frozenset(("model", "input", "kwargs"))] == 0
    assert keys[frozenset(("model", "input"))] == 1
    assert all(keys[names] >= 1000 for names in keys if not {"model", "input"} <= names)


@pytest.mark.parametrize(
    ("options", "columns", "word"),
    [
        ({}, {}, "verb"),
        ({"verb": "x", "vreb": "y"}, {}, "vreb"),
        ({"verb": "x", "lane": "fast"}, {}, "fast"),
        ({"verb": "x", "unordered": "yes"}, {}, "yes"),
        ({"verb": "x", "model_column": "m"}, {"m": Definition("m")}, "m"),
        ({"verb": "x"}, {"m": Definition("m", 25, {"input": "maybe"})}, "maybe"),
        ({"verb": "x"}, {"m": Definition("m", 25, {"batch": "true"})}, "batch"),
        ({"verb": "x"}, {"m": Definition("m", 25, {"inptu": "required"})}, "inptu"),
        ({"verb": "x"}, {"m": Definition("m", 1700, {"input": "required"})}, "numeric"),
    ],
)
def test_a_wrong_option_is_an_error_with_a_hint(
    options: dict[str, str], columns: dict[str, Definition], word: str
) -> None:
    with pytest.raises(WireError, match=word) as caught:
        read_table(options, columns)
    assert caught.value.hint


QUERY = {"query": Definition("query", 25, {"input": "required"})}
ROWS = {"verb": "train", "push": "query"}


@pytest.mark.parametrize("value", ["key text", "key text, *", "*", '"a b" numeric(6, 2), x text, *'])
def test_columns_of_a_query_may_be_named(value: str) -> None:
    assert read_table(ROWS | {"stream_columns": value}, QUERY).query_column == "query"


@pytest.mark.parametrize("value", ["", "key", "*, key text", "key text,", "key text, *, *", "* text"])
def test_columns_of_a_query_that_make_no_sense_are_refused(value: str) -> None:
    with pytest.raises(WireError, match="stream_columns") as caught:
        read_table(ROWS | {"stream_columns": value}, QUERY)
    assert "a last item *" in caught.value.hint


def test_columns_of_a_query_need_a_query() -> None:
    with pytest.raises(WireError, match='needs option "pull" or "push"'):
        read_table({"verb": "embed", "stream_columns": "key text"}, QUERY)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"), (True, "t"), (7, "7"), (b"\x01\xff", "\\x01ff"),
        (["a", None, 'b"\\'], '{"a",NULL,"b\\"\\\\"}'), ([["1"], ["2"]], '{{"1"},{"2"}}'),
    ],
)  # fmt: skip
def test_inputs_travel_as_postgres_writes_them(value: object, text: str) -> None:
    assert rows.input_text(value, SPEC.columns[1]) == text


def test_a_null_element_is_refused_with_its_place() -> None:
    with pytest.raises(WireError, match="element 2") as caught:
        rows.batch_texts(["a", None], SPEC.columns[1])
    assert caught.value.code == "null_input"


def test_rows_take_their_own_elements_block_by_block() -> None:
    elements = ["a", "b", "c"]
    cells = [repeat("m"), iter(elements), repeat(None), count(1), repeat(None)]
    wanted = (SPEC.columns[4],)

    def block(*floats: float) -> ColumnBlock:
        flat = array("f", floats).tobytes()
        return ColumnBlock(len(floats), (values.pack_float4s(flat, len(floats), 1),))

    first = list(rows.result_rows(block(1.0, 2.0), wanted, cells, HOST))
    second = list(rows.result_rows(block(3.0), wanted, cells, HOST))
    assert first == [("m", "a", None, 1, b"[1.0]"), ("m", "b", None, 2, b"[2.0]")]
    assert second == [("m", "c", None, 3, b"[3.0]")]


@pytest.mark.parametrize("raw", [b"ab\xff", b"a\x00b"])
def test_text_that_postgres_may_not_store_is_refused(raw: bytes) -> None:
    column = SPEC.columns[1]
    with pytest.raises(WireError) as caught:
        rows.column_texts(values.pack_values([raw]), column, 1, HOST)
    assert caught.value.code == "invalid_text"


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("", 60_000), ("500", 500), ("30s", 30_000), ("2min", 120_000), ("0", 0), ("1h", 3_600_000), ("-1", 0)],
)
def test_timeouts_are_read_as_postgres_writes_them(text: str, milliseconds: int) -> None:
    assert backend.parse_timeout(text) == milliseconds


@pytest.mark.parametrize("text", ["soon", "5 fortnights", "s"])
def test_a_wrong_timeout_is_an_error(text: str) -> None:
    with pytest.raises(WireError, match=r"pgannex\.timeout"):
        backend.parse_timeout(text)


@pytest.mark.parametrize(
    ("roles", "verb", "allowed"),
    [
        ((), "embed", False),
        (("pgml_user",), "embed", True),
        (("pgml_user",), "stat_server", True),
        (("pg_read_all_stats",), "stat_activity", True),
        (("pg_read_all_stats",), "embed", False),
        (("pgml_user",), "control", False),
        (("pgml_user", "pgml_admin"), "control", True),
        (("pgml_user",), "job_control", False),
        (("pgml_user", "pgml_trainer"), "job_control", True),
        (("pg_read_all_stats",), "stat_jobs", True),
    ],
)
def test_the_gate_answers_as_pgml_authorize_does(roles: tuple[str, ...], verb: str, allowed: bool) -> None:
    host = cast(backend.Backend, SimpleNamespace(has_role=lambda name: name in roles, role=lambda: "someone"))
    spec = read_table({"verb": verb, "authorize": "pgml.authorize"}, {})
    if allowed:
        administers = "true" if "pgml_admin" in roles else "false"
        assert f'"control": {administers}' in gate.grant_for(spec, "", host)
        return
    with pytest.raises(WireError) as caught:
        gate.grant_for(spec, "", host)
    assert caught.value.code == "not_permitted"


@pytest.mark.parametrize("verb", ["predict", "forecast"])
def test_verbs_over_trained_models_are_refused_to_everybody(verb: str) -> None:
    """Rows of the registry say who may; a wrapper in Python cannot read them."""
    host = cast(backend.Backend, SimpleNamespace(has_role=lambda name: True, role=lambda: "someone"))
    with pytest.raises(WireError, match="needs the native host"):
        gate.grant_for(read_table({"verb": verb, "authorize": "pgml.authorize"}, {}), "hash", host)


def test_a_gate_that_cannot_be_called_is_closed() -> None:
    host = cast(backend.Backend, SimpleNamespace(has_role=lambda name: True))
    spec = read_table({"verb": "embed", "authorize": "public.mine"}, {})
    with pytest.raises(WireError, match="cannot call"):
        gate.grant_for(spec, "", host)


def test_the_gate_is_still_the_twin_of_the_sql_function() -> None:
    """What pgml.authorize asks is asked in gate.py too: who changes one changes both."""
    source = (Path(__file__).resolve().parents[2] / "sql" / "src" / "30_authorize.sql").read_text()
    asked = re.findall(r"pg_has_role\(CURRENT_USER, '?(\w+)'?", source)
    assert asked == ["pgml_admin", "pg_read_all_stats", "needed"]
    assert re.findall(r"WHEN authorize\.verb = '(\w+)' THEN '(\w+)'", source) == [("control", "pgml_admin")]
    training = re.findall(r"WHEN authorize\.verb IN \((.*?)\) THEN '(\w+)'", source)
    assert [(set(re.findall(r"'(\w+)'", verbs)), role) for verbs, role in training] == [
        ({verb for verb, role in gate.NEEDED.items() if role == "pgml_trainer"}, "pgml_trainer")
    ]
    over_models = re.findall(r"IF authorize\.verb IN \((.*?)\)", source)
    assert [set(re.findall(r"'(\w+)'", verbs)) for verbs in over_models] == [gate.OF_THE_REGISTRY]
    granted = re.findall(r"jsonb_build_object\((.*?)\)", source)
    assert granted == ["'control', administers, 'see_all', watches"]
