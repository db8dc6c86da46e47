"""One fit: the child that the template forks. It reads the call and the rows, fits, answers.

One process, one fit, one thread of our own; the libraries' threads start here. It is killed to
cancel it, so nothing in here cleans up, and its memory limit is the kernel's: an allocation
beyond it fails, and comes out as `out_of_memory`. What is fitted, and how, is `tabular.fit`;
what the rows mean is `tabular.columns`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgannex_wire import WireError
from pgannex_wire.values import ColumnBlock

from pgannex_server.tabular import fit_frames as frames
from pgannex_server.tabular.fit_frames import Order
from pgannex_server.tabular.spec import TrainSpec
from pgannex_server.workers.child import Closed
from pgannex_server.workers.framing import HEADER_SIZE, frame, header_of

_GIB = 1 << 30
_MIB = 1 << 20
_WRITE = 8 << 20
_ALLOCATION_FAILED = (
    "bad_alloc",
    "bad allocation",
    "unable to allocate",
    "cannot allocate memory",
    "out of memory",
)


def warm() -> None:
    """What the template imports of ours."""
    for name in ("columns", "fit"):
        importlib.import_module(f"pgannex_server.tabular.{name}")


def run(sock: socket.socket, artifact: int, spool: int = -1) -> int:
    """The whole fit; the exit status of the process. `spool`: a file of rows that came before."""
    sock.setblocking(True)
    memory = 0
    try:
        type_, payload = read(sock)
        if type_ != frames.SPEC:
            raise WireError("internal", f"a fit was sent 0x{type_:02x} first")
        order = Order.unpack(payload)
        memory = order.memory
        spec = TrainSpec.parse(order.spec)
        _limit(order, on_device=_on_device(spec))
        limits = {"threads": order.threads, "memory": order.memory}
        result = _fit(sock, replace(spec, limits=limits), artifact, spool)
        sock.sendall(frame(frames.RESULT, json.dumps(result).encode()))
    except (Closed, BrokenPipeError, ConnectionResetError):
        return 0
    except BaseException as err:  # noqa: BLE001 - the process's boundary: whatever it is becomes an answer
        _tell(sock, error_of(err, memory))
        return 1
    return 0


def _fit(sock: socket.socket, spec: TrainSpec, artifact: int, spool: int) -> dict[str, Any]:
    """Collect, fit, write the body into `artifact`; returns the result."""
    from pgannex_server.tabular.columns import for_fit
    from pgannex_server.tabular.fit import check, fit

    check(spec)
    collector = for_fit(spec)
    payload = block = None
    for payload in _batches(sock, spool):
        block = ColumnBlock.decode(memoryview(payload))  # type: ignore[arg-type]  # slices without copies
        collector.feed(block.nrows, block.columns)
    del payload, block
    table = collector.finish()
    del collector
    outcome = fit(spec, table, Reporter(sock.sendall))
    del table
    _write(artifact, outcome.body)
    return dict(outcome.result)


def _batches(sock: socket.socket, spool: int) -> Iterator[bytearray]:
    """The rows that waited in a file, if any did, and then those of the socket."""
    if spool >= 0:
        os.lseek(spool, 0, os.SEEK_SET)
        with open(spool, "rb", buffering=0) as file:
            while head := file.read(HEADER_SIZE):
                _type, length = header_of(head)
                buffer = bytearray(length)
                view = memoryview(buffer)
                while view:
                    got = file.readinto(view)
                    if not got:
                        raise WireError("internal", "the file of the rows that waited is cut short")
                    view = view[got:]
                yield buffer
    while True:
        type_, payload = read(sock)
        if type_ == frames.DONE:
            return
        yield payload


class Reporter:
    """What `tabular.fit` tells while it works; each call is a frame at once."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send

    def info(self, text: str) -> None:
        self._send(frame(frames.INFO, text.encode()))

    def progress(self, fraction: float, text: str) -> None:
        self._send(frames.pack_progress(fraction, text))


def read(sock: socket.socket) -> tuple[int, bytearray]:
    """(type, payload) of the next frame."""
    type_, length = header_of(_exactly(sock, HEADER_SIZE))
    return type_, _exactly(sock, length)


def _exactly(sock: socket.socket, count: int) -> bytearray:
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        got = sock.recv_into(view, 0, socket.MSG_WAITALL)
        if not got:
            raise Closed
        view = view[got:]
    return buffer


def _write(fd: int, body: bytes) -> None:
    view = memoryview(body)
    while view:
        view = view[os.write(fd, view[:_WRITE]) :]


def _limit(order: Order, on_device: bool) -> None:
    """The memory beyond what the template holds already, the threads of every library, no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if order.memory and not on_device:
        most = _held() + order.memory
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    if order.threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["LOKY_MAX_CPU_COUNT"] = str(order.threads)
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module("threadpoolctl").threadpool_limits(order.threads)


def _on_device(spec: TrainSpec) -> bool:
    """Whether a GPU fits. Its driver maps far more than it uses: the server's watchdog has to do."""
    return str(spec.hyperparams.get("device", "")).startswith(("cuda", "gpu"))


def _held() -> int:
    """Private writable bytes that the process has, as RLIMIT_DATA counts them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def error_of(err: BaseException, memory: int) -> WireError:
    """What the caller is told."""
    if isinstance(err, WireError):
        return err
    if is_memory(err):
        return too_large(memory, detail=first_line(err))
    traceback.print_exception(err)
    return WireError(
        "internal",
        f"the fit failed: {first_line(err)}",
        detail=type(err).__name__,
        hint="the server's log has more",
    )


def is_memory(err: BaseException) -> bool:
    """Whether an allocation failed, in the words of any of the libraries."""
    if isinstance(err, MemoryError):
        return True
    text = str(err).lower()
    return any(words in text for words in _ALLOCATION_FAILED)


def too_large(memory: int, detail: str = "") -> WireError:
    """The error of a fit that passes its limit."""
    size = f"{memory / _GIB:.3g} GiB" if memory >= _GIB else f"{memory / _MIB:.0f} MiB"
    return WireError(
        "out_of_memory",
        f"the fit needs more than {size}",
        detail=detail,
        hint="train on fewer rows or columns, choose an algorithm that needs less, "
        "or raise [tabular] fit_memory in pgannex.toml",
    )


def first_line(err: BaseException) -> str:
    """The error's first line, or its class where it has no words."""
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:500]


def _tell(sock: socket.socket, error: WireError) -> None:
    """Best effort: a server that is gone needs no answer."""
    with contextlib.suppress(OSError, MemoryError):
        sock.sendall(frames.pack_failed(error))
    sys.stdout.flush()
