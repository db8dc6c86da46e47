"""What a model says of a matrix, as the payload of a ROWS frame.

`compute` asks a predictor for what a plan wants and for nothing else; `one_row` makes the
single output row of a scalar call, `rows` those of a block, column by column without a step
per row. Rows that failed are NULL, and say why where the plan wants to know.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pgannex_wire import WireError
from pgannex_wire.values import (
    FIXED,
    FLOAT4,
    FLOAT4_ARRAY,
    FLOAT4S,
    FLOAT8,
    FLOAT8_ARRAY,
    FLOAT8S,
    SEND,
    TEXT,
    TEXT_OID,
    ColumnBlock,
    RawColumn,
    pack_values,
)

from pgannex_server.tabular.block_input import out_of_range
from pgannex_server.tabular.predict_frames import Plan

Matrix = NDArray[Any]
Parts = Mapping[str, Any]
"""What was computed of n rows: `values`, `proba`, `score`, `components` as arrays of n rows,
`labels` as a list of n texts."""

OUTPUTS = ("prediction", "predictions", "probabilities", "label", "labels", "score", "scores", "components")
_NEEDS = {
    "prediction": "values",
    "predictions": "values",
    "probabilities": "proba",
    "label": "labels",
    "labels": "labels",
    "score": "score",
    "scores": "score",
    "components": "components",
}
_ONE_HEAD = struct.Struct("!IHBIBB")
_F32 = struct.Struct("<f")
_LARGEST = float(np.finfo(np.float32).max)
_ALL = slice(None)


class Predictor(Protocol):
    """What is used of tabular.predictor.Predictor."""

    def predict(self, matrix: Matrix) -> Matrix: ...
    def proba(self, matrix: Matrix) -> Matrix: ...
    def labels(self, values: Matrix) -> Sequence[str | None] | None: ...
    def decompose(self, matrix: Matrix) -> Matrix: ...
    def score(self, matrix: Matrix) -> Matrix: ...


def needs_of(plan: Plan) -> frozenset[str]:
    """What has to be computed for a plan. Raises bad_argument for an output there is not."""
    passed = {name for name, _oid in plan.columns}
    needs = set()
    for name, _oid in plan.outputs:
        if name in passed or name == "error":
            continue
        if name not in _NEEDS:
            raise WireError(
                "bad_argument", f'predict has no output "{name}"', hint=f"known: {', '.join(OUTPUTS)}"
            )
        needs.add(_NEEDS[name])
    return frozenset(needs)


def compute(predictor: Predictor, matrix: Matrix, needs: frozenset[str]) -> dict[str, Any]:
    """The parts that are needed, for every row of the matrix."""
    parts: dict[str, Any] = {}
    if "values" in needs or "labels" in needs:
        parts["values"] = predictor.predict(matrix)
    if "labels" in needs:
        found = predictor.labels(parts["values"])
        parts["labels"] = [None] * len(matrix) if found is None else list(found)
    if "proba" in needs:
        parts["proba"] = predictor.proba(matrix)
    if "score" in needs:
        parts["score"] = predictor.score(matrix)
    if "components" in needs:
        parts["components"] = predictor.decompose(matrix)
    return parts


def check_range(plan: Plan, parts: Parts, rows: slice = _ALL) -> None:
    """Raises out_of_range for a prediction that does not fit the type of its output."""
    values = parts.get("values")
    if values is None or any(oid in (FLOAT8, FLOAT8_ARRAY) for _name, oid in plan.outputs):
        return
    values = values[rows]
    beyond = np.abs(values) > _LARGEST
    if beyond.any() and (beyond := beyond & np.isfinite(values)).any():
        raise out_of_range(float(values[beyond][0]), "the prediction")


def joined(pieces: Sequence[Parts]) -> Parts:
    """The parts of consecutive slices as one."""
    if len(pieces) == 1:
        return pieces[0]
    return {
        key: [text for piece in pieces for text in piece[key]]
        if key == "labels"
        else np.concatenate([piece[key] for piece in pieces])
        for key in pieces[0]
    }


# -- one output row ---------------------------------------------------------------------------


def one_row(plan: Plan, parts: Parts, start: int, stop: int) -> bytes:
    """The answer to a scalar call whose rows are start:stop of what was computed."""
    outputs = plan.outputs
    if len(outputs) == 1 and outputs[0] == ("prediction", FLOAT4) and not plan.text:
        values = parts["values"]
        value = values[start] if values.ndim == 1 else values[start, 0]
        try:
            return b"".join((_ONE_HEAD.pack(1, 1, FIXED, 6, 4, 0), _F32.pack(value)))
        except OverflowError as err:
            raise out_of_range(float(value), "the prediction") from err
    check_range(plan, parts, slice(start, stop))
    columns = [_one(name, oid, plan.text, parts, start, stop) for name, oid in outputs]
    return ColumnBlock(1, tuple(columns)).encode()


def _one(name: str, oid: int, as_text: bool, parts: Parts, start: int, stop: int) -> RawColumn:
    if name == "error":
        return pack_values([None], TEXT)
    whole = parts.get(_NEEDS[name])
    if whole is None:
        return pack_values([None], TEXT)
    found = whole[start:stop]
    if name in ("prediction", "score"):
        return _numbers(_first_column(found)[:1], oid, as_text)
    if name == "label":
        return _texts(found[:1], as_text)
    if name == "labels":
        return _text_array(found, as_text)
    return _arrays(np.asarray(found).reshape(1, -1), oid, as_text)


# -- rows of a block ---------------------------------------------------------------------------


def rows(
    plan: Plan, parts: Parts, nrows: int, passed: Mapping[str, RawColumn], bad: Mapping[int, WireError]
) -> bytes:
    """The answer to a block of `nrows`, of which those in `bad` were not computed."""
    good = None
    if bad:
        mask = np.zeros(nrows, dtype=bool)
        mask[list(bad)] = True
        good = np.flatnonzero(~mask)
    columns = [
        passed[name] if name in passed else _column(name, oid, plan, parts, nrows, good, bad)
        for name, oid in plan.outputs
    ]
    return ColumnBlock(nrows, tuple(columns)).encode()


def _column(
    name: str,
    oid: int,
    plan: Plan,
    parts: Parts,
    nrows: int,
    good: NDArray[np.intp] | None,
    bad: Mapping[int, WireError],
) -> RawColumn:
    if name == "error":
        tell = bad if plan.on_error == "status" else {}
        return pack_values([_said(tell[i]) if i in tell else None for i in range(nrows)], TEXT)
    found = parts.get(_NEEDS[name])
    if found is None or (good is not None and not len(good)):
        return pack_values([None] * nrows, TEXT)
    if name in ("label", "labels"):
        texts: list[str | None] = list(found)
        if good is not None:
            texts = [None] * nrows
            for at, text in zip(good.tolist(), found, strict=True):
                texts[at] = text
        return _texts(texts, plan.text)
    if name in ("prediction", "score"):
        return _numbers(_spread(_first_column(found), nrows, good), oid, plan.text, _nulls(nrows, good))
    matrix = np.asarray(found).reshape(len(found), -1)
    return _arrays(_spread(matrix, nrows, good), oid, plan.text, _nulls(nrows, good))


def _said(error: WireError) -> bytes:
    return f"{error.code}: {error.message}".encode()


def _spread(found: Matrix, nrows: int, good: NDArray[np.intp] | None) -> Matrix:
    if good is None:
        return found
    whole = np.zeros((nrows, *found.shape[1:]), dtype=np.float64)
    whole[good] = found
    return whole


def _nulls(nrows: int, good: NDArray[np.intp] | None) -> NDArray[np.bool_] | None:
    if good is None:
        return None
    mask = np.ones(nrows, dtype=bool)
    mask[good] = False
    return mask


def _first_column(found: Matrix) -> Matrix:
    return found if found.ndim == 1 else found[:, 0]


# -- encodings -----------------------------------------------------------------------------------


def _numbers(found: Matrix, oid: int, as_text: bool, nulls: NDArray[np.bool_] | None = None) -> RawColumn:
    width = {FLOAT4: 4, FLOAT8: 8}.get(oid, 0)
    if as_text or not width:
        texts = [str(np.float32(value)).encode() for value in found]
        return pack_values(_with_nulls(texts, nulls), TEXT)
    cells = np.ascontiguousarray(found, dtype=f"<f{width}")
    if nulls is None:
        return RawColumn(FIXED, bytes((width, 0)) + cells.tobytes())
    bitmap = np.packbits(nulls, bitorder="little").tobytes()
    return RawColumn(FIXED, bytes((width, 1)) + bitmap + np.where(nulls, 0, cells).tobytes())


def _arrays(found: Matrix, oid: int, as_text: bool, nulls: NDArray[np.bool_] | None = None) -> RawColumn:
    if as_text or oid not in (FLOAT4_ARRAY, FLOAT8_ARRAY):
        texts = [b"{" + ",".join(str(np.float32(value)) for value in row).encode() + b"}" for row in found]
        return pack_values(_with_nulls(texts, nulls), TEXT)
    encoding, kind = (FLOAT4S, "<f4") if oid == FLOAT4_ARRAY else (FLOAT8S, "<f8")
    counts = np.full(len(found), found.shape[1], dtype=">i4")
    if nulls is not None:
        counts[nulls] = -1
        found = found[~nulls]
    return RawColumn(encoding, counts.tobytes() + np.ascontiguousarray(found, dtype=kind).tobytes())


def _with_nulls(texts: Sequence[bytes], nulls: NDArray[np.bool_] | None) -> list[bytes | None]:
    if nulls is None:
        return list(texts)
    return [None if null else text for text, null in zip(texts, nulls.tolist(), strict=True)]


def _texts(found: Sequence[str | None], as_text: bool) -> RawColumn:
    return pack_values([None if t is None else t.encode() for t in found], TEXT if as_text else SEND)


def _text_array(found: Sequence[str | None], as_text: bool) -> RawColumn:
    """One text[]: what array_send makes of it, or its literal."""
    if all(text is None for text in found):
        return pack_values([None], TEXT)
    if as_text:
        return pack_values([_literal(found)], TEXT)
    items = pack_values([None if t is None else t.encode() for t in found]).data
    has_nulls = any(t is None for t in found)
    return pack_values([struct.pack("!iiiii", 1, has_nulls, TEXT_OID, len(found), 1) + items])


def _literal(found: Sequence[str | None]) -> bytes:
    def quote(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return ("{" + ",".join("NULL" if t is None else quote(t) for t in found) + "}").encode()
