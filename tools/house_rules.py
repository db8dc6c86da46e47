"""The rules of this house that no linter knows, each a function that yields what breaks it.

`python tools/house_rules.py` prints the breaches and fails if there are any; lines that begin
with "note:" are only said. Formatting, types and imports are the linters' business.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 400
_CODE = {".py", ".c", ".h", ".sql", ".sh"}

# Written in pieces, so that this file does not break its own rule.
_HOSTS = (
    "py" + "pi.org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "npm" + "js.com",
    "download.py" + "torch.org",
)
_PATHS = ("/wo" + "rk/", "/tmp/pro" + "be", "/tmp/hel" + "pers", "/ro" + "ot/", "/opt/py" + "pi")
_STUBS = ("TO" + "DO", "FIX" + "ME", "raise NotImplemented" + "Error")
_FORBIDDEN_CALLS = {"eval", "exec"}
_FORBIDDEN_IMPORTS = {"pickle", "dill", "cloudpickle", "marshal"}
_OBJECT = re.compile(
    r"^\s*CREATE (?:OR REPLACE )?(?P<kind>FUNCTION|FOREIGN TABLE|FOREIGN DATA WRAPPER|TABLE|VIEW|TYPE|SERVER|"
    r"SCHEMA|AGGREGATE|PROCEDURE|DOMAIN|SEQUENCE)\s+(?:IF NOT EXISTS )?(?P<name>[\w.]+)",
    re.MULTILINE,
)


def tracked() -> list[Path]:
    """The files that git knows or would add."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[Path, str]]:
    """Every tracked file that is text, but the pins and the golden bytes."""
    for path in tracked():
        if path.suffix == ".bin" or path.name == "LICENSE":
            continue
        try:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def no_machine_of_ours() -> Iterator[str]:
    """Neither the host of a package index nor a path of some machine is written anywhere."""
    for path, text in texts():
        for number, line in enumerate(text.splitlines(), 1):
            for word in (*_HOSTS, *_PATHS):
                if word in line and not _is_fine(word, line):
                    yield f"{path}:{number}: names {word}"


def _is_fine(word: str, line: str) -> bool:
    # A word or an address that only ends like such a path is none.
    return word.startswith("/") and not re.search(rf"(?<![\w.:/-]){re.escape(word)}", line)


def no_stubs() -> Iterator[str]:
    """Nothing is left to be written later."""
    for path, text in texts():
        if path.suffix in _CODE:
            for number, line in enumerate(text.splitlines(), 1):
                for word in _STUBS:
                    if re.search(rf"\b{word}\b", line):
                        yield f"{path}:{number}: {word}"


def modules_open_with_a_paragraph() -> Iterator[str]:
    """Every Python module says which question it answers; none unpickles, evaluates or hides errors."""
    for path, text in texts():
        if path.suffix != ".py":
            continue
        tree = ast.parse(text)
        if text.strip() and ast.get_docstring(tree) is None:
            yield f"{path}: opens with no paragraph"
        yield from (f"{path}:{found}" for found in _smells(tree))


def _smells(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in _FORBIDDEN_CALLS
        ):
            yield f"{node.lineno}: calls {node.func.id}"
        if isinstance(node, ast.keyword) and node.arg == "shell" and getattr(node.value, "value", False):
            yield f"{node.value.lineno}: shell=True"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {a.name for a in node.names} if isinstance(node, ast.Import) else {node.module or ""}
            if names & _FORBIDDEN_IMPORTS:
                yield f"{node.lineno}: imports {', '.join(names & _FORBIDDEN_IMPORTS)}"
        if isinstance(node, ast.ExceptHandler) and _hides(node):
            yield f"{node.lineno}: hides every exception"


def _hides(node: ast.ExceptHandler) -> bool:
    broad = node.type is None or (
        isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
    )
    return broad and all(isinstance(statement, ast.Pass) for statement in node.body)


def every_sql_object_is_commented() -> Iterator[str]:
    """Each object of the script that CREATE EXTENSION runs has a COMMENT ON."""
    for host in ("native", "multicorn"):
        command = [sys.executable, str(ROOT / "tools" / "assemble_sql.py"), "--host", host]
        script = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        for match in _OBJECT.finditer(script):
            kind, name = match["kind"], match["name"]
            if not re.search(rf"COMMENT ON {kind} {re.escape(name)}\b", script):
                yield f"sql ({host}): no COMMENT ON {kind} {name}"


def every_setting_is_documented() -> Iterator[str]:
    """Settings of the extension stand in docs/reference; pgannex.toml's are generated (tools/check.py)."""
    pages = "".join(p.read_text() for p in (ROOT / "docs" / "reference").glob("*.md"))
    for path in (ROOT / "fdw").rglob("*"):
        if path.suffix in {".c", ".py"}:
            for name in re.findall(r'"(pgannex\.[a-z_]+)"', path.read_text()):
                if name not in pages:
                    yield f"{path.relative_to(ROOT)}: the setting {name} is not in docs/reference"


def links_lead_somewhere() -> Iterator[str]:
    """A relative link in a page names a file that is there."""
    for path, text in texts():
        if path.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if (
                "://" not in target
                and not target.startswith("mailto:")
                and not (ROOT / path.parent / target).exists()
            ):
                yield f"{path}: the link to {target} leads nowhere"


def pins_are_exact() -> Iterator[str]:
    """A lock file holds exact pins and no address."""
    for path in (ROOT / "locks").glob("*.txt"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line and not line.startswith("#") and not re.match(r"[a-z0-9-]+={2,3}\S+(\s+#.*)?$", line):
                yield f"{path.relative_to(ROOT)}:{number}: no exact pin: {line}"


def files_are_short() -> Iterator[str]:
    """A note, not a breach: files rarely need more than 400 lines."""
    for path, text in texts():
        if path.suffix in _CODE and text.count("\n") > LONGEST:
            yield f"note: {path} has {text.count(chr(10))} lines"


RULES: tuple[Callable[[], Iterator[str]], ...] = (
    no_machine_of_ours,
    no_stubs,
    modules_open_with_a_paragraph,
    every_sql_object_is_commented,
    every_setting_is_documented,
    links_lead_somewhere,
    pins_are_exact,
    files_are_short,
)


def main() -> int:
    """Print every breach; 1 if there is one that is not just a note."""
    found = [breach for rule in RULES for breach in rule()]
    for breach in found:
        print(breach)
    return 1 if any(not breach.startswith("note:") for breach in found) else 0


if __name__ == "__main__":
    sys.exit(main())
