"""Children that outlive us: what environment they get, and stopping the right one.

A process is known by its pid and its start time, both kept in a file, so that a pid which the
kernel has given to somebody else is never signalled.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from pgannex_server.host.state import State

_PASSED_ON = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
)


def environment(state: State) -> dict[str, str]:
    """The environment of Postgres and the server: the user's own, or as root a short list."""
    inherited = dict(os.environ)
    if not state.owner.is_self:
        inherited = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        inherited["HOME"] = str(state.run)
        inherited["HF_HOME"] = str(state.place.base / "models")
    for key in [k for k in inherited if k.startswith(("PG", "PYTHON"))]:
        del inherited[key]
    return {**inherited, "PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}


def start_time(pid: int) -> str:
    """When a process was started, in the kernel's ticks; "" if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def remember(file: Path, state: State, pid: int) -> None:
    """Keep pid and start time."""
    state.write(file, f"{pid} {start_time(pid)}\n")


def recall(file: Path) -> int:
    """The pid of the process that was kept, 0 if it is gone."""
    try:
        pid, started = file.read_text().split()
    except (OSError, ValueError):
        return 0
    return int(pid) if started and start_time(int(pid)) == started else 0


def stop(pid: int, patience: float) -> bool:
    """SIGTERM, wait, SIGKILL. Whether it went on its own."""
    began = start_time(pid)
    _signal(pid, signal.SIGTERM)
    _signal(pid, signal.SIGCONT)
    if _gone(pid, began, patience):
        return True
    kill(pid)
    return False


def kill(pid: int) -> None:
    """SIGKILL, and wait until it is gone."""
    began = start_time(pid)
    _signal(pid, signal.SIGKILL)
    _gone(pid, began, 10)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _gone(pid: int, began: str, patience: float) -> bool:
    end = time.monotonic() + patience
    while start_time(pid) == began:
        if time.monotonic() > end:
            return False
        _reap(pid)
        time.sleep(0.02)
    return True


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # not a child of ours: its parent collects it
