"""The verb metrics: how well predictions fit what was observed. scikit-learn counts, elsewhere."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from typing import Any

from pgannex_wire import WireError
from pgannex_wire.message import TEXT_FORMAT, Arg
from pgannex_wire.values import decode_value

from pgannex_server.request import Request
from pgannex_server.verbs.predict_plan import args_by_name, required
from pgannex_server.verbs.question import Question
from pgannex_server.verbs.table import Row

_HEAD = struct.Struct("!iiIii")
_ARGS = ("ground_truth", "y_hat", "num_classes", "kind")
_CODES = {700: "f", 701: "d"}


class Metrics(Question):
    """One row with one JSON value."""

    __slots__ = ()
    names = ("result",)

    def arguments(self, request: Request) -> dict[str, Any]:
        args = args_by_name(request, _ARGS)
        classes = args.get("num_classes")
        count = None
        if classes is not None and classes.value is not None:
            is_text = classes.format == TEXT_FORMAT or classes.oid == 0
            count = decode_value(classes.value, classes.oid or 20, is_text)
        return {
            "kind": required(args, "kind", "metrics"),
            "ground_truth": _numbers(args.get("ground_truth"), "ground_truth"),
            "y_hat": _numbers(args.get("y_hat"), "y_hat"),
            "num_classes": count,
        }

    def rows(self, answer: Any) -> Sequence[Row]:
        return [{"result": json.dumps(answer)}]


def _numbers(arg: Arg | None, name: str) -> list[str] | dict[str, str]:
    """The elements: as texts, because JSON has no NaN and the process says what is wrong with one;
    or as they came, of a type, because a million of them would keep everybody waiting here."""
    if arg is None or arg.value is None:
        raise WireError("bad_argument", f"metrics needs {name}", hint=f"add {name} = ARRAY[…]")
    value = arg.value
    if arg.format == TEXT_FORMAT or arg.oid == 0:
        items = value.decode("ascii", "replace").strip("{}").split(",")
        found = [item.strip() for item in items if item.strip()]
        if any(item.upper() == "NULL" for item in found):
            raise WireError("null_input", f"{name} holds NULL")
        return found
    if len(value) < 12:
        raise WireError("protocol_violation", f"{name} is no array")
    ndim, has_null, oid = struct.unpack_from("!iiI", value)
    if ndim == 0:
        return []
    if has_null:
        raise WireError("null_input", f"{name} holds NULL")
    code = _CODES.get(oid)
    if ndim != 1 or code is None:
        raise WireError("bad_argument", f"{name} is no one-dimensional real[]", hint="cast it to real[]")
    item = struct.Struct(f"!i{code}")
    if (len(value) - _HEAD.size) % item.size:
        raise WireError("protocol_violation", f"{name} has {len(value)} bytes")
    return {"type": code, "sent": base64.b64encode(value[_HEAD.size :]).decode()}
