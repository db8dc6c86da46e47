"""Whether the rows of a training are those that its spec describes: names, order and types.

The fit decodes what comes by the spec's types, so another type would be misread, not refused.
Types that are neither here nor there (enums, domains, extensions') travel as text, and pass.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgannex_wire import WireError

from pgannex_server.request import Request
from pgannex_server.tabular.spec import Column

_SCALARS = {
    16: "bool", 18: "char", 19: "name", 20: "int8", 21: "int2", 23: "int4", 25: "text", 26: "oid",
    700: "float4", 701: "float8", 1042: "bpchar", 1043: "varchar", 1082: "date", 1114: "timestamp",
    1184: "timestamptz", 1700: "numeric",
}  # fmt: skip
_ARRAYS = {
    1000: "bool[]", 1005: "int2[]", 1007: "int4[]", 1016: "int8[]", 1021: "float4[]", 1022: "float8[]",
    1231: "numeric[]",
}  # fmt: skip
_NAMES = _SCALARS | _ARRAYS
_KNOWN = frozenset(_NAMES.values())
_TEXTS = frozenset({"char", "name", "text", "bpchar", "varchar"})
_HINT = (
    "the spec's columns are those of the query, in its order and with its types; pgml.train describes them"
)


def check_columns(request: Request, described: Sequence[Column]) -> None:
    """Raises WireError where what is described is not what comes."""
    came = [column.name for column in request.columns]
    named = [column.name for column in described]
    if not came:
        raise WireError("bad_argument", "train needs rows", hint="push a query's rows: pgml.training")
    if came != named:
        raise WireError(
            "bad_argument",
            f"the spec describes the columns {', '.join(named) or 'none'}; the rows have {', '.join(came)}",
            hint=_HINT,
        )
    for column, sent in zip(described, request.columns, strict=True):
        is_type = _NAMES.get(sent.oid)
        if is_type is not None and not _agree(column, is_type):
            raise WireError(
                "bad_argument",
                f'the spec describes column "{column.name}" as {column.pg_type}; in the rows it is {is_type}',
                hint=_HINT,
            )


def _agree(column: Column, sent: str) -> bool:
    """Whether values of the type `sent` are read rightly as the column's."""
    if column.array:
        return sent.endswith("[]")  # an array's values say their type themselves
    named = column.pg_type
    if named not in _KNOWN:
        return sent in _TEXTS
    return named == sent or (named in _TEXTS and sent in _TEXTS) or (named, sent) == ("numeric", "float8")
