"""A stand-in for Multicorn2's class interface, as its documentation describes it.

It lets the wrapper run where no Multicorn2 is installed. `install` puts modules `multicorn`
and `multicorn.utils` in place; `Session` does what the C side does with an instance: it
makes one per table and session, tells it about transactions, asks the planner's
questions, iterates over a scan, stores each value as text, rechecks every qual, and does
not end a scan that failed. It plans nothing and knows no SQL.
"""

from __future__ import annotations

import json
import logging
import sys
import types
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import foreign_tables
from foreign_tables import ForeignTable


class ForeignDataWrapper:
    """The base class, with the hooks that a wrapper need not have."""

    _startup_cost = 20

    def __init__(self, fdw_options: Mapping[str, str], fdw_columns: Mapping[str, Any]) -> None:
        """Nothing to keep."""

    def end_scan(self) -> None: ...
    def begin(self, serializable: bool) -> None: ...
    def pre_commit(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def sub_begin(self, level: int) -> None: ...
    def sub_commit(self, level: int) -> None: ...
    def sub_rollback(self, level: int) -> None: ...


class Qual:
    """`field_name operator value`; a list operator is the pair (operator, whether ANY)."""

    def __init__(self, field_name: str, operator: str | tuple[str, bool], value: Any) -> None:
        self.field_name = field_name
        self.operator = operator
        self.value = value

    @property
    def is_list_operator(self) -> bool:
        return isinstance(self.operator, tuple)


@dataclass
class ColumnDefinition:
    column_name: str
    type_oid: int = 0
    typmod: int = -1
    type_name: str = ""
    base_type_name: str = ""
    options: dict[str, str] = field(default_factory=dict)


class PostgresError(Exception):
    """What log_to_postgres at level ERROR becomes: an error with SQLSTATE XX000, always."""

    def __init__(self, message: str, hint: str | None, detail: str | None) -> None:
        super().__init__(message)
        self.message, self.hint, self.detail = message, hint or "", detail or ""


notices: list[tuple[int, str]] = []


def log_to_postgres(
    message: str, level: int = logging.INFO, hint: str | None = None, detail: str | None = None
) -> None:
    if level >= logging.ERROR:
        raise PostgresError(message, hint, detail)
    notices.append((level, message))


def install() -> None:
    """Make `import multicorn` find this. Must run before the wrapper is imported."""
    module, utils = types.ModuleType("multicorn"), types.ModuleType("multicorn.utils")
    for name, value in (
        ("ForeignDataWrapper", ForeignDataWrapper),
        ("Qual", Qual),
        ("ColumnDefinition", ColumnDefinition),
    ):
        setattr(module, name, value)
    utils.log_to_postgres = log_to_postgres  # type: ignore[attr-defined]
    module.utils = utils  # type: ignore[attr-defined]
    sys.modules["multicorn"], sys.modules["multicorn.utils"] = module, utils


class FakeBackend:
    """What the process would be if it were a Postgres backend."""

    server = "150000"
    utf8 = True

    def __init__(self, socket: str) -> None:
        self.path = socket
        self.roles = {"pgml_user", "pgml_admin"}
        self.interrupt = self.cancel = self.client_gone = False
        self.timeout = 60_000
        self.left: int | None = None

    def socket(self) -> str:
        return self.path

    def timeout_ms(self) -> int:
        return self.timeout

    def statement_left_ms(self) -> int | None:
        return self.left

    def role(self) -> str:
        return "tester"

    def has_role(self, name: str) -> bool:
        return name in self.roles

    def database(self) -> str:
        return "stand-in"

    def application_name(self) -> str:
        return "tests"

    def interrupted(self) -> bool:
        return self.interrupt or self.cancel

    def cancelled(self) -> bool:
        return self.cancel

    def client_is_there(self) -> bool:
        return not self.client_gone

    def real_array_text(self, floats: bytes) -> bytes:
        return ("{" + ",".join(map(repr, array("f", floats))) + "}").encode()

    def shielded(self, call: Callable[[], None]) -> None:
        call()


class Session:
    """A backend's session: an instance per table, and what Multicorn does around a scan."""

    def __init__(self, wrapper: Callable[..., Any]) -> None:
        self._wrapper = wrapper
        self._instances: dict[str, Any] = {}

    def instance(self, table: ForeignTable) -> Any:
        """The instance of a table, told that a transaction has begun."""
        if table.name not in self._instances:
            columns = {
                name: ColumnDefinition(name, oid, -1, type_, type_, dict(options))
                for name, (type_, oid, options) in table.columns.items()
            }
            self._instances[table.name] = self._wrapper(dict(table.options), columns)
            self._instances[table.name].begin(False)
        return self._instances[table.name]

    def read(self, table: ForeignTable, columns: Sequence[str], quals: Iterable[Qual]) -> list[list[Any]]:
        """The rows of a scan that is read to its end, in a transaction of its own."""
        try:
            rows = list(self.scan(table, columns, list(quals)))
        except BaseException:
            self.rollback()
            raise
        self.instance(table).end_scan()
        self.commit()
        return rows

    def scan(self, table: ForeignTable, columns: Sequence[str], quals: list[Qual]) -> Iterator[list[Any]]:
        """Rows that pass the recheck, as Python values of their types."""
        instance, needed = self.instance(table), {*columns, *(qual.field_name for qual in quals)}
        rows, width = instance.get_rel_size(quals, needed)
        assert isinstance(rows, int), rows
        assert 0 < width < 2**31
        for keys, expected in instance.get_path_keys():
            assert set(keys) <= set(table.columns), keys
            assert int(expected) >= 0
        names = list(table.columns)
        for row in instance.execute(quals, needed):
            assert len(row) == len(names), row
            stored = {n: _stored(v, table.columns[n][0]) for n, v in zip(names, row, strict=True)}
            if all(_passes(qual, stored[qual.field_name], table) for qual in quals):
                yield [stored[name] for name in columns]

    def commit(self) -> None:
        for instance in self._instances.values():
            instance.pre_commit()
            instance.commit()
            instance.begin(False)

    def rollback(self) -> None:
        for instance in self._instances.values():
            instance.rollback()
            instance.begin(False)


def _stored(value: Any, type_: str) -> Any:
    """A value as the type's input function would read it from the text that Multicorn makes."""
    if value is None:
        return None
    if not isinstance(value, (str, bytes)):
        assert isinstance(value, int), f"Multicorn would spell {value!r} itself"
        value = str(value)
    text = value.decode() if isinstance(value, bytes) else value
    return foreign_tables.read_text(text, type_)


def _passes(qual: Qual, value: Any, table: ForeignTable) -> bool:
    """Postgres's recheck; None where SQL has NULL, which lets no row pass."""
    if qual.value is None or value is None:
        return False
    wanted = qual.value if qual.is_list_operator else [qual.value]
    type_ = table.columns[qual.field_name][0]
    return value in [None if item is None else foreign_tables.read_text(item, type_) for item in wanted]


def quals_of(table: ForeignTable, conditions: Mapping[str, Any]) -> list[Qual]:
    """The quals of a case file: `column: value`, or `column: {"any": [values]}`."""
    quals = []
    for name, value in conditions.items():
        if isinstance(value, dict) and set(value) == {"any"}:
            items = value["any"]
            texts = None if items is None else [_as_text(item) for item in items]
            quals.append(Qual(name, ("=", True), texts))
        else:
            quals.append(Qual(name, "=", _as_text(value)))
    return quals


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
