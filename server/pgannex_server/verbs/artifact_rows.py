"""A fit's artifact as rows: part, data, result; what `train` and `job_result` answer.

One ROWS frame per part, the next one when the caller has taken the last, so that a large
artifact is in memory one part at a time. The first row carries the result; a background
training has that row alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pgannex_wire import WireError
from pgannex_wire.frame import TEXT_RESULTS
from pgannex_wire.message import Column, End
from pgannex_wire.values import (
    BYTEA,
    INT4,
    INT8,
    JSON,
    JSONB,
    SEND,
    TEXT,
    TEXT_OID,
    Cell,
    ColumnBlock,
    RawColumn,
    encode_value,
    pack_values,
)

from pgannex_server.fits.artifact import Artifact
from pgannex_server.request import Request
from pgannex_server.verbs.running import Running

NAMES = ("part", "data", "result")
_SENDABLE = frozenset({INT4, INT8, BYTEA, JSON, JSONB, TEXT_OID})


class ArtifactRows(Running):
    """A request that ends with an artifact's parts, or with one row that has none."""

    __slots__ = ("_artifact", "_next", "_paused")

    def prepare(self) -> None:
        """Before Running's constructor, which may be the last to succeed."""
        self._artifact: Artifact | None = None
        self._next = 0
        self._paused = False

    @property
    def is_delivering(self) -> bool:
        return self._artifact is not None

    def deliver(self, artifact: Artifact) -> None:
        """Send it; its file is this request's to close."""
        self._artifact = artifact
        self._send()

    def answer(self, result: Mapping[str, object]) -> None:
        """One row without an artifact."""
        self.rows_out = 1
        self.sink.rows(0, row_block(self.request, None, None, result), True)
        self.end(End(rows=1))

    def delivered(self) -> None:
        """The last part is out; END follows."""

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if self._artifact is not None and not self.closed:
            self.service.loop.call_soon(self._send)

    def release(self) -> None:
        if self._artifact is not None:
            self._artifact.close()

    def _send(self) -> None:
        """The next part, unless the caller has yet to take the last one."""
        artifact = self._artifact
        if self.closed or self._paused or artifact is None:
            return
        number, last = self._next, self._next + 1 == artifact.parts
        if number >= artifact.parts:
            return
        self._next += 1
        self.rows_out += 1
        result = artifact.result if number == 0 else None
        self.sink.rows(0, row_block(self.request, number, artifact.part(number), result), last)
        if last:
            self.delivered()
            self.end(End(rows=artifact.parts))
        elif not self._paused:
            self.service.loop.call_soon(self._send)


def check_outputs(request: Request) -> None:
    """Raises WireError for an output that there is not."""
    for output in request.outputs:
        if output.name not in NAMES:
            raise WireError(
                "bad_argument",
                f'{request.verb} has no output "{output.name}"',
                hint=f"known: {', '.join(NAMES)}",
            )


def row_block(
    request: Request, part: int | None, data: bytes | None, result: Mapping[str, object] | None
) -> ColumnBlock:
    """One row in the columns that are wanted."""
    cells: dict[str, Cell] = {
        "part": part,
        "data": data,
        "result": None if result is None else json.dumps(result),
    }
    as_text = bool(request.flags & TEXT_RESULTS)
    return ColumnBlock(1, tuple(_column(cells[output.name], output, as_text) for output in request.outputs))


def _column(cell: Cell, output: Column, as_text: bool) -> RawColumn:
    as_text = as_text or output.oid not in _SENDABLE
    return pack_values([encode_value(cell, output.oid, as_text)], TEXT if as_text else SEND)
