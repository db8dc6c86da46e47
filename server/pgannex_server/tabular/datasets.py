"""Data sets as columns and records: `python -m pgannex_server.tabular.datasets`, for one request.

Which question it answers: what pgml.load_dataset gets. The call comes as JSON on standard input,
the answer goes to standard output, a JSON object per line: first {"columns": …}, then
{"records": …} again and again, or {"error": …}. A process of its own, because reading a set of the
hub runs code and parsers of others. verbs/dataset.py is its only caller.

The bundled sets are in bundled.py. Every other source is a repository of the Hugging Face hub:
never a path of this machine, and never one of the library's own builders (csv, text, …), which
would read any file that the server may read.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pgannex_wire import WireError

from pgannex_server.tabular.bundled import BUNDLED, Loaded
from pgannex_server.workers.child import settle

_KWARGS = ("revision", "split")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?")
_ROWS = 500
_BYTES = 1 << 18


def main() -> int:
    """Answer the call on standard input; 1 where the answer is an error."""
    settle()
    call = json.loads(sys.stdin.read())
    answers = sys.stdout
    # What a library prints must not stand among the answers.
    sys.stdout = sys.stderr
    try:
        for line in answer(call):
            answers.write(line + "\n")
        answers.flush()
    except WireError as err:
        _say_error(answers, err)
        return 1
    except Exception as err:  # noqa: BLE001 - the boundary of the process: whatever a library raises is told
        _say_error(answers, WireError("bad_argument", f"{type(err).__name__}: {err}"))
        return 1
    return 0


def _say_error(answers: Any, err: WireError) -> None:
    words = {"code": err.code, "message": err.message, "detail": err.detail, "hint": err.hint}
    answers.write(json.dumps({"error": words}) + "\n")
    answers.flush()


def answer(call: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the answer, without their ends."""
    source, limit = str(call["source"]), call.get("limit")
    if limit is not None and limit < 0:
        raise WireError("bad_argument", f"limit is {limit}", hint="a number of rows, 0 or more")
    columns, records = BUNDLED[source]() if source in BUNDLED else from_hub(call)
    yield json.dumps({"columns": columns})
    chunk: list[str] = []
    size = 0
    for number, record in enumerate(records):
        if limit is not None and number >= limit:
            break
        text = _text(record)
        chunk.append(text)
        size += len(text)
        if len(chunk) >= _ROWS or size >= _BYTES:
            yield _line(chunk)
            chunk, size = [], 0
    if chunk:
        yield _line(chunk)


def _line(chunk: list[str]) -> str:
    return '{"records": [' + ", ".join(chunk) + "]}"


def _text(record: Mapping[str, Any]) -> str:
    try:
        return json.dumps(record, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(record), default=str)


def _finite(value: Any) -> Any:
    """NaN and the infinities are no JSON; as strings Postgres reads them."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def from_hub(call: Mapping[str, Any]) -> Loaded:
    """A data set of the Hugging Face hub; all splits one after the other unless one is asked for."""
    source, subset, kwargs = str(call["source"]), call.get("subset"), dict(call.get("kwargs") or {})
    check_source(source, kwargs)
    if call.get("offline"):
        raise _unknown(source, "this server is offline and fetches none from the hub")
    try:
        library = importlib.import_module("datasets")
        builders = importlib.import_module("datasets.packaged_modules")._PACKAGED_DATASETS_MODULES
    except ImportError as err:
        raise WireError(
            "engine_missing",
            f'"{source}" would come from the Hugging Face hub, and the package datasets is not installed',
            detail=str(err),
            hint=f"pip install 'pgannex[datasets]' on the server, or one of {', '.join(BUNDLED)}",
        ) from err
    if source in builders:
        raise _unknown(source, f'"{source}" reads files of the server')
    if call.get("limit") is not None and "split" not in kwargs:
        kwargs["split"] = f"train[:{call['limit']}]"
    found = library.load_dataset(source, subset, **kwargs)
    parts = list(found.values()) if isinstance(found, dict) else [found]
    columns = [{"name": name, "type": type_of(feature)} for name, feature in parts[0].features.items()]
    return columns, (record for part in parts for record in part)


def check_source(source: str, kwargs: Mapping[str, Any]) -> None:
    """Refuse what is no repository of the hub, and options that could read files of this machine."""
    if not _REPOSITORY.fullmatch(source) or ".." in source or os.path.lexists(source):
        raise _unknown(source, "or a data set of the Hugging Face hub, such as OWNER/NAME")
    for name in kwargs:
        if name not in _KWARGS:
            raise WireError(
                "bad_argument", f'kwargs has an unknown key "{name}"', hint=f"known: {', '.join(_KWARGS)}"
            )


def _unknown(source: str, hint: str) -> WireError:
    return WireError(
        "bad_argument", f'no data set is called "{source}"', hint=f"one of {', '.join(BUNDLED)}; {hint}"
    )


_TYPES = {
    "string": "text", "large_string": "text", "int64": "bigint", "int32": "integer", "int16": "smallint",
    "int8": "smallint", "float64": "double precision", "float32": "real", "float16": "real",
    "bool": "boolean",
}  # fmt: skip


def type_of(feature: Any) -> str:
    """The column's type for a feature of the hub's library."""
    dtype = getattr(feature, "dtype", None)
    if isinstance(feature, dict | list) or dtype in ("dict", "list") or dtype is None:
        return "jsonb"
    if dtype not in _TYPES:
        raise WireError(
            "bad_argument",
            f"unhandled dataset feature {dtype}",
            hint=f"handled: {', '.join(_TYPES)}, dict, list",
        )
    return _TYPES[str(dtype)]


if __name__ == "__main__":
    sys.exit(main())
