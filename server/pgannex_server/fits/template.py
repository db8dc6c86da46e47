"""The template as the server sees it: a Link that forks fits on request.

A request goes out with three descriptors beside its frame, so it is written by itself: it is
small, and a socket that does not take it belongs to a template that does not answer. Who gets
a fit, and what happens when the template dies, is `queue`'s question.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from typing import Protocol

from pgannex_wire import WireError

from pgannex_server.tabular import fit_frames as frames
from pgannex_server.tabular.fit_frames import pack_facts, unpack_facts
from pgannex_server.workers.link import Link

log = logging.getLogger("pgannex.fits")

_MODULE = "pgannex_server.tabular.template"
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "262144"}
"""OpenBLAS starts its threads when it is loaded, and a process with threads must not fork; a fit
asks for its own number afterwards. A batch of rows that is let go is the system's again at once,
which glibc's own choice of threshold would prevent: 150 MiB of 330 in a fit of 160 MB of rows."""
_SLEEP = {"OMP_WAIT_POLICY": "passive"}
"""OpenMP's threads sleep rather than spin while they wait: beside busy processes spinning made fits
of lightgbm and xgboost up to fifty times slower. An administrator's own choice stays."""
_CHOSEN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


class Owner(Protocol):
    """Who is told. No call comes after `template_gone`."""

    def forked(self, number: int, pid: int) -> None:
        """The fit `number` runs as `pid`; that pid is not another's before `reap`."""

    def refused(self, number: int, message: str) -> None:
        """The fit could not be forked."""

    def ended(self, pid: int, status: int) -> None:
        """The exit status of a process that was reaped."""

    def template_ready(self) -> None:
        """Everything is imported."""

    def template_gone(self, error: WireError) -> None:
        """It died, and its fits with it."""


class Template(Link):
    """Starts at construction; `fork` may be called before it is ready, and then waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner, interpreter: str = "") -> None:
        self.owner = owner
        self.is_ready = False
        chosen = any(name in os.environ for name in _CHOSEN)
        environment = _ENVIRONMENT if chosen else _ENVIRONMENT | _SLEEP
        super().__init__(loop, _MODULE, "the template of the fits", interpreter, environment)

    def fork(self, number: int, fds: Sequence[int]) -> None:
        """Ask for a fit: its socket, its output, its file. Raises OSError where that cannot be asked."""
        sock = self._sock
        data = pack_facts(frames.FORK, fit=number)
        if sock is None or self.unsent or socket.send_fds(sock, [data], fds) != len(data):
            raise BrokenPipeError("the template of the fits does not listen")

    def reap(self, pid: int) -> None:
        """Take the exit status of a process that has ended; `ended` brings it."""
        self.send(pack_facts(frames.REAP, pid=pid))

    def received(self, type_: int, payload: bytes) -> None:
        facts = unpack_facts(payload)
        if type_ == frames.FORKED:
            self.owner.forked(int(facts["fit"]), int(facts["pid"]))
        elif type_ == frames.ENDED:
            self.owner.ended(int(facts["pid"]), int(facts["status"]))
        elif type_ == frames.REFUSED:
            self.owner.refused(int(facts["fit"]), str(facts["message"]))
        elif type_ == frames.READY:
            self.is_ready = True
            self.owner.template_ready()

    def gone(self, error: WireError) -> None:
        self.owner.template_gone(error)
