"""The template: `python -m pgannex_server.tabular.template`, a control socket as standard input.

Which question it answers: how a fit starts in milliseconds though its libraries take seconds
to import. This process imports them once, stays single-threaded, never computes anything, and
forks a child for each fit that the server asks for; all of them share its memory. It holds no
data and no key. A dead child stays a zombie until the server has said that it may be reaped,
so that its pid cannot be another process's meanwhile. What a child does is in `fit_process`.

Fits die with their template, and the template with the server: each asks the kernel for that.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec

from pgannex_server.tabular import fit_frames as frames
from pgannex_server.tabular import fit_process
from pgannex_server.tabular.fit_frames import pack_facts, unpack_facts
from pgannex_server.workers.child import settle, take_socket
from pgannex_server.workers.framing import HEADER_SIZE, header_of

_FDS = 4
_OOM_SCORE_OF_A_FIT = "800"
_LIBRARIES = (
    "numpy",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.svm",
    "sklearn.cluster",
    "sklearn.model_selection",
    "xgboost",
    "lightgbm",
    "skops.io",
    "threadpoolctl",
)
_UNWANTED = frozenset({"torch", "tensorflow", "cupy", "dask", "jax"})
"""What the libraries would import only to find out whether a caller uses it."""


def main() -> None:
    """Serve until the server closes the socket."""
    settle()
    control = take_socket()
    warm()
    control.sendall(pack_facts(frames.READY, pid=os.getpid()))
    with contextlib.suppress(ConnectionError):
        serve(control)


def serve(control: socket.socket) -> None:
    """Answer frames until the end."""
    while True:
        data, fds, _flags, _address = socket.recv_fds(control, HEADER_SIZE, _FDS)
        if not data:
            return
        type_, length = header_of(data)
        facts = unpack_facts(control.recv(length, socket.MSG_WAITALL))
        if type_ == frames.FORK:
            _fork(control, int(facts["fit"]), fds)
        elif type_ == frames.REAP:
            _reap(control, int(facts["pid"]))


def _fork(control: socket.socket, number: int, fds: Sequence[int]) -> None:
    """A child for the fit `number`; the server hears its pid."""
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as err:
        control.sendall(pack_facts(frames.REFUSED, fit=number, message=f"fork: {err.strerror}"))
        _close(fds)
        return
    if pid == 0:
        _child(control, parent, fds)
    control.sendall(pack_facts(frames.FORKED, fit=number, pid=pid))
    _close(fds)


def _child(control: socket.socket, parent: int, fds: Sequence[int]) -> None:
    """The forked process's whole life; does not return."""
    status = 1
    try:
        control.close()
        os.setsid()
        settle(_OOM_SCORE_OF_A_FIT, parent)
        sock, output, artifact, *spool = fds
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        status = fit_process.run(socket.socket(fileno=sock), artifact, spool[0] if spool else -1)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _reap(control: socket.socket, pid: int) -> None:
    try:
        _pid, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return
    control.sendall(pack_facts(frames.ENDED, pid=pid, status=os.waitstatus_to_exitcode(status)))


def warm() -> None:
    """Import everything; what is not installed is missed where it is used."""
    with _without(_UNWANTED):
        for name in _LIBRARIES:
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(name)
        fit_process.warm()
    gc.collect()
    gc.freeze()


class _Refuse:
    """An import finder that says that some packages are not there."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"the template does not import {name}", name=name)
        return None


@contextmanager
def _without(names: frozenset[str]) -> Iterator[None]:
    """Imports inside do not find `names`: skops alone would bring torch, 130 MB and 2 s."""
    finder = _Refuse(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


if __name__ == "__main__":
    main()
