"""Writes the generated parts of docs/reference: what the code already says is never copied by hand.

`python tools/reference.py` rewrites each page between its `<!-- generated: NAME -->` and
`<!-- end -->` lines; `--check` changes nothing and fails, naming the pages that differ. The
prose around those lines is written by people.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "wire"), str(ROOT / "server"), str(ROOT)]

from tools import reference_sql  # noqa: E402 - the paths above come first

PAGES = ROOT / "docs" / "reference"
_BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in lines)


def errors() -> str:
    from pgannex_wire.errors import TABLE

    rows = [
        (f"`{e.code}`", e.sqlstate, str(e.http), "yes" if e.retryable else "no", e.meaning)
        for e in TABLE.values()
    ]
    return table(("code", "SQLSTATE", "HTTP", "retry", "meaning"), rows)


def configuration() -> str:
    from pgannex_server.config import describe

    parts: list[str] = []
    section = ""
    rows: list[tuple[str, ...]] = []
    for name, key, default, meaning in [*describe(), ("", "", "", "")]:
        if name != section:
            if rows:
                parts.append(f"### [{section}]\n\n{table(('key', 'default', 'meaning'), rows)}")
            section, rows = name, []
        rows.append((f"`{key}`", f"`{default}`", meaning))
    return "\n".join(parts)


def commands() -> str:
    from pgannex_server.cli import parser

    top = parser()
    chooser = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    helps = {choice.dest: choice.help or "" for choice in chooser._choices_actions}
    return "\n".join(_command(name, helps.get(name, ""), p) for name, p in chooser.choices.items())


def _command(name: str, about: str, parser: argparse.ArgumentParser) -> str:
    rows: list[tuple[str, ...]] = []
    nested = ""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            nested = "\n".join(
                _command(f"{name} {n}", helps.get(n, ""), p) for n, p in action.choices.items()
            )
        elif not isinstance(action, argparse._HelpAction):
            rows.append((f"`{_spelled(action)}`", action.help or ""))
    text = f"### pgannex {name}\n\n{about}\n"
    if rows:
        text += "\n" + table(("argument", "meaning"), rows)
    return text + ("\n" + nested if nested else "")


def _spelled(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest) + (" …" if action.nargs == argparse.REMAINDER else "")
    value = "" if action.nargs == 0 else f" {_metavar(action)}"
    return ", ".join(action.option_strings) + value


def _metavar(action: argparse.Action) -> str:
    return (
        "{" + ",".join(map(str, action.choices)) + "}"
        if action.choices
        else str(action.metavar or action.dest.upper())
    )


def metrics() -> str:
    from pgannex_server.doors.http.metrics import Numbers
    from pgannex_server.doors.http.traffic import Traffic
    from pgannex_server.telemetry import Telemetry

    service: Any = SimpleNamespace(telemetry=Telemetry(), registry=SimpleNamespace(models={}))
    rows = []
    for family in Numbers(service, Traffic()).collect():
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = ", ".join(getattr(family, "_labelnames", ()))
        rows.append((f"`{family.name}{suffix}`", family.type, labels, family.documentation))
    return table(("metric", "kind", "labels", "meaning"), rows)


def algorithms() -> str:
    from pgannex_server.tabular.algorithms import ALGORITHMS, TASKS, Algorithm

    def notes(row: Algorithm, task: str) -> str:
        found = []
        if row.extra:
            found.append(f"needs `pip install {row.extra}`")
        if task == "regression":
            found.append("a model per target" if row.joint else "several targets in one model")
        if row.onnx:
            found.append("ONNX")
        if row.labelled and task == "clustering":
            found.append("by the nearest row")
        return ", ".join(found)

    parts = []
    for task in TASKS:
        rows = [
            (f"`{row.name}`", f"`{row.classes[task].replace(':', '.')}`", notes(row, task))
            for row in ALGORITHMS.values()
            if task in row.classes
        ]
        parts.append(f"### {task}\n\n{table(('algorithm', 'class', 'notes'), rows)}")
    return "\n".join(parts)


PARTS: dict[str, Callable[[], str]] = {
    "algorithms": algorithms,
    "errors": errors,
    "configuration": configuration,
    "commands": commands,
    "metrics": metrics,
    "functions": reference_sql.functions,
    "tables": reference_sql.tables,
    "registry": reference_sql.registry,
}


def rewritten(text: str) -> str:
    """The page with its generated parts as they should be."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{PARTS[m['name']]().strip()}\n\n{m[3]}", text)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--check", action="store_true", help="change nothing, fail where a page differs")
    check = options.parse_args().check
    stale = []
    for page in sorted(PAGES.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = rewritten(before)
        if before != after:
            stale.append(page)
            if not check:
                page.write_text(after, encoding="utf-8")
    outcome = "is not what the code says: run python tools/reference.py" if check else "written"
    for page in stale:
        print(f"{page.relative_to(ROOT)} {outcome}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
