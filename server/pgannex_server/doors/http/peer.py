"""Who is at the other end of a connection, and when does it go away?

uvicorn tells an application neither. This protocol adds both to the scope's state: the
peer (of a unix socket its credentials, from the kernel) and the connection, whose
`on_lost` is called when the client disconnects. A call-back costs nothing per request,
where the usual task that waits for `http.disconnect` would cost a task switch.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgannex_server.request import Caller

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Base
else:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Base
    except ImportError:  # without httptools: slower, the same otherwise
        from uvicorn.protocols.http.h11_impl import H11Protocol as _Base

_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end. `uid` is None on TCP, where only a key says who it is."""

    uid: int | None = None
    pid: int = 0


class Connection:
    """One connection. It carries one request at a time, so one call-back is enough."""

    __slots__ = ("caller", "lost", "on_lost", "peer")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.caller: Caller | None = None
        self.lost = False
        self.on_lost: Callable[[], None] | None = None

    def went_away(self) -> None:
        self.lost = True
        if self.on_lost is not None:
            self.on_lost()


class PeerProtocol(_Base):
    """uvicorn's protocol, which also puts a `Connection` into each request's state."""

    _connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection = Connection(_peer_of(transport))
        self.app_state = {"connection": self._connection}
        super().connection_made(transport)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._connection is not None:
            self._connection.went_away()


def _peer_of(transport: asyncio.BaseTransport) -> Peer:
    held: Any = transport.get_extra_info("socket")
    if held is None or held.family != socket.AF_UNIX:
        return Peer()
    # uvloop's socket object has no getsockopt: ask through a socket of our own on the same descriptor.
    with socket.socket(fileno=os.dup(held.fileno())) as own:
        raw = own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _gid = _CREDENTIALS.unpack(raw)
    return Peer(uid, pid)
