"""What every running request has in common, whatever its verb.

A verb is a class that starts in its constructor and answers through its sink. This base
keeps the request's place in the list of running ones and its end: exactly one of `end`,
`fail` and `cancel` counts, and nothing reaches the sink afterwards.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgannex_wire import WireError
from pgannex_wire.frame import BULK
from pgannex_wire.message import End
from pgannex_wire.values import ColumnBlock

from pgannex_server.request import Request, Sink

if TYPE_CHECKING:
    from pgannex_server.service import Service


class Running:
    """A request between OPEN and END. Verbs override what they take."""

    __slots__ = ("began", "closed", "request", "rows_in", "rows_out", "service", "sink")

    varying: tuple[str, ...] = ()
    """The arguments of which one changes its value from call to call (see request.Shape)."""

    takes_raw = False
    """Whether `feed_raw` takes a batch's bytes as they came, instead of `feed`."""

    def __init__(self, service: Service, request: Request, sink: Sink) -> None:
        self.service = service
        self.request = request
        self.sink = sink
        self.closed = False
        self.rows_in = 0
        self.rows_out = 0
        self.began = time.monotonic()
        service.running[self] = None
        service.telemetry.in_flight += 1

    # -- Handle: a verb without input takes none of it ------------------------------------

    def feed(self, seq: int, block: ColumnBlock) -> None:
        self.fail(WireError("protocol_violation", f"the verb {self.request.verb} takes no rows"))

    def feed_raw(self, seq: int, payload: bytes) -> None:
        """A batch that nobody has looked into."""
        self.feed(seq, ColumnBlock.decode(payload))

    def finish(self) -> None:
        """The input is at its end."""

    def part(self, seq: int, hash: str, data: bytes, last: bool, missing: bool) -> None:
        self.fail(WireError("protocol_violation", f"nobody asked for the artifact {hash}"))

    def pause(self) -> None:
        """The caller does not fetch."""

    def resume(self) -> None:
        """The caller fetches again."""

    def progress(self) -> tuple[int, int]:
        return 0, self.rows_out

    def cancel(self) -> None:
        if not self.closed:
            self._close()
            self.service.telemetry.failed("cancelled")

    # -- how it ends ------------------------------------------------------------------------

    def end(self, end: End) -> None:
        if not self.closed:
            # The answer first: the caller works on while we tidy up.
            self.closed = True
            self.sink.end(end)
            self._close()

    def fail(self, error: WireError) -> None:
        if not self.closed:
            self._close()
            self.service.telemetry.failed(error.code)
            self.sink.fail(error)

    def _close(self) -> None:
        self.closed = True
        del self.service.running[self]
        telemetry = self.service.telemetry
        telemetry.in_flight -= 1
        telemetry.rows += self.rows_out
        self.release()

    def release(self) -> None:
        """Give back what the verb holds; called once, whatever the end."""

    @property
    def deadline(self) -> float:
        return self.request.deadline

    # -- for stat_activity --------------------------------------------------------------------

    @property
    def model_name(self) -> str:
        return ""

    @property
    def state(self) -> str:
        return "running"

    @property
    def fraction(self) -> float | None:
        """How much of it is done, from 0 to 1; None where nobody knows."""
        return None

    @property
    def lane(self) -> str:
        return "bulk" if self.request.flags & BULK else "interactive"
