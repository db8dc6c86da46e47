"""On which sockets does the HTTP door listen, and how does it start and stop?

uvicorn serves on the event loop that the whole server runs on: without its signal handlers
(the server has its own), without its way of opening sockets (the mode and the group of
ours are set before anyone can connect).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from pgannex_server.config import Config, address_of
from pgannex_server.doors import socketfile
from pgannex_server.doors.http.gate import Application
from pgannex_server.doors.http.peer import PeerProtocol
from pgannex_server.errors import ConfigError

_BACKLOG = 1024
_KEEP_ALIVE_S = 75


class _Server(uvicorn.Server):
    """uvicorn on sockets that are already open, and without its signal handlers."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], most: int) -> None:
        super().__init__(config)
        self._sockets = sockets
        self._most = most
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.servers = []
        for sock in self._sockets:
            if sock.family == socket.AF_UNIX:
                self.servers.append(
                    await loop.create_unix_server(self._protocol, sock=sock, backlog=_BACKLOG)
                )
            else:
                self.servers.append(await loop.create_server(self._protocol, sock=sock, backlog=_BACKLOG))
        self.started = True
        self.listening.set()

    def _protocol(self) -> asyncio.Protocol:
        protocol = PeerProtocol(config=self.config, server_state=self.server_state, app_state={})
        protocol.most = self._most
        return protocol


class HttpDoor:
    """The running door. `address` is where TCP is served, None without TCP."""

    def __init__(
        self,
        server: _Server,
        task: asyncio.Task[None],
        made: tuple[str, tuple[int, int]] | None,
        address: tuple[str, int] | None,
    ) -> None:
        self._server = server
        self._task = task
        self._made = made
        self.address = address

    async def close(self) -> None:
        """Take no more connections, let running requests finish (within drain_s), end."""
        self._server.should_exit = True
        await self._task
        if self._made is not None:
            socketfile.remove(*self._made)


async def listen(app: Application, config: Config) -> HttpDoor:
    """Open the configured sockets and serve `app` on them."""
    sockets = []
    address = None
    if config.http.listen:  # first, because a taken port then leaves no socket file behind
        sockets.append(_open_tcp(config.http.listen))
        address = sockets[-1].getsockname()[:2]
    made = None
    if config.http.socket:
        path = config.http.socket
        sockets.append(
            socketfile.listen(path, config.server.socket_mode, config.server.socket_group, _BACKLOG)
        )
        made = (path, socketfile.identity(path))
    settings = uvicorn.Config(
        app,
        http=PeerProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(config.server.drain_s)),
    )
    settings.load()
    server = _Server(settings, sockets, config.http.max_connections)
    task = asyncio.get_running_loop().create_task(server.serve())
    listening = asyncio.ensure_future(server.listening.wait())
    await asyncio.wait((task, listening), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        listening.cancel()
        task.result()
    return HttpDoor(server, task, made, address)


def _open_tcp(listen: str) -> socket.socket:
    address, port = address_of(listen)
    try:
        return socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=_BACKLOG
        )
    except OSError as err:
        raise ConfigError(f"cannot listen on {listen}: {err}") from err
