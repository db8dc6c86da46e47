"""What a foreign table declares: its verb, its inputs and outputs, its lane.

The words are those of docs/architecture.md. A word that is not listed there is an error
whose hint lists the right ones. Multicorn merges the options of table, server and user
mapping into one dict, and keeps `wrapper` to itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgannex_wire.errors import WireError

TABLE_OPTIONS = (
    "verb", "model_column", "authorize", "authorize_depends", "pull", "push", "stream_columns",
    "lane", "unordered", "artifact",
)  # fmt: skip
COLUMN_OPTIONS = ("input", "batch")
LANES = ("interactive", "bulk")
INPUT_KINDS = ("required", "optional")

NUMERIC, TIMESTAMP, INT8 = 1700, 1114, 20
_STREAM_ITEM = re.compile(r'("[^"]+"|[^\s"*,]+)\s+\S.*', re.DOTALL)
_LOSSY = {NUMERIC: "numeric", TIMESTAMP: "timestamp"}


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column; `input` is '' for an output. `number` is its place in a row."""

    name: str
    oid: int
    number: int
    input: str = ""
    batch: bool = True


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A foreign table as the other modules see it."""

    verb: str
    columns: tuple[ColumnSpec, ...]
    inputs: tuple[ColumnSpec, ...]
    outputs: tuple[ColumnSpec, ...]
    ordinal: int | None
    model_column: str
    authorize: str
    bulk: bool
    unordered: bool
    query_column: str

    @property
    def required(self) -> tuple[ColumnSpec, ...]:
        return tuple(column for column in self.inputs if column.input == "required")


def read_table(options: Mapping[str, str], columns: Mapping[str, Any]) -> TableSpec:
    """The spec of a table from Multicorn's options and ColumnDefinitions."""
    _check_words("table", options, TABLE_OPTIONS)
    if not options.get("verb"):
        raise _wrong("the table has no option verb", f"options of a table: {', '.join(TABLE_OPTIONS)}")
    specs = tuple(_read_column(n, c) for n, c in enumerate(columns.values()))
    inputs = tuple(column for column in specs if column.input)
    ordinal = next((c for c in specs if c.name == "ordinal" and not c.input), None)
    query_column = options.get("pull") or options.get("push") or ""
    _check_stream(options.get("stream_columns"), query_column)
    for word, name in (("model_column", options.get("model_column")), ("pull or push", query_column)):
        if name and name not in [column.name for column in inputs]:
            message = f'option {word} names "{name}", which is no input of the table'
            raise _wrong(message, f"inputs: {', '.join(column.name for column in inputs) or 'none'}")
    return TableSpec(
        verb=options["verb"],
        columns=specs,
        inputs=inputs,
        outputs=tuple(c for c in specs if not c.input and c is not ordinal),
        ordinal=None if ordinal is None else ordinal.number,
        model_column=options.get("model_column", ""),
        authorize=options.get("authorize", ""),
        bulk=_choice("lane", options.get("lane", "interactive"), LANES) == "bulk",
        unordered=_flag("unordered", options.get("unordered", "false")),
        query_column=query_column,
    )


def _check_stream(value: str | None, query_column: str) -> None:
    """`stream_columns` is for queries, which this host does not run; its shape is checked all the same."""
    if value is None:
        return
    if not query_column:
        raise _wrong(
            'option "stream_columns" needs option "pull" or "push"', "name the column with the query"
        )
    items = [item.strip() for item in re.split(r",(?![^(]*\))", value)]
    if items[-1] == "*":
        items.pop()
    if not all(_STREAM_ITEM.fullmatch(item) for item in items):
        raise _wrong(
            f'option stream_columns is "{value}"',
            "names with types, as in 'key text, input text'; a last item * lets all further columns travel",
        )


def _read_column(number: int, column: Any) -> ColumnSpec:
    name, oid, options = str(column.column_name), int(column.type_oid), column.options
    _check_words(f'column "{name}"', options, COLUMN_OPTIONS)
    if "input" not in options:
        if "batch" in options:
            raise _wrong(
                f'column "{name}" has option batch but is no input', "add the option input, or drop batch"
            )
        return ColumnSpec(name, oid, number)
    if oid in _LOSSY:
        raise WireError(
            "bad_argument",
            f'input column "{name}" has type {_LOSSY[oid]}, whose values Multicorn rounds',
            hint="declare it as text, or use the native host",
        )
    kind = _choice("input", options["input"], INPUT_KINDS)
    return ColumnSpec(name, oid, number, kind, _flag("batch", options.get("batch", "true")))


def _check_words(where: str, options: Mapping[str, str], words: tuple[str, ...]) -> None:
    for word in options:
        if word not in words:
            raise _wrong(f'{where} has an unknown option "{word}"', f"options: {', '.join(words)}")


def _choice(option: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise _wrong(f'option {option} is "{value}"', f"one of: {', '.join(choices)}")
    return value


def _flag(option: str, value: str) -> bool:
    return _choice(option, value, ("true", "false")) == "true"


def _wrong(message: str, hint: str) -> WireError:
    return WireError("bad_argument", message, hint=hint)
