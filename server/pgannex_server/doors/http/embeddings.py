"""POST /v1/embeddings: OpenAI's embeddings call, answered by a local model.

Checks the fields, hands the texts to the service and renders what comes back. Token arrays
are refused: they are numbers of another model's tokenizer. Which models there are, and
which options they take, is the service's to know.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pgannex_wire.message import Arg, Column
from pgannex_wire.values import FLOAT4_ARRAY, JSONB, TEXT_OID

from pgannex_server.doors.http.body import parse_object, want_text
from pgannex_server.doors.http.call import Call, Reply
from pgannex_server.doors.http.collect import Collector, feed_texts
from pgannex_server.doors.http.errors import FieldError
from pgannex_server.doors.http.vectors import render
from pgannex_server.request import BULK, SINGLE, Request, Shape

INTERACTIVE_INPUTS = 32
"""A list of more texts than this is a bulk job: it lets single texts pass."""

_FIELDS = ("model", "input", "dimensions", "encoding_format", "user", "kwargs")
_OUTPUTS = (Column("embedding", FLOAT4_ARRAY),)
_COLUMNS = (Column("input", TEXT_OID),)
_SHAPES_KEPT = 256


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked request. `kwargs` is JSON text, as in pgml.embed; empty for none."""

    model: str
    texts: list[str]
    kwargs: str
    base64: bool


class Embeddings:
    """Answers the call; remembers the shapes of recent requests, which the service fills."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[str, str, str], Shape] = {}

    async def __call__(self, call: Call) -> Reply:
        ask = parse(await call.body(), call.config.http.max_inputs)
        sink = Collector(call.loop)
        with call.cancelled_by_disconnect(sink):
            self._start(call, ask, sink)
            end = await sink.done
        return Reply(await render(sink.blocks, end.model or ask.model, end.tokens, ask.base64, sink.notices))

    def _start(self, call: Call, ask: Ask, sink: Collector) -> None:
        args: tuple[Arg, ...] = (Arg("model", TEXT_OID, ask.model.encode()),)
        if ask.kwargs:
            args += (Arg("kwargs", JSONB, b"\x01" + ask.kwargs.encode()),)
        if len(ask.texts) == 1:
            args += (Arg("input", TEXT_OID, ask.texts[0].encode()),)
            shape = self._shape(ask, call.caller.role)
            request = Request("embed", args, (), _OUTPUTS, SINGLE, call.deadline(), call.caller, shape)
            sink.attach(call.service.start(request, sink))
            return
        flags = BULK if len(ask.texts) > INTERACTIVE_INPUTS else 0
        request = Request("embed", args, _COLUMNS, _OUTPUTS, flags, call.deadline(), call.caller)
        sink.attach(call.service.start(request, sink))
        feed_texts(sink, ask.texts, call.config.limits.window)

    def _shape(self, ask: Ask, role: str) -> Shape:
        key = (ask.model, ask.kwargs, role)
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= _SHAPES_KEPT:
                self._shapes.clear()
            shape = self._shapes[key] = Shape()
        return shape


def parse(body: bytes, max_inputs: int) -> Ask:
    """The fields of a request's body, checked. Raises FieldError."""
    fields = parse_object(body)
    for name in fields:
        if name not in _FIELDS:
            raise FieldError(
                "bad_argument", name, f"unknown field {name}", hint=f"known: {', '.join(_FIELDS)}"
            )
    texts = _texts(fields.get("input"))
    if len(texts) > max_inputs:
        raise FieldError(
            "too_large", "input", f"{len(texts)} inputs exceed {max_inputs}", hint="send fewer at once"
        )
    return Ask(want_text(fields, "model"), texts, _kwargs(fields), _wants_base64(fields))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [_valid(value)]
    if not isinstance(value, list) or not value:
        raise FieldError(
            "bad_argument", "input", f"input is {json.dumps(value)[:80]}, not a text or a list of texts"
        )
    for at, item in enumerate(value):
        if item is None:
            raise FieldError("null_input", "input", f"input[{at}] is null")
        if isinstance(item, int | list):
            raise FieldError(
                "bad_argument",
                "input",
                f"input[{at}] is a token or an array of tokens",
                hint="send texts: the model has a tokenizer of its own",
            )
        if not isinstance(item, str):
            raise FieldError("bad_argument", "input", f"input[{at}] is {json.dumps(item)[:80]}, not a text")
        _valid(item, at)
    return value


def _valid(text: str, at: int = 0) -> str:
    """A text that Postgres could hold too: no NUL character and no lone surrogate."""
    if "\0" in text or not (text.isascii() or _encodes(text)):
        raise FieldError(
            "invalid_text", "input", f"input[{at}] holds a NUL character or half a surrogate pair"
        )
    return text


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kwargs(fields: dict[str, Any]) -> str:
    kwargs = fields.get("kwargs")
    if kwargs is None:
        kwargs = {}
    if not isinstance(kwargs, dict):
        raise FieldError("bad_argument", "kwargs", f"kwargs is {json.dumps(kwargs)[:80]}, not an object")
    dimensions = fields.get("dimensions")
    if dimensions is not None:
        if not isinstance(dimensions, int) or isinstance(dimensions, bool) or dimensions < 1:
            shown = json.dumps(dimensions)[:80]
            raise FieldError(
                "bad_argument", "dimensions", f"dimensions is {shown}, not a positive whole number"
            )
        kwargs = {**kwargs, "dimensions": dimensions}
    return json.dumps(kwargs, sort_keys=True) if kwargs else ""


def _wants_base64(fields: dict[str, Any]) -> bool:
    value = fields.get("encoding_format")
    if value not in (None, "float", "base64"):
        shown = json.dumps(value)[:80]
        raise FieldError(
            "bad_argument", "encoding_format", f"encoding_format is {shown}", hint="known: float, base64"
        )
    return bool(value == "base64")
