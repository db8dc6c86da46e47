"""What an embed request wants, worked out once per shape of request.

The plan holds everything that does not depend on the text: the model, its options as the
worker reads them, what to do with a bad row, and how each wanted output is made. `block`
turns rows of a chunk into a column block.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pgannex_wire import WireError, frame
from pgannex_wire.message import TEXT_FORMAT, Arg, Column
from pgannex_wire.values import (
    FLOAT4S,
    FLOAT8_ARRAY,
    FLOAT8S,
    INT2,
    INT4,
    INT8,
    SEND,
    TEXT,
    ColumnBlock,
    RawColumn,
    decode_value,
    pack_fixed,
    pack_values,
)

from pgannex_server.batching import BULK, INTERACTIVE
from pgannex_server.pool import Answered, Chunk, Job
from pgannex_server.request import Request
from pgannex_server.verbs import kwargs as kw
from pgannex_server.workers.pipe import pack_options

if TYPE_CHECKING:
    from pgannex_server.registry import Model, Registry

ARGS = ("model", "input", "kwargs", "on_error", "query")
OUTPUTS = ("embedding", "tokens", "error")
ON_ERROR = ("raise", "null", "status")
_INT_WIDTH = {INT2: 2, INT4: 4, INT8: 8}
_BLOCK_BYTES = 4 << 20
_I32 = struct.Struct("!i")


class Rows(Chunk):
    """A chunk of embed: the texts, and the batch columns that travel with them.

    `base` is the number of rows before it, `cursor` how many are answered in order.
    """

    __slots__ = ("base", "cursor", "size")

    def __init__(
        self,
        job: Job,
        seq: int,
        texts: Sequence[bytes | None],
        columns: Sequence[Sequence[bytes | None]],
        base: int,
    ) -> None:
        Chunk.__init__(self, job, seq, texts)
        self.columns = columns
        self.base = base
        self.cursor = 0
        self.size = 0


Maker = Callable[[Answered, Sequence[int]], RawColumn]


class EmbedPlan:
    """See the module. `generation` is the registry's when the plan was made."""

    __slots__ = ("artifact", "generation", "input_arg", "input_column", "kinds", "lane", "makers", "model",
                 "on_error", "options", "options_raw", "ordered")  # fmt: skip

    def __init__(self, request: Request, registry: Registry) -> None:
        args = _args_by_name(request)
        self.generation = registry.generation
        self.model: Model = registry.get(_required_text(args, "model"))
        self.on_error = _on_error(args.get("on_error"))
        config = self.model.config
        self.options = kw.options_of(kw.parse(_text(args.get("kwargs"))), config, config.engine)
        self.artifact = str(dict(self.options.extra).get("artifact") or "")
        self.options_raw = pack_options(self.options)
        self.lane = BULK if request.flags & frame.BULK else INTERACTIVE
        self.ordered = not request.flags & frame.UNORDERED
        names = [column.name for column in request.columns]
        self.input_column = names.index("input") if "input" in names else -1
        arg_names = [arg.name for arg in request.args]
        self.input_arg = arg_names.index("input") if "input" in arg_names else -1
        _check_input(request, self.input_arg, self.input_column)
        as_text = bool(request.flags & frame.TEXT_RESULTS)
        self.makers: tuple[Maker, ...] = tuple(
            _maker(output, names, request.args, as_text, self.on_error == "status")
            for output in request.outputs
        )

    def rows_per_block(self) -> int:
        """How many rows a frame should carry at most."""
        info = self.model.info
        return max(1, _BLOCK_BYTES // (4 * info.dimensions + 64)) if info is not None else 1000

    def with_artifact(self, artifact: bytes) -> bytes:
        """The options for the worker once the artifact they name is there."""
        digest = hashlib.sha256(b"artifact:" + artifact).hexdigest()
        return pack_options(replace(self.options, extra=(*self.options.extra, ("artifact_digest", digest))))

    def block(self, rows: Answered, indexes: Sequence[int]) -> ColumnBlock:
        """The wanted outputs of these rows."""
        return ColumnBlock(len(indexes), tuple([make(rows, indexes) for make in self.makers]))


def _args_by_name(request: Request) -> dict[str, Arg]:
    args = {arg.name: arg for arg in request.args}
    for name in args:
        if name not in ARGS:
            raise WireError(
                "bad_argument", f'embed takes no input "{name}"', hint=f"known: {', '.join(ARGS)}"
            )
    for column in request.columns:
        if column.name in ("model", "kwargs", "on_error"):
            raise WireError(
                "bad_argument",
                f"embed takes one {column.name} per request, not a batch",
                hint=f"write {column.name} = …, or join with LATERAL",
            )
    return args


def _check_input(request: Request, arg: int, column: int) -> None:
    if arg < 0 and column < 0:
        raise WireError("bad_argument", "embed needs an input", hint="add input = … or input = ANY(…)")
    if bool(request.flags & frame.SINGLE) != (column < 0):
        raise WireError("protocol_violation", "SINGLE goes with an input among the args, and only then")


def _text(arg: Arg | None) -> str:
    if arg is None or arg.value is None:
        return ""
    return str(decode_value(arg.value, arg.oid, arg.format == TEXT_FORMAT or arg.oid == 0))


def _required_text(args: dict[str, Arg], name: str) -> str:
    arg = args.get(name)
    if arg is None or arg.value is None:
        raise WireError("bad_argument", f"embed needs a {name}", hint=f"add {name} = …")
    return _text(arg)


def _on_error(arg: Arg | None) -> str:
    value = _text(arg) or "raise"
    if value not in ON_ERROR:
        raise WireError(
            "bad_argument", f'on_error = "{value}" is unknown', hint=f"known: {', '.join(ON_ERROR)}"
        )
    return value


# -- outputs ------------------------------------------------------------------------------


def _maker(
    output: Column, columns: Sequence[str], args: Sequence[Arg], as_text: bool, tells_why: bool
) -> Maker:
    name = output.name
    if name in columns:
        return _passed(columns.index(name), as_text)
    if name == "embedding":
        return _vector_text if as_text or output.oid == 0 else _vector_floats(output.oid)
    if name == "tokens":
        return _tokens(output.oid, as_text)
    if name == "error":
        return _errors if tells_why else _no_errors
    for arg in args:
        if arg.name == name:
            return _constant(arg)
    raise WireError("bad_argument", f'embed has no output "{name}"', hint=f"known: {', '.join(OUTPUTS)}")


def _passed(at: int, as_text: bool) -> Maker:
    """A batch column's own values, as they came."""
    encoding = TEXT if as_text else SEND

    def make(rows: Answered, indexes: Sequence[int]) -> RawColumn:
        values = rows.columns[at]
        return pack_values([values[i] for i in indexes], encoding)

    return make


def _constant(arg: Arg) -> Maker:
    encoding = TEXT if arg.format == TEXT_FORMAT else SEND
    return lambda rows, indexes: pack_values([arg.value] * len(indexes), encoding)


def _vector_floats(oid: int) -> Maker:
    return _vector_float8s if oid == FLOAT8_ARRAY else _vector_float4s


def _vector_float4s(rows: Answered, indexes: Sequence[int]) -> RawColumn:
    vectors = rows.vectors
    if len(indexes) == 1:
        vector = vectors[indexes[0]]
        data = _I32.pack(-1) if vector is None else _I32.pack(len(vector) >> 2) + vector
        return RawColumn(FLOAT4S, data)
    found = [vectors[i] for i in indexes]
    counts = struct.pack(f"!{len(found)}i", *[-1 if v is None else len(v) >> 2 for v in found])
    return RawColumn(FLOAT4S, b"".join([counts, *[v for v in found if v is not None]]))


def _vector_float8s(rows: Answered, indexes: Sequence[int]) -> RawColumn:
    found = [rows.vectors[i] for i in indexes]
    counts = struct.pack(f"!{len(found)}i", *[-1 if v is None else len(v) >> 2 for v in found])
    wide = [array("d", array("f", bytes(v))).tobytes() for v in found if v is not None]
    return RawColumn(FLOAT8S, b"".join([counts, *wide]))


def _vector_text(rows: Answered, indexes: Sequence[int]) -> RawColumn:
    """The text form of real[]: nine digits hold a float32 exactly."""
    values: list[bytes | None] = []
    for i in indexes:
        vector = rows.vectors[i]
        if vector is None:
            values.append(None)
            continue
        floats = array("f", bytes(vector))
        values.append(b"{" + (b",".join([b"%.9g"] * len(floats)) % tuple(floats)) + b"}")
    return pack_values(values, TEXT)


def _tokens(oid: int, as_text: bool) -> Maker:
    width = _INT_WIDTH.get(oid, 0)

    def make(rows: Answered, indexes: Sequence[int]) -> RawColumn:
        counts = [None if rows.vectors[i] is None else rows.tokens[i] for i in indexes]
        if as_text or not width:
            return pack_values([None if n is None else b"%d" % n for n in counts], TEXT)
        return pack_fixed(oid, width, counts)

    return make


def _no_errors(rows: Answered, indexes: Sequence[int]) -> RawColumn:
    """on_error = null: what fails has no vector, and nothing says why."""
    return pack_values([None] * len(indexes), TEXT)


def _errors(rows: Answered, indexes: Sequence[int]) -> RawColumn:
    errors = rows.errors
    return pack_values(
        [f"{e.code}: {e.message}".encode() if (e := errors.get(i)) else None for i in indexes], TEXT
    )
