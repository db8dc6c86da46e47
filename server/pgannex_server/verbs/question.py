"""A request that a predictor process answers with JSON: metrics, environment, forecast."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pgannex_wire import WireError
from pgannex_wire.message import End

from pgannex_server.request import Request, Sink
from pgannex_server.tabular.predict_frames import Result
from pgannex_server.verbs.running import Running
from pgannex_server.verbs.table import Row, block_of

if TYPE_CHECKING:
    from pgannex_server.service import Service


class Question(Running):
    """Asks at once and answers with rows. Verbs say what they ask and what the rows are."""

    __slots__ = ("home", "number")

    names: tuple[str, ...] = ()

    def __init__(self, service: Service, request: Request, sink: Sink) -> None:
        block_of(request, [], self.names)
        arguments = self.arguments(request)
        Running.__init__(self, service, request, sink)
        self.number = 0
        self.home = None
        service.predictors.requests[self] = None
        try:
            self.home = service.predictors.ask(self, request.verb, arguments)
        except WireError as err:
            self.fail(err)

    def arguments(self, request: Request) -> dict[str, Any]:
        """What to ask, as something that JSON can say."""
        return {}

    def rows(self, answer: Any) -> Sequence[Row]:
        """The rows of an answer."""
        return []

    # -- predictors.process.Task --------------------------------------------------------------

    def answered(self, result: Result) -> None:
        if not self.closed:
            give(self, self.rows(json.loads(result.payload)), self.names)

    def lose(self, error: WireError) -> None:
        self.fail(error)

    def release(self) -> None:
        self.service.predictors.requests.pop(self, None)
        if self.home is not None:
            self.home.drop(self)


def give(running: Running, rows: Sequence[Row], names: Sequence[str], model: str = "") -> None:
    """Answer with these rows and end."""
    running.rows_out = len(rows)
    running.sink.rows(0, block_of(running.request, rows, names), True)
    running.end(End(rows=len(rows), model=model))
