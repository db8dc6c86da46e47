"""Fits side by side, each in a process forked from this one: `run`.

Which question it answers: how several fits use all cores without any library's threads standing
in each other's way. The rows are shared by the fork. A child is given the next number when it has
answered the last; what it answers is JSON. It never runs this process's clean-up, and when the
fit is killed it is killed with its process group.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

from pgannex_wire import WireError

Attempt = Callable[[int], dict[str, float]]


def run(attempt: Attempt, count: int, workers: int, told: Callable[[int], None]) -> list[dict[str, float]]:
    """`attempt(i)` of each i below `count`, in order. Raises the error of the first that fails."""
    if workers <= 1:
        found = []
        for index in range(count):
            found.append(attempt(index))
            told(index + 1)
        return found
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    children = [_Child(attempt) for _ in range(workers)]
    try:
        return _distribute(children, count, told)
    finally:
        for child in children:
            child.end()


def _distribute(children: list[_Child], count: int, told: Callable[[int], None]) -> list[dict[str, float]]:
    found: list[dict[str, float]] = [{} for _ in range(count)]
    waiting = iter(range(count))
    done = 0
    with selectors.DefaultSelector() as selector:
        for child in children:
            selector.register(child.sock, selectors.EVENT_READ, child)
            child.ask(next(waiting, None))
        while done < count:
            for key, _events in selector.select():
                child = key.data
                index, answer = child.answered()
                found[index] = answer
                done += 1
                told(done)
                child.ask(next(waiting, None))
    return found


class _Child:
    """A forked process and the socket to it."""

    def __init__(self, attempt: Attempt) -> None:
        self.sock, theirs = socket.socketpair()
        self._index = -1
        self._reader = self.sock.makefile("rb")
        self.pid = os.fork()
        if self.pid == 0:
            self.sock.close()
            _serve(theirs, attempt)
        theirs.close()

    def ask(self, index: int | None) -> None:
        if index is not None:
            self._index = index
            self.sock.sendall(f"{index}\n".encode())

    def answered(self) -> tuple[int, dict[str, float]]:
        """Raises the error that it answered with, or for its death."""
        line = self._reader.readline()
        if not line:
            raise MemoryError("a process of the search was killed: it ran out of memory")
        answer: dict[str, Any] = json.loads(line)
        error = answer.get("error")
        if error is None:
            return self._index, answer
        if error["code"] == "MemoryError":
            raise MemoryError(error["message"])
        raise WireError(error["code"], error["message"], detail=error["detail"], hint=error["hint"])

    def end(self) -> None:
        self._reader.close()
        self.sock.close()
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return


def _serve(sock: socket.socket, attempt: Attempt) -> None:
    """The child's whole life; does not return."""
    try:
        for line in sock.makefile("rb"):
            sock.sendall(json.dumps(_answer(attempt, int(line))).encode() + b"\n")
    finally:
        sys.stderr.flush()
        os._exit(0)


def _answer(attempt: Attempt, index: int) -> dict[str, Any]:
    try:
        return dict(attempt(index))
    except WireError as err:
        said = {"code": err.code, "message": err.message, "detail": err.detail, "hint": err.hint}
    except MemoryError as err:
        said = {"code": "MemoryError", "message": str(err), "detail": "", "hint": ""}
    except BaseException as err:  # noqa: BLE001 - the process's boundary: whatever it is becomes an answer
        traceback.print_exception(err)
        said = {
            "code": "internal",
            "message": f"the fit failed: {err}",
            "detail": type(err).__name__,
            "hint": "",
        }
    return {"error": said}
