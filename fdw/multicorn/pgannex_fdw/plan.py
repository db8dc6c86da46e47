"""From quals to a request: which inputs are known, which one is a batch, what is missing.

An input counts only with `=` or `= ANY`. Everything else is left to Postgres, which
rechecks every qual anyway. The estimates for the planner are here too: they exist to keep
a join's clauses on the scan, not to be right about sizes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pgannex_wire.errors import WireError
from pgannex_wire.message import TEXT_FORMAT, Arg, Column

from pgannex_fdw.options import ColumnSpec, TableSpec
from pgannex_fdw.rows import input_text

UNSEEN_ROWS = 80_000
"""The estimate while an input's value is not in sight.

A parameterized path costs next to nothing (`path_keys`), so a join with fewer outer rows
than some millions calls the scan once per outer row. The estimate stays below
jit_above_cost: a SQL function's parameters are not in sight either, and its plan must not
be compiled for it.
"""
SEEN_ROWS = 1000
"""The most for a batch in sight: always far below UNSEEN_ROWS, so that plpgsql keeps to
custom plans, in which an array is a constant."""
INPUT_SCAN_ROWS = 20
ROW_WIDTH = 1


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """One scan: args, the batch if there is one, and the value of each input column.

    `given` maps an input column's number to the text that comes back in each row. `empty`
    is set where a qual can hold for no row (`= NULL`): nothing is asked then.
    """

    args: tuple[Arg, ...]
    given: dict[int, str | bytes]
    batch: ColumnSpec | None
    elements: Sequence[Any]
    model: str
    missing: tuple[str, ...]
    empty: bool


def plan_scan(spec: TableSpec, quals: Iterable[Any]) -> ScanPlan:
    """The plan of a scan with these quals; raises where a value cannot be what SQL said."""
    single, lists, empty = _collect(spec, quals)
    batch = next((c for c in spec.inputs if c.batch and c.name in lists and c.name not in single), None)
    elements = [] if batch is None else lists[batch.name]
    args, given = [], {}
    for column in spec.inputs:
        if column.name in single:
            text = input_text(single[column.name], column)
            args.append(Arg(column.name, column.oid, text.encode(), TEXT_FORMAT))
            given[column.number] = single[column.name] if isinstance(single[column.name], bytes) else text
    known = {arg.name for arg in args} | ({batch.name} if batch else set())
    missing = tuple(c.name for c in spec.required if c.name not in known)
    model = str(single.get(spec.model_column, "")) if spec.model_column else ""
    return ScanPlan(
        tuple(args), given, batch, elements, model, missing, empty or (batch is not None and not elements)
    )


def _collect(spec: TableSpec, quals: Iterable[Any]) -> tuple[dict[str, Any], dict[str, list[Any]], bool]:
    inputs = {column.name: column for column in spec.inputs}
    single: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}
    empty = False
    for qual in quals:
        column = inputs.get(qual.field_name)
        if column is None:
            continue
        if qual.operator == "=":
            if qual.value is not None:
                single.setdefault(column.name, qual.value)
            elif column.input == "required":
                # = NULL holds for no row. IS NULL looks the same here, and would need a
                # call without its input.
                empty = True
        elif qual.is_list_operator and qual.operator[0] == "=" and qual.operator[1] and column.batch:
            if qual.value is None:
                empty = True
            else:
                lists.setdefault(column.name, _elements(qual.value, column))
    return single, lists, empty


def _elements(value: Any, column: ColumnSpec) -> list[Any]:
    if not isinstance(value, list):
        raise WireError(
            "bad_argument",
            f'Multicorn cannot pass the array that "{column.name}" is compared with',
            hint="write a constant, a parameter or a column there; compute the array in a variable first",
        )
    return value


def missing_error(spec: TableSpec, plan: ScanPlan) -> WireError:
    """The error of a scan without a required input."""
    names = ", ".join(f'"{name}"' for name in plan.missing)
    return WireError(
        "bad_argument",
        f"no value for the required input {names} of verb {spec.verb}",
        detail=f"inputs given: {', '.join(arg.name for arg in plan.args) or 'none'}",
        hint=f"write WHERE {plan.missing[0]} = … or = ANY (…); in a join use LATERAL (SELECT … OFFSET 0)"
        " or LEFT JOIN, and leave enable_nestloop on",
    )


def wanted_outputs(spec: TableSpec, columns: Collection[str]) -> tuple[ColumnSpec, ...]:
    return tuple(column for column in spec.outputs if column.name in columns)


def wire_columns(columns: Iterable[ColumnSpec]) -> tuple[Column, ...]:
    return tuple(Column(column.name, column.oid) for column in columns)


def estimate(spec: TableSpec, quals: Iterable[Any], columns: Collection[str]) -> tuple[int, int]:
    """Rows and width for the planner, from what it has in sight: constants.

    An optional input that is read but has no constant may belong to a join clause, which
    must stay on the scan: else the row comes back without it and the join drops the row.
    """
    if not spec.inputs:
        return INPUT_SCAN_ROWS, 100
    single, lists, _empty = _collect(spec, quals)
    seen = single.keys() | lists.keys()
    for column in spec.inputs:
        if column.name not in seen and (column.input == "required" or column.name in columns):
            return UNSEEN_ROWS, ROW_WIDTH
    rows = max((len(elements) for elements in lists.values()), default=1)
    return max(1, min(rows, SEEN_ROWS)), ROW_WIDTH


def path_keys(spec: TableSpec) -> list[tuple[tuple[str, ...], int]]:
    """Every set of inputs that a join may give, the fuller the cheaper; all inputs cost 0.

    Multicorn uses a set only where each of its columns is compared with something, so the
    fullest that fits is the one that loses no clause.
    """
    names = [column.name for column in spec.inputs]
    required = {column.name for column in spec.required}
    keys = []
    for size in range(len(names), 0, -1):
        for chosen in combinations(names, size):
            absent = required.difference(chosen)
            keys.append((chosen, len(names) - size + 1000 * len(absent)))
    return keys
