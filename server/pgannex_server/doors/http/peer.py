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

from pgannex_wire.errors import WireError

from pgannex_server.doors.http.errors import body_of
from pgannex_server.request import Caller

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Base
else:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Base
    except ImportError:  # without httptools: slower, the same otherwise
        from uvicorn.protocols.http.h11_impl import H11Protocol as _Base

_CREDENTIALS = struct.Struct("3i")
PATIENCE_S = 75.0
"""How long a connection may be without a whole request."""
_BUSY = object()
_BODY = body_of(WireError("overloaded", "too many connections", hint="see [http] max_connections"))
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


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
    """uvicorn's protocol, which also puts a `Connection` into each request's state.

    It takes at most `most` connections, and closes one whose next request does not become
    whole: each holds a file descriptor that the sockets for Postgres need too.
    """

    most = 0
    """0: no limit."""
    _connection: Connection | None = None
    _timer: asyncio.TimerHandle | None = None
    _seen: object = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection = Connection(_peer_of(transport))
        self.app_state = {"connection": self._connection}
        super().connection_made(transport)  # type: ignore[arg-type]
        if 0 < self.most < len(self.server_state.connections):
            self.transport.write(_FULL)
            self.transport.close()
            return
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._look)

    def _look(self) -> None:
        """Close a connection that was found waiting for the same bytes twice."""
        cycle = self.cycle
        waits = cycle is None or cycle.response_complete or cycle.more_body
        if waits and cycle is self._seen:
            self.transport.close()
            return
        self._seen = cycle if waits else _BUSY
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
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
