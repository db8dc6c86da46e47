"""The verb forecast: the next steps of each series that a model was trained on.

A long forecast comes from its predictor in parts, and leaves in the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgannex_wire import WireError
from pgannex_wire.message import TEXT_FORMAT, End
from pgannex_wire.values import decode_value

from pgannex_server.predictors.process import Predictor
from pgannex_server.request import Request, Sink
from pgannex_server.tabular.predict_frames import Result
from pgannex_server.verbs.artifact_request import ArtifactRequest
from pgannex_server.verbs.predict_plan import args_by_name, required, text_of
from pgannex_server.verbs.table import Row, block_of

if TYPE_CHECKING:
    from pgannex_server.service import Service

NAMES = ("series", "step", "at", "prediction", "lower", "upper")
_ARGS = ("artifact", "horizon", "row")


class Forecast(ArtifactRequest):
    """Asks the predictor once the model is there."""

    __slots__ = ("arguments", "home", "number")

    def __init__(self, service: Service, request: Request, sink: Sink) -> None:
        block_of(request, [], NAMES)
        args = args_by_name(request, _ARGS)
        self.arguments: dict[str, Any] = {"row": text_of(args.get("row")), "horizon": None}
        horizon = args.get("horizon")
        if horizon is not None and horizon.value is not None:
            is_text = horizon.format == TEXT_FORMAT or horizon.oid == 0
            steps = decode_value(horizon.value, horizon.oid or 23, is_text)
            if not isinstance(steps, int) or steps < 1:
                raise WireError("bad_argument", f"horizon = {steps!r} is not at least 1")
            self.arguments["horizon"] = steps
        self.number = 0
        self.home: Predictor | None = None
        ArtifactRequest.__init__(self, service, request, sink, required(args, "artifact", "forecast"))
        self.served.join(self)

    def go(self) -> None:
        try:
            self.home = self.service.predictors.ask(self, "forecast", self.arguments, self.served.hash)
        except WireError as err:
            self.fail(err)

    def answered(self, result: Result) -> None:
        if self.closed:
            return
        self._send(result.payload, True)
        self.end(End(rows=self.rows_out, model=self.served.name))

    def answered_partly(self, payload: bytes) -> None:
        if not self.closed:
            self._send(payload, False)

    def _send(self, payload: bytes, last: bool) -> None:
        rows: list[Row] = [{name: row.get(name) for name in NAMES} for row in json.loads(payload)]
        self.rows_out += len(rows)
        self.sink.rows(0, block_of(self.request, rows, NAMES), last)

    def lose(self, error: WireError) -> None:
        self.fail(error)

    def release(self) -> None:
        if self.home is not None:
            self.home.drop(self)
        ArtifactRequest.release(self)
