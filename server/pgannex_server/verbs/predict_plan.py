"""What a predict request wants, worked out once per shape of request.

It holds what does not change from row to row: the artifact's hash, where the rows are (an
argument, or the columns of batches), and the plan as the predictor process reads it.
"""

from __future__ import annotations

from pgannex_wire import WireError
from pgannex_wire.frame import BULK, SINGLE, TEXT_RESULTS
from pgannex_wire.message import TEXT_FORMAT, Arg
from pgannex_wire.values import decode_value

from pgannex_server.request import Request
from pgannex_server.tabular.predict_frames import BLOCK, FEATURES, FEATURES_TEXT, ROW, Plan, pairs

ARGS = ("artifact", "features", "row", "query", "on_error")
OUTPUTS = ("prediction", "predictions", "probabilities", "label", "labels", "score", "scores", "components",
           "error")  # fmt: skip
ON_ERROR = ("raise", "null", "status")


class PredictPlan:
    """See the module. `value_at` is the index of the argument that is the row, -1 for batches."""

    __slots__ = ("bulk", "hash", "kind", "on_error", "raw", "value_at")

    def __init__(self, request: Request) -> None:
        args = args_by_name(request, ARGS)
        self.hash = required(args, "artifact", request.verb)
        self.on_error = _on_error(text_of(args.get("on_error")))
        self.bulk = bool(request.flags & BULK)
        self.value_at, self.kind = _input_of(request)
        known = {column.name for column in request.columns}
        for output in request.outputs:
            if output.name not in OUTPUTS and output.name not in known:
                raise WireError(
                    "bad_argument",
                    f'predict has no output "{output.name}"',
                    hint=f"known: {', '.join(OUTPUTS)}",
                )
        self.raw = Plan(
            outputs=pairs(request.outputs),
            columns=pairs(request.columns),
            keyed=bool(request.columns) and request.columns[0].name == "key",
            on_error=self.on_error,
            text=bool(request.flags & TEXT_RESULTS),
        ).pack()


def _input_of(request: Request) -> tuple[int, int]:
    given = [(at, arg) for at, arg in enumerate(request.args) if arg.name in ("features", "row")]
    if request.columns:
        if given or request.flags & SINGLE:
            raise WireError("bad_argument", "predict takes features, or a row, or a batch: one of them")
        return -1, BLOCK
    if not request.flags & SINGLE:
        raise WireError("protocol_violation", "predict without batch columns is SINGLE")
    if len(given) != 1 or given[0][1].value is None:
        raise WireError(
            "bad_argument", "predict needs features or a row", hint='add features = … or "row" = …'
        )
    at, arg = given[0]
    if arg.name == "row":
        return at, ROW
    return at, FEATURES_TEXT if arg.format == TEXT_FORMAT or arg.oid == 0 else FEATURES


def args_by_name(request: Request, known: tuple[str, ...]) -> dict[str, Arg]:
    """The arguments; an unknown one is an error that lists the known ones."""
    args = {arg.name: arg for arg in request.args}
    for name in args:
        if name not in known:
            raise WireError(
                "bad_argument", f'{request.verb} takes no input "{name}"', hint=f"known: {', '.join(known)}"
            )
    return args


def text_of(arg: Arg | None) -> str:
    """A text argument, "" where it is not given or NULL."""
    if arg is None or arg.value is None:
        return ""
    return str(decode_value(arg.value, arg.oid, arg.format == TEXT_FORMAT or arg.oid == 0))


def required(args: dict[str, Arg], name: str, verb: str) -> str:
    """A text argument that must be there."""
    value = text_of(args.get(name))
    if not value:
        raise WireError("bad_argument", f"{verb} needs {name}", hint=f"add {name} = …")
    return value


def _on_error(value: str) -> str:
    if value and value not in ON_ERROR:
        raise WireError(
            "bad_argument", f'on_error = "{value}" is unknown', hint=f"known: {', '.join(ON_ERROR)}"
        )
    return value or "raise"
