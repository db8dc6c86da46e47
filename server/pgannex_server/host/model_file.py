"""Editing pgannex.toml for `models add` and `models rm`: sections are added and removed as text,
so that comments, order and everything else in the file stay as somebody wrote them."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pgannex_server.host.errors import HostError

Value = str | int | bool | list[str]
_HEADER = re.compile(r"^\s*\[")


def added(text: str, name: str, options: Mapping[str, Value]) -> str:
    """The file's text with a section for a model at its end."""
    if name in _models(text):
        raise HostError(
            f'the model "{name}" is configured already', hint="remove it first: pgannex models rm"
        )
    section = [f"[models.{_string(name)}]", *(f"{key} = {_literal(value)}" for key, value in options.items())]
    body = text.rstrip("\n")
    return (body + "\n\n" if body else "") + "\n".join(section) + "\n"


def removed(text: str, name: str) -> str:
    """The file's text without the sections of a model."""
    known = _models(text)
    if name not in known:
        names = ", ".join(known) or "none"
        raise HostError(f'no model "{name}" is configured', hint=f"configured: {names}")
    kept: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        if _HEADER.match(line):
            inside = _belongs(line, name)
        if not inside:
            kept.append(line)
    result = "".join(kept)
    if name in _models(result):
        raise HostError(
            f'the model "{name}" is not written as a section of its own', hint="edit the file by hand"
        )
    return result


def write(path: Path, text: str) -> None:
    """Swap the file for a new text, with the mode and the owner of the old one."""
    tomllib.loads(text)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    if path.exists():
        old = path.stat()
        fresh.chmod(old.st_mode & 0o7777)
        _same_owner(fresh, old.st_uid, old.st_gid)
    fresh.replace(path)


def _same_owner(path: Path, uid: int, gid: int) -> None:
    if (path.stat().st_uid, path.stat().st_gid) != (uid, gid):
        os.chown(path, uid, gid)


def _models(text: str) -> dict[str, object]:
    try:
        return dict(tomllib.loads(text).get("models", {}))
    except tomllib.TOMLDecodeError as err:
        raise HostError(f"the configuration is no TOML: {err}") from err


def _belongs(header: str, name: str) -> bool:
    """Whether a header such as [models."a".options] speaks of the model."""
    try:
        parsed = tomllib.loads(header)
    except tomllib.TOMLDecodeError:
        return False
    return name in parsed.get("models", {})


def _string(text: str) -> str:
    # JSON's escapes for a basic string are TOML's, but for the character DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_string(item) for item in value) + "]"
    return _string(value) if isinstance(value, str) else str(value)
