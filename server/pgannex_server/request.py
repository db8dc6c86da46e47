"""What passes between a door and the service: Caller, Request, Sink, Handle.

Doors build a `Request` and implement `Sink`; the service answers with a `Handle`. Plain
calls both ways, all on the event loop's thread, no awaits: the hot path costs no task
switch. A sink is called at most until `end` or `fail`, and never again after
`handle.cancel()`. `start` may call the sink before it returns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pgannex_wire import WireError
from pgannex_wire.frame import BULK, PUSH, SINGLE, TEXT_RESULTS, UNORDERED
from pgannex_wire.message import Arg, Column, End, Notice
from pgannex_wire.values import ColumnBlock

__all__ = ["BULK", "PUSH", "SINGLE", "TEXT_RESULTS", "UNORDERED"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. The door has already decided whether role and grant may be believed.

    `grant` is what the database's `authorize` function returned; of it the server knows
    `control` (load, unload, pin) and `see_all` (everybody's requests in stat_activity).
    """

    role: str
    uid: int = -1
    pid: int = 0
    database: str = ""
    application_name: str = ""
    client: str = ""
    door: str = "frames"
    grant: Mapping[str, object] = field(default_factory=dict)

    def may(self, right: str) -> bool:
        """Whether the grant holds `right` with the value true."""
        return self.grant.get(right) is True


def parse_grant(text: str) -> Mapping[str, object]:
    """The grant of OPEN as a mapping. "" is no grant; what is no JSON object is refused."""
    if not text:
        return {}
    try:
        grant = json.loads(text)
    except ValueError as err:
        raise WireError("protocol_violation", f"the grant is not JSON: {err}") from err
    if grant is None:
        return {}
    if not isinstance(grant, dict):
        raise WireError("protocol_violation", "the grant is not a JSON object")
    return grant


class Shape:
    """What a run of requests on one connection has in common; both fields are the verb's.

    A door that sees the same OPEN again, but for the value of one argument, passes the same
    Shape again, and the verb reuses the `plan` that it made the first time. Where the verb
    has left `again`, the door may call that instead of `Service.start`: with the value, the
    deadline in ms (0: none) and the sink. None means: not this time, go the usual way.
    """

    __slots__ = ("again", "plan")

    def __init__(self) -> None:
        self.plan: object | None = None
        self.again: Callable[[bytes, int, Sink], Handle | None] | None = None


class Request(NamedTuple):
    """One call of a verb.

    `deadline` is a time of `time.monotonic()`, 0 for none. `args` hold
    for every row; `columns` are those of the blocks that will be fed; `outputs` are wanted,
    in this order; `flags` are those of OPEN. With SINGLE, args are the one row and the
    input is at its end. `shape` may be None.
    """

    verb: str
    args: tuple[Arg, ...]
    columns: tuple[Column, ...]
    outputs: tuple[Column, ...]
    flags: int
    deadline: float
    caller: Caller
    shape: Shape | None = None


class Sink(Protocol):
    """What a door gives the service to answer with."""

    def rows(self, seq: int, block: ColumnBlock, last: bool) -> None:
        """Rows of batch `seq`; `last`: the batch is answered. Batch 0 stands for the args."""

    def ack(self, seq: int) -> None:
        """Batch `seq` was consumed without rows of its own (PUSH)."""

    def notice(self, notice: Notice) -> None: ...

    def need(self, hash: str) -> None:
        """The caller shall send the artifact's parts through `handle.part`."""

    def end(self, end: End) -> None:
        """The request is done; nothing follows."""

    def fail(self, error: WireError) -> None:
        """The request failed; nothing follows."""


class Handle(Protocol):
    """A running request, as its door sees it. No method raises WireError: `fail` tells."""

    def feed(self, seq: int, block: ColumnBlock) -> None:
        """A batch of rows. The door keeps at most `window` batches unanswered."""

    @property
    def takes_raw(self) -> bool:
        """Whether a batch goes to `feed_raw` rather than to `feed`."""

    def feed_raw(self, seq: int, payload: bytes) -> None:
        """A batch of rows as it came, for a verb that only passes it on."""

    def finish(self) -> None:
        """The input is at its end."""

    def cancel(self) -> None:
        """Nobody waits any more: drop what is queued; no sink call follows."""

    def part(self, seq: int, hash: str, data: bytes, last: bool, missing: bool) -> None:
        """A part of the artifact asked for with `need`."""

    def pause(self) -> None:
        """The caller does not fetch: compute nothing more for it until `resume`."""

    def resume(self) -> None: ...

    def progress(self) -> tuple[int, int]:
        """(requests ahead in the queue, rows done), for the heartbeat."""
