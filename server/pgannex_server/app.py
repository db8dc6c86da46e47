"""Starts and stops the server: loop, service, doors, signals, service manager.

`run(config) -> int` is what `pgannex serve` calls; it returns the process's exit status.
The HTTP door is `doors.http.start_http(service, config) -> HttpDoor` (awaitable; `close()`
awaitable), started if its libraries are installed and a socket or an address is configured.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.util
import logging
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

import uvloop

from pgannex_server import config as configuration
from pgannex_server.config import Config
from pgannex_server.doors.frames.door import FramesDoor
from pgannex_server.errors import ConfigError
from pgannex_server.notify import Manager
from pgannex_server.registry import Resolver, resolve_built_in
from pgannex_server.service import Service

log = logging.getLogger("pgannex")

_FILES = 65_536


class Door(Protocol):
    """What the app knows of the HTTP door."""

    async def close(self) -> None: ...


def run(config: Config) -> int:
    """Serve until SIGTERM or SIGINT; 0 after an orderly stop, 1 if the start failed."""
    logging.basicConfig(
        level=config.server.log_level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    _raise_file_limit()
    try:
        return int(uvloop.run(App(config).main()))
    except (ConfigError, OSError) as err:
        log.error("%s", err)
        return 1


class App:
    """One run of the server."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.manager = Manager()

    async def main(self) -> int:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, stop.set)
        self.service = Service(loop, self.config, find_resolver())
        self.frames = FramesDoor(self.service)
        start_http = find_http(self.config)
        # The models first: whoever finds an open door finds them behind it.
        self.service.open()
        try:
            await self._open_doors(start_http)
        except BaseException:
            await self.service.close()
            raise
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        _settle_memory()
        self.manager.ready(self._status())
        self._watchdog(loop)
        log.info("serving on %s", self.frames.path)
        await stop.wait()
        await self._stop()
        return 0

    async def _open_doors(self, start_http: Callable[[Service, Config], Awaitable[Door]] | None) -> None:
        """A configured HTTP door that cannot start is an error."""
        await self.frames.open()
        try:
            self.http = await start_http(self.service, self.config) if start_http else None
        except BaseException:
            await self.frames.close()
            raise

    def reload(self) -> None:
        """SIGHUP: read the file again; a wrong one changes nothing and is logged."""
        self.manager.reloading()
        try:
            config = configuration.load(self.config.path) if self.config.path else self.config
            self.service.reload(config)
            self.frames.configure()
            self.config = config
            log.info("configuration read again: %d models", len(config.models))
        except ConfigError as err:
            log.error("the configuration stays as it was: %s", err)
        self.manager.ready(self._status())

    async def _stop(self) -> None:
        log.info("stopping: %d requests are running", len(self.service.running))
        self.manager.stopping()
        self.frames.stop_accepting()
        await self.service.drain(self.config.server.drain_s)
        if self.http is not None:
            await self.http.close()
        await self.frames.close()
        await self.service.close()

    def _status(self) -> str:
        return f"serving {len(self.config.models)} models"

    def _watchdog(self, loop: asyncio.AbstractEventLoop) -> None:
        interval = self.manager.watchdog_s
        if interval:
            self.manager.alive()
            loop.call_later(interval, self._watchdog, loop)


def find_resolver() -> Resolver:
    """How names of models become folders."""
    if importlib.util.find_spec("pgannex_server.models") is None:
        return resolve_built_in
    return cast(Resolver, importlib.import_module("pgannex_server.models").resolve)


def find_http(config: Config) -> Callable[[Service, Config], Awaitable[Door]] | None:
    """What starts the HTTP door, if it is configured. Its libraries are imported here."""
    if not config.http.socket and not config.http.listen:
        return None
    module = importlib.import_module("pgannex_server.doors.http")
    return cast(Callable[[Service, Config], Awaitable[Door]], module.start_http)


def _raise_file_limit() -> None:
    """A shell's usual 1,024 files are fewer than the connections that both doors may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _settle_memory() -> None:
    """What lives as long as the server needs no look by the collector, and the rest few."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
