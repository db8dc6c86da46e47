"""Reads the case files of the SQL contract: what each host of the FDW has to answer.

The files in `cases/` are data, so that more than one driver can run them: real Postgres
(test_contract.py), and a stand-in for Multicorn's class interface, which has no SQL and
runs the cases of kind `scan` only. A case is a JSON object with

    name       what is promised
    scan       {"table": …, "columns": […], "quals": {column: value | {"any": [values]}}}
    sql        instead of scan: one statement, with "params" for a prepared one
    setup      statements before it, in the same transaction, which is rolled back
    rows       the rows, in order ("unordered": true: in any); {"echo": text} stands for the
               vector that the echo engine gives for a text, a list for an array, null for NULL
    match      instead of rows: patterns that the output as text must have, each
    error      instead of rows: sqlstate, code of the wire's table, patterns for message, detail, hint
    joins      true: run it again with each way of joining switched off
    hosts      the hosts that promise it, if not all
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CASES = Path(__file__).resolve().parent / "cases"
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

TYPES = {"model": "text", "input": "text", "query": "text", "on_error": "text", "kwargs": "jsonb"}


@dataclass(frozen=True, slots=True)
class Scan:
    """A read of one foreign table. A qual is one value, or a list for `= ANY`."""

    table: str
    columns: tuple[str, ...]
    quals: Mapping[str, Json]

    def sql(self) -> str:
        """The statement with the values as literals."""
        return self._sql([literal(value, TYPES[name]) for name, value in self.quals.items()])

    def prepared(self) -> tuple[str, list[str], list[str]]:
        """The statement with $n, the types of its parameters, their values as literals."""
        types = [TYPES[name] + ("[]" if _is_batch(value) else "") for name, value in self.quals.items()]
        values = [literal(value, TYPES[name]) for name, value in self.quals.items()]
        return self._sql([f"${n}" for n in range(1, len(types) + 1)]), types, values

    def _sql(self, operands: Sequence[str]) -> str:
        tests = [
            f"{name} = ANY ({operand})" if _is_batch(value) else f"{name} = {operand}"
            for (name, value), operand in zip(self.quals.items(), operands, strict=True)
        ]
        where = f" WHERE {' AND '.join(tests)}" if tests else ""
        return f"SELECT {', '.join(self.columns)} FROM pgml.{self.table}{where}"


@dataclass(frozen=True, slots=True)
class Failure:
    """The error that is promised: its SQLSTATE, its code in the wire's table, patterns for its texts.

    A host that cannot raise a SQLSTATE (Multicorn: always XX000) shows the code in the detail.
    """

    sqlstate: str
    code: str = ""
    message: str = ""
    detail: str = ""
    hint: str = ""

    def explain(self, host: str, sqlstate: str, message: str, detail: str, hint: str) -> str:
        """What differs, or the empty string."""
        if host == "multicorn" and self.code not in detail:
            return f"detail {detail!r} lacks the code {self.code}: {message}"
        if host != "multicorn" and sqlstate != self.sqlstate:
            return f"SQLSTATE {sqlstate}, not {self.sqlstate}: {message}"
        texts = (
            ("message", self.message, message),
            ("detail", self.detail, detail),
            ("hint", self.hint, hint),
        )
        return "; ".join(f"{n} {t!r} lacks {p!r}" for n, p, t in texts if p and not re.search(p, t))


@dataclass(frozen=True, slots=True)
class Case:
    file: str
    name: str
    scan: Scan | None = None
    sql: str = ""
    params: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    rows: list[list[Json]] | None = None
    unordered: bool = False
    match: tuple[str, ...] = ()
    error: Failure | None = None
    joins: bool = False
    hosts: tuple[str, ...] = field(default=("native", "multicorn"))

    @property
    def id(self) -> str:
        return f"{self.file}: {self.name}"

    def statement(self) -> str:
        return self.scan.sql() if self.scan else self.sql


def read_cases(pattern: str = "*.json", folder: Path = CASES) -> Iterator[Case]:
    """Every case of the files that fit `pattern`. A case that promises nothing is an error."""
    for path in sorted(folder.glob(pattern)):
        for raw in json.loads(path.read_text()):
            yield _case(path.stem, raw)


def _case(file: str, raw: dict[str, Json]) -> Case:
    values = {key: tuple(v) if key in _TUPLES and isinstance(v, list) else v for key, v in raw.items()}
    if isinstance(raw.get("scan"), dict):
        scan = raw["scan"]
        assert isinstance(scan, dict)
        values["scan"] = Scan(scan["table"], tuple(scan["columns"]), scan.get("quals", {}))  # type: ignore[arg-type, assignment]
    if isinstance(raw.get("error"), dict):
        values["error"] = Failure(**raw["error"])  # type: ignore[arg-type, assignment]
    case = Case(file, **values)  # type: ignore[arg-type]
    promises = [case.rows is not None, bool(case.match), case.error is not None]
    if sum(promises) != 1 or bool(case.scan) == bool(case.sql):
        raise ValueError(f"{case.id}: a case has scan or sql, and one of rows, match, error")
    return case


_TUPLES = ("params", "setup", "match", "hosts")


def _is_batch(value: Json) -> bool:
    return isinstance(value, dict) and set(value) == {"any"}


def literal(value: Json, type_: str) -> str:
    """`value` as a SQL literal of `type_`, a batch as an array of it."""
    if isinstance(value, dict) and _is_batch(value):
        items = value["any"]
        if items is None:
            return f"NULL::{type_}[]"
        assert isinstance(items, list)
        return f"ARRAY[{', '.join(literal(item, type_) for item in items)}]::{type_}[]"
    if value is None:
        return f"NULL::{type_}"
    text = value if isinstance(value, str) else json.dumps(value)
    return "'" + text.replace("'", "''") + f"'::{type_}"


def echo_vector(text: str, dimensions: int = 384, prompt: str = "") -> list[float]:
    """The vector of the echo engine: signs are the bits of a chain of sha256."""
    digest = hashlib.sha256((prompt + text).encode()).digest()
    chain = digest
    while len(chain) * 8 < dimensions:
        digest = hashlib.sha256(digest).digest()
        chain += digest
    length = struct.unpack("<f", struct.pack("<f", dimensions**-0.5))[0]
    return [length if chain[n // 8] >> n % 8 & 1 else -length for n in range(dimensions)]


def _expected(cell: Json) -> object:
    if isinstance(cell, dict) and "echo" in cell:
        return tuple(echo_vector(**{"text" if key == "echo" else key: v for key, v in cell.items()}))  # type: ignore[arg-type]
    return tuple(cell) if isinstance(cell, list) else cell


def _plain(cell: object) -> object:
    """A cell as it came, comparable: lists as tuples, floats rounded to float4."""
    if isinstance(cell, (list, tuple)):
        return tuple(
            struct.unpack("<f", struct.pack("<f", x))[0] if isinstance(x, float) else x for x in cell
        )
    return cell


def differences(case: Case, rows: Sequence[Sequence[object]]) -> str:
    """How `rows` differ from what the case promises, in a few words, or the empty string."""
    assert case.rows is not None
    want = [tuple(_expected(cell) for cell in row) for row in case.rows]
    have = [tuple(_plain(cell) for cell in row) for row in rows]
    if case.unordered:
        want, have = sorted(want, key=repr), sorted(have, key=repr)
    if len(want) != len(have):
        return f"{len(have)} rows, not {len(want)}: {_short(have)}"
    for number, (w, h) in enumerate(zip(want, have, strict=True), 1):
        if w != h:
            return f"row {number} is {_short(h)}, not {_short(w)}"
    return ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 300 else text[:300] + "…"
