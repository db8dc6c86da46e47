"""How does a request's answer, which comes in call-backs, become something to await?

`Collector` is the HTTP door's sink: it keeps the blocks in order and completes one future
at the end. `feed_texts` gives a list of texts to the service in batches, never more of them
unanswered than the window allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pgannex_wire.errors import WireError
from pgannex_wire.message import End, Notice
from pgannex_wire.values import ColumnBlock, pack_texts

from pgannex_server.request import Handle

BATCH_BYTES = 1 << 20
_NOTICE = 2


class Collector:
    """Collects one request. `done` gives End or raises the request's WireError."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[End] = loop.create_future()
        self.blocks: list[ColumnBlock] = []
        self.notices: list[str] = []
        self.on_answered: Callable[[], None] | None = None
        self._handle: Handle | None = None
        self._cancelled = False

    def attach(self, handle: Handle) -> None:
        """Keep the handle that `start` returned, for cancel and for feeding."""
        self._handle = handle
        if self._cancelled:
            handle.cancel()

    @property
    def handle(self) -> Handle:
        assert self._handle is not None
        return self._handle

    def lost(self) -> None:
        """The client went away: whoever awaits `done` is told."""
        if not self.done.done():
            self._drop()
            self.done.set_exception(WireError("cancelled", "the client went away"))

    def close(self) -> None:
        """Nobody awaits `done` any more: drop what still runs."""
        if not self.done.done():
            self._drop()
            self.done.cancel()

    def _drop(self) -> None:
        self._cancelled = True
        if self._handle is not None:
            self._handle.cancel()

    def rows(self, seq: int, block: ColumnBlock, last: bool) -> None:
        if block.nrows:
            self.blocks.append(block)
        if last and self.on_answered is not None:
            self.on_answered()

    def ack(self, seq: int) -> None:
        if self.on_answered is not None:
            self.on_answered()

    def notice(self, notice: Notice) -> None:
        if notice.level >= _NOTICE:
            self.notices.append(notice.message)

    def need(self, hash: str) -> None:
        """No database is at the other end that could answer."""
        missing = WireError(
            "artifact_missing", f"the model needs artifact {hash}, which only a database can send"
        )
        self.handle.cancel()
        self.fail(missing)

    def end(self, end: End) -> None:
        if not self.done.done():
            self.done.set_result(end)

    def fail(self, error: WireError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def feed_texts(sink: Collector, texts: list[str], window: int) -> None:
    """Feed all texts through `sink.handle`, `window` batches ahead of the answers."""
    batches = enumerate(batches_of(texts))
    free = window
    finished = False

    def pump() -> None:
        nonlocal free, finished
        while free > 0 and not finished and not sink.done.done():
            batch = next(batches, None)
            if batch is None:
                finished = True
                sink.handle.finish()
                return
            free -= 1
            seq, part = batch
            sink.handle.feed(seq, ColumnBlock(len(part), (pack_texts(part),)))

    def answered() -> None:
        nonlocal free
        free += 1
        pump()

    sink.on_answered = answered
    pump()


def batches_of(texts: list[str]) -> list[list[str]]:
    """Runs of texts of about BATCH_BYTES each; a longer text travels alone."""
    batches: list[list[str]] = [[]]
    size = 0
    for text in texts:
        length = len(text) if text.isascii() else len(text.encode())
        if size and size + length > BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(text)
        size += length + 4
    return batches
