"""The extension's foreign tables, read from its own SQL: no second list of them to keep.

Reads the `CREATE FOREIGN TABLE` statements of the script for the Multicorn host, in the
shape in which sql/src writes them, and the text form of the types that they use.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OIDS = {
    "text": 25, "jsonb": 3802, "bigint": 20, "integer": 23, "boolean": 16, "oid": 26, "real[]": 1021,
    "double precision": 701, "real": 700, "timestamptz": 1184, "text[]": 1009, "bytea": 17,
}  # fmt: skip
_STATEMENT = re.compile(
    r"CREATE FOREIGN TABLE pgml\.(\w+) \(\n(.*?)\n\) SERVER pgannex OPTIONS \((.*?)\);", re.DOTALL
)
_OPTION = re.compile(r"(\w+) '((?:[^']|'')*)'")


@dataclass(frozen=True)
class ForeignTable:
    """`columns` maps a name to its type, the type's oid and the column's options."""

    name: str
    columns: dict[str, tuple[str, int, dict[str, str]]]
    options: dict[str, str]


@cache
def tables() -> dict[str, ForeignTable]:
    """The foreign tables of the Multicorn host, by name."""
    tool = ROOT / "tools" / "assemble_sql.py"
    script = subprocess.run(
        [sys.executable, str(tool), "--host", "multicorn"], capture_output=True, text=True, check=True
    ).stdout
    found = {}
    for name, body, options in _STATEMENT.findall(script):
        columns = dict(_column(line.strip().rstrip(",")) for line in body.splitlines())
        found[name] = ForeignTable(name, columns, dict(_OPTION.findall(options)))
    return found


def _column(line: str) -> tuple[str, tuple[str, int, dict[str, str]]]:
    definition, _, options = line.partition(" OPTIONS ")
    name, type_ = definition.split(" ", 1)
    return name, (type_, OIDS[type_], dict(_OPTION.findall(options)))


def read_text(text: str, type_: str) -> Any:
    """A value of a type from its text form, comparable with Python's own."""
    if type_ in ("bigint", "integer", "oid"):
        return int(text)
    if type_ == "boolean":
        return {"t": True, "f": False}[text]
    if type_ in ("double precision", "real"):
        return float(text)
    if type_ == "jsonb":
        return json.loads(text)
    if type_ == "real[]":
        inner = text.removeprefix("{").removesuffix("}")
        return [float(x) for x in inner.split(",")] if inner else []
    return text
