"""The socket and the output of one fit: rows in with back-pressure, frames and lines out.

Rows are written as they came, without a copy, and whoever sent them hears when the socket has
taken the last byte of a batch: so the credits of the database's connection bound what lies in
here. What the fit prints (libraries do) is kept to its last kilobytes, for the log and for the
reason of a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from typing import Protocol

from pgannex_server.workers.framing import HEADER
from pgannex_server.workers.link import Stream

_TAIL = 16 << 10
_PIPE_READ = 1 << 16


class Listener(Protocol):
    """Who is told what the channel brings."""

    def received(self, type_: int, payload: bytes) -> None:
        """A frame came."""

    def taken(self, seq: int) -> None:
        """The batch `seq` is with the fit."""


class Channel(Stream):
    """Frames to and from a fit. `push` keeps the order; a batch is acknowledged when written."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, listener: Listener) -> None:
        self._listener = listener
        self._waiting: deque[tuple[memoryview, int]] = deque()
        super().__init__(loop, sock)

    def received(self, type_: int, payload: bytes) -> None:
        self._listener.received(type_, payload)

    def push(self, type_: int, payload: bytes = b"", seq: int = -1) -> None:
        """One frame; `taken(seq)` follows once the socket has it, for a seq from 0 on."""
        idle = not self._waiting
        self._waiting.append((memoryview(HEADER.pack(len(payload), type_)), -1))
        self._waiting.append((memoryview(payload), seq))
        if idle:
            self._on_writable()

    def close(self) -> None:
        self._waiting.clear()
        super().close()

    def _on_writable(self) -> None:
        sock = self._sock
        waiting = self._waiting
        try:
            while waiting and sock is not None and self._sock is not None:
                sent = sock.sendmsg([waiting[0][0], waiting[1][0]] if len(waiting) > 1 else [waiting[0][0]])
                self._advance(sent)
        except BlockingIOError:
            self._loop.add_writer(self._fd, self._on_writable)
            return
        except OSError:
            waiting.clear()  # the fit is gone: its pidfd tells
        if self._sock is not None:
            self._loop.remove_writer(self._fd)

    def _advance(self, sent: int) -> None:
        """Drop what was written; say which batches that completes."""
        waiting = self._waiting
        while waiting and sent >= len(waiting[0][0]):
            view, seq = waiting.popleft()
            sent -= len(view)
            if seq >= 0:
                self._listener.taken(seq)
        if waiting and sent:
            view, seq = waiting[0]
            waiting[0] = (view[sent:], seq)


class Output:
    """The reading end of what a fit prints; `tail` is the last of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._tail = b""
        loop.add_reader(fd, self.read)

    def read(self) -> None:
        """Take what there is."""
        if self._fd < 0:
            return
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fd, _PIPE_READ):
                self._tail = (self._tail + data)[-_TAIL:]
                if len(data) < _PIPE_READ:
                    return
            self._loop.remove_reader(self._fd)

    @property
    def tail(self) -> str:
        return self._tail.decode(errors="replace").strip()

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
