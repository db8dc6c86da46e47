"""The frames door: the unix socket, who may knock, and what all connections share.

It owns the listening socket (socketfile.py), one heartbeat timer for all running requests,
and the answer to "is this peer a database?". Peers that are none cannot take all places, nor
all memory for frames that come in pieces. Requests are connection.py's.
"""

from __future__ import annotations

import asyncio
import logging
import pwd
import socket
import struct
import time

from pgannex_wire import WireError

from pgannex_server.doors import socketfile
from pgannex_server.doors.frames.connection import Connection
from pgannex_server.errors import ConfigError
from pgannex_server.service import Service

log = logging.getLogger("pgannex.frames")

_UCRED = struct.Struct("3i")
_HEARTBEAT_S = 2.0
_LINGER_S = 4.0
"""A client that does not close after an ERROR is closed after this long."""
_HELLO_S = 10.0
"""A peer that has sent no whole HELLO is closed after this long."""
_FLUSH_S = 1.0


class FramesDoor:
    """`open()` listens, `close()` ends it; `stop_accepting()` is for draining."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.connections: dict[Connection, None] = {}
        self.running: dict[Connection, None] = {}
        self.draining = False
        self._admitted = {True: 0, False: 0}
        self._partial = {True: 0, False: 0}
        self.path = service.config.server.socket
        self._server: asyncio.AbstractServer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._database_uids: frozenset[int] = frozenset()
        self._inode = (0, 0)

    async def open(self) -> None:
        server = self.service.config.server
        self.configure()
        sock = socketfile.listen(self.path, server.socket_mode, server.socket_group)
        self._inode = socketfile.identity(self.path)
        self._server = await self.service.loop.create_unix_server(
            lambda: Connection(self), sock=sock, backlog=512
        )
        self._beat()

    def configure(self) -> None:
        """Take the users that are databases from the configuration."""
        self._database_uids = database_uids(self.service.config.server.database_users)

    def stop_accepting(self) -> None:
        """No new connections; idle ones are closed, running ones after their request."""
        self.draining = True
        if self._server is not None:
            self._server.close()
            self._server = None
            socketfile.remove(self.path, self._inode)
        for connection in list(self.connections):
            if connection.is_idle:
                connection.leave()

    async def close(self) -> None:
        """End all connections, when what was written to them is taken or after a second."""
        self.stop_accepting()
        if self._timer is not None:
            self._timer.cancel()
        until = time.monotonic() + _FLUSH_S
        while any(c.unwritten for c in self.connections) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.shut()

    # -- what connections ask -------------------------------------------------------------------

    def welcome(self, connection: Connection) -> WireError | None:
        """Register a connection; the error to refuse it with if there are too many."""
        telemetry = self.service.telemetry
        telemetry.connections += 1
        telemetry.connections_total += 1
        self.connections[connection] = None
        most = self.service.config.limits.max_connections
        kept = 0 if connection.trusted else database_places(most)
        if sum(self._admitted.values()) < most and self._admitted[False] < most - kept:
            self._admitted[connection.trusted] += 1
            connection.admitted = True
            return None
        return WireError("overloaded", "too many connections", hint="see [limits] max_connections")

    @property
    def crowded(self) -> bool:
        """So many refused connections have yet to close that another is not waited for."""
        return len(self.connections) > 2 * self.service.config.limits.max_connections

    def farewell(self, connection: Connection) -> None:
        if self.connections.pop(connection, self) is None:
            self.service.telemetry.connections -= 1
            self._admitted[connection.trusted] -= connection.admitted

    def hold(self, connection: Connection, held: int) -> None:
        """Count what a connection has of a frame that is not whole yet.

        Raises WireError(overloaded) where all of them together are too much.
        """
        grown = held - connection.partial
        connection.partial = held
        self._partial[connection.trusted] += grown
        most = self.service.config.limits.partial_bytes
        if grown > 0 and (
            sum(self._partial.values()) > most
            or (not connection.trusted and self._partial[False] > most // 2)
        ):
            raise WireError(
                "overloaded", "too many large frames are on their way", hint="see [limits] partial_bytes"
            )

    def trust(self, uid: int) -> tuple[bool, str]:
        """(whether a role and a grant are believed, the role of the peer itself)."""
        return uid in self._database_uids, f"os:{user_name(uid)}"

    @staticmethod
    def peer_of(transport: asyncio.Transport) -> tuple[int, int]:
        """(uid, pid) of the process that connected, as the kernel tells."""
        sock = transport.get_extra_info("socket")
        pid, uid, _gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        return uid, pid

    # -- inside -----------------------------------------------------------------------------------

    def _beat(self) -> None:
        for connection in list(self.running):
            connection.heartbeat()
        now = time.monotonic()
        for connection in list(self.connections):
            connection.await_hello(now - _HELLO_S)
        late = now - _LINGER_S
        for connection in [c for c in self.connections if 0 < c.closing_since < late]:
            connection.shut()
        self._timer = self.service.loop.call_later(_HEARTBEAT_S, self._beat)


def database_places(most: int) -> int:
    """Of `most` connections, those that only a database gets: a quarter, at least 16."""
    return min(max(16, most // 4), most // 2)


def user_name(uid: int) -> str:
    """The user's name, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def database_uids(users: tuple[str, ...]) -> frozenset[int]:
    """The uids of names or numbers. A user that this host lacks is left out: it cannot connect."""
    uids = set()
    for user in users:
        if user.isdigit():
            uids.add(int(user))
            continue
        try:
            uids.add(pwd.getpwnam(user).pw_uid)
        except KeyError:
            log.warning("[server] database_users: this host has no user %s", user)
    if users and not uids:
        raise ConfigError(f"[server] database_users = {list(users)}: none of them exists on this host")
    return frozenset(uids)
