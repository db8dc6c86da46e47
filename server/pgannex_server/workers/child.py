"""The other end of a Link: what every process of ours does before it works, and its socket.

The socket comes as standard input and is read blocking, without asyncio. A process settles
first: it dies with the server, is the first that the kernel kills for memory, and leaves ^C
to the server. What it does with the frames is its own module's question.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
from pathlib import Path

from pgannex_server.workers.framing import HEADER_SIZE, header_of

_PR_SET_PDEATHSIG = 1
_OOM_SCORE = "500"


class Closed(Exception):
    """The server closed its end."""


class Pipe:
    """Blocking reads and writes of whole frames."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left = b""

    def read(self) -> tuple[int, bytes]:
        """(type, payload) of the next frame. Raises Closed at the end."""
        data, self._left = self._left, b""
        if not data:
            data = self._more()
        while len(data) < HEADER_SIZE:
            data += self._more()
        type_, length = header_of(data)
        end = HEADER_SIZE + length
        if len(data) == end:
            return type_, data[HEADER_SIZE:]
        if len(data) > end:
            self._left = data[end:]
            return type_, data[HEADER_SIZE:end]
        return type_, self._rest(data, length)

    def pending(self) -> bool:
        """Whether something has come that was not read yet."""
        return bool(self._left) or bool(select.select((self._sock,), (), (), 0)[0])

    def _more(self) -> bytes:
        data = self._sock.recv(1 << 16)
        if not data:
            raise Closed
        return data

    def _rest(self, data: bytes, length: int) -> bytes:
        have = len(data) - HEADER_SIZE
        buffer = bytearray(length)
        buffer[:have] = memoryview(data)[HEADER_SIZE:]
        view = memoryview(buffer)[have:]
        while view:
            got = self._sock.recv_into(view)
            if not got:
                raise Closed
            view = view[got:]
        return bytes(buffer)

    def write(self, data: bytes) -> None:
        self._sock.sendall(data)


def take_socket() -> socket.socket:
    """The socket that came as standard input, moved away so that nobody reads it by accident."""
    sock = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sock.setblocking(True)
    return sock


def settle(oom_score: str = _OOM_SCORE, parent: int = 0) -> None:
    """Die with the parent, be the first that the kernel kills for memory, leave ^C to the server.

    A forked process passes the `parent` that it had, which may be gone by now.
    """
    parent = parent or os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(oom_score)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
