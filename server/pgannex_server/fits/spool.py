"""The rows of a background fit that waits for its turn, in a file instead of a caller's connection.

A file of the state folder that only the server can read, and that has no name any more once it
is open: whatever happens, its space is free when the last process has closed it. It holds the
BATCH frames as the fit's socket would have taken them, written on a thread, so that a slow disk
delays nobody; the fit reads it by descriptor. All files together are bounded.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from pathlib import Path
from typing import Protocol

from pgannex_wire import WireError

from pgannex_server.tabular import fit_frames as frames
from pgannex_server.workers.framing import HEADER


class Spooler(Protocol):
    """Who is told. Nothing comes after `failed` or `Spool.close`."""

    def spooled(self, seq: int) -> None:
        """The batch `seq` is in the file."""

    def spool_failed(self, error: WireError) -> None:
        """There is no room, or the disk refuses."""


class SpoolRoom:
    """Where the files lie, and the bytes that all of them have."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.used = 0


class Spool:
    """One fit's rows. The file is made with the first batch."""

    def __init__(self, loop: asyncio.AbstractEventLoop, room: SpoolRoom, name: str) -> None:
        self.owner: Spooler | None = None
        self.fd = -1
        self._loop = loop
        self._room = room
        self._path = room.folder / f"{name}.spool"
        self._bytes = 0
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._is_writing = False
        self._is_closed = False

    @property
    def is_used(self) -> bool:
        """Whether rows are in it."""
        return self.fd >= 0

    @property
    def is_flushed(self) -> bool:
        """Whether all that was written is in the file."""
        return not self._waiting and not self._is_writing

    def write(self, seq: int, payload: bytes) -> None:
        """A batch; `spooled(seq)` or `spool_failed` follows."""
        size = HEADER.size + len(payload)
        if self._room.used + size > self._room.limit:
            self._fail(
                WireError(
                    "overloaded",
                    f"the rows of background jobs that wait take {self._room.used} bytes, "
                    f"the limit is {self._room.limit}",
                    hint="try again when a fit has ended, or raise [tabular] job_spool_bytes in pgannex.toml",
                )
            )
            return
        try:
            self._open()
        except OSError as err:
            self._fail(self._refusal(err))
            return
        self._room.used += size
        self._bytes += size
        self._waiting.append((seq, payload))
        if not self._is_writing:
            self._write_next()

    def close(self) -> None:
        """Nobody here needs it any more: what the fit holds stays until it has read it."""
        if self._is_closed:
            return
        self._is_closed = True
        self._room.used -= self._bytes
        self._waiting.clear()
        if not self._is_writing:
            self._close_file()

    def _open(self) -> None:
        if self.fd < 0:
            self.fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._path.unlink()

    def _write_next(self) -> None:
        seq, payload = self._waiting.popleft()
        self._is_writing = True
        done = self._loop.run_in_executor(None, _append, self.fd, payload)
        done.add_done_callback(lambda future: self._written(future, seq))

    def _written(self, future: asyncio.Future[None], seq: int) -> None:
        self._is_writing = False
        error = future.exception()
        if self._is_closed:
            self._close_file()
        elif isinstance(error, OSError):
            self._fail(self._refusal(error))
        elif error is not None:
            raise error
        else:
            if self._waiting:
                self._write_next()
            if self.owner is not None:
                self.owner.spooled(seq)

    def _fail(self, error: WireError) -> None:
        self.close()
        if self.owner is not None:
            self.owner.spool_failed(error)

    def _refusal(self, err: OSError) -> WireError:
        return WireError(
            "overloaded",
            f"the rows of a background job cannot be kept in {self._room.folder}: {err.strerror}",
            hint="make room there, or see [server] state_dir in pgannex.toml",
        )

    def _close_file(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _append(fd: int, payload: bytes) -> None:
    """One frame at the end of the file."""
    for part in (HEADER.pack(len(payload), frames.BATCH), payload):
        view = memoryview(part)
        while view:
            view = view[os.write(fd, view) :]
