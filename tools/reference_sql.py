"""Reads the extension's SQL for docs/reference/sql.md: functions, tables, comments and grants.

It knows the layout that sql/src keeps (one statement per object, a COMMENT for each), not
SQL in general; an object without a comment is an error, because the page would be silent
about it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "sql" / "src"
_INTERNAL = {
    f"pgml.{name}"
    for name in (
        "annex_handler", "annex_validator", "role_of_grant", "own_project", "set_serving", "rights_changed",
        "find_relation", "relation_name", "training_type", "training_query", "create_snapshot_table",
        "preprocessor_of", "take_snapshot", "take_full_snapshot", "training_task", "project_to_train",
        "snapshot_to_train", "prepare_training", "store_model", "say_not_committed", "train_model",
        "target_metric", "score_of", "deploy_if_better", "deploy_as", "deploy_model", "deploy_project",
        "registry_tables", "in_transaction_block", "create_dataset_table", "refuse_foreign_artifact",
    )
}  # fmt: skip
"""What only other functions call; it has a comment in SQL and no place on the page."""

_FUNCTION = re.compile(
    r"CREATE FUNCTION (?P<name>pgml\.\w+)\s*\((?P<args>.*?)\)\s*RETURNS (?P<returns>.*?)"
    r"\s+LANGUAGE \w+ (?P<flags>[^\n]*)",
    re.DOTALL,
)
_TABLE = re.compile(r"CREATE FOREIGN TABLE (?P<name>pgml\.\w+) \(\n(?P<columns>.*?)\n\) SERVER", re.DOTALL)
_REGISTRY = re.compile(r"CREATE (?P<kind>TABLE|VIEW) (?P<name>pgml\.\w+)")
_COLUMN = re.compile(
    r"^\s*(?P<name>\w+) (?P<type>[\w \[\]]+?)(?: OPTIONS \((?P<options>.*)\))?,?$", re.MULTILINE
)
_COMMENT = re.compile(
    r"COMMENT ON (?:FUNCTION|(?:FOREIGN )?TABLE|VIEW|COLUMN) (?P<what>[^']+?)\s+IS\s+"
    r"'(?P<text>(?:[^']|'')*)'",
    re.DOTALL,
)
_GRANT = re.compile(r"GRANT (?:EXECUTE ON FUNCTION|SELECT ON) (?P<what>[^;]+?) TO (?P<whom>[^;]+);")
_NAME = re.compile(r"pgml\.\w+")


@dataclass(frozen=True)
class Function:
    name: str
    args: str
    returns: str
    volatility: str
    about: str
    whom: str


@cache
def _text() -> str:
    """Every source that the native host has; it has all there is."""
    files = [p for p in sorted(SOURCES.glob("*.sql")) if ".multicorn." not in p.name]
    return "\n".join(p.read_text(encoding="utf-8") for p in files)


@cache
def _comments() -> dict[str, str]:
    """By object; of a function with the types of its arguments, `pgml.f(text, text)`."""
    return {_plain(m["what"]): _plain(m["text"].replace("''", "'")) for m in _COMMENT.finditer(_text())}


def _whom(name: str) -> str:
    """The roles that may use an object, most general first."""
    roles = [
        role.strip()
        for m in _GRANT.finditer(_text())
        if name in _NAME.findall(m["what"])
        for role in m["whom"].split(",")
    ]
    return ", ".join(dict.fromkeys(roles))


def functions() -> str:
    found = [_function(m) for m in _FUNCTION.finditer(_text()) if m["name"] not in _INTERNAL]
    found.sort(key=lambda f: f.name)
    return "\n".join(
        f"### {f.name}\n\n```\n{f.name}({f.args}) → {f.returns}\n```\n\n"
        f"{_sentence(f.about)} {f.volatility.capitalize()}; for {f.whom}.\n"
        for f in found
    )


def _function(m: re.Match[str]) -> Function:
    args = _plain(m["args"])
    types = ", ".join(_type_of(a) for a in _split(args))
    key = f"{m['name']}({types})"
    about = _comments().get(key)
    if about is None:
        raise SystemExit(f"sql/src: {key} has no COMMENT")
    volatility = next((v for v in ("IMMUTABLE", "STABLE") if v in m["flags"]), "VOLATILE")
    return Function(m["name"], args, _plain(m["returns"]), volatility.lower(), about, _whom(m["name"]))


def _split(args: str) -> list[str]:
    return [a for a in re.split(r",\s*(?![^(]*\))", args) if a and not a.startswith("OUT ")]


def _type_of(arg: str) -> str:
    """`text` of `kwargs text DEFAULT '{}'`."""
    return re.sub(r"\s+DEFAULT\s.*", "", arg).split(" ", 1)[-1].strip()


def tables() -> str:
    return "\n".join(_table(m) for m in sorted(_TABLE.finditer(_text()), key=lambda m: m["name"]))


def _table(m: re.Match[str]) -> str:
    comments = _comments()
    name = m["name"]
    lines = [f"### {name}\n", f"{_sentence(comments[name])} For {_whom(name)}.\n"]
    lines.append("| column | type | | meaning |\n| --- | --- | --- | --- |")
    for column in _COLUMN.finditer(m["columns"]):
        about = comments.get(f"{name}.{column['name']}")
        if about is None:
            raise SystemExit(f"sql/src: {name}.{column['name']} has no COMMENT")
        role = "input" if "input '" in (column["options"] or "") else "output"
        lines.append(
            f"| `{column['name']}` | {column['type']} | {role} | {about.replace('|', chr(92) + '|')} |"
        )
    return "\n".join(lines) + "\n"


def registry() -> str:
    """The tables and views of trained models: each column has a comment, in order."""
    return "\n".join(_registry(m) for m in sorted(_REGISTRY.finditer(_text()), key=lambda m: m["name"]))


def _registry(m: re.Match[str]) -> str:
    name = m["name"]
    lines = [f"### {name}\n", f"{_sentence(_comments()[name])} For {_whom(name)}.\n"]
    lines.append("| column | meaning |\n| --- | --- |")
    lines += [
        f"| `{what.removeprefix(name + '.')}` | {about.replace('|', chr(92) + '|')} |"
        for what, about in _comments().items()
        if what.startswith(f"{name}.")
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."
