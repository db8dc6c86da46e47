"""The verb dataset: a data set's columns and records, read by a process of its own.

What the sets are and how they are read is in tabular/datasets.py. Here that process is
started, its lines become rows as they come, and it is killed when nobody waits any more. While
the caller does not fetch, its pipe is not read, so neither side holds more than a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import TYPE_CHECKING

from pgannex_wire import WireError
from pgannex_wire.message import TEXT_FORMAT, End
from pgannex_wire.values import decode_value

from pgannex_server.request import Request, Sink
from pgannex_server.verbs.running import Running
from pgannex_server.verbs.table import Row, block_of

if TYPE_CHECKING:
    from pgannex_server.service import Service

NAMES = ("columns", "records")
_ARGS = ("source", "subset", "limit", "kwargs")
_MODULE = "pgannex_server.tabular.datasets"
_LONGEST_LINE = 64 << 20


class Dataset(Running):
    """One data set, a frame per line of its process."""

    __slots__ = ("flowing", "task")

    def __init__(self, service: Service, request: Request, sink: Sink) -> None:
        block_of(request, [], NAMES)
        call = _call(request) | {"offline": service.config.server.offline}
        self.flowing = asyncio.Event()
        self.flowing.set()
        Running.__init__(self, service, request, sink)
        self.task = service.loop.create_task(self._run(call))

    async def _run(self, call: dict[str, object]) -> None:
        try:
            left = self.request.deadline - time.monotonic() if self.request.deadline else None
            async with asyncio.timeout(left):
                await self._serve(call)
        except WireError as err:
            self.fail(err)
        except TimeoutError:
            self.fail(WireError("deadline", "the data set was not read before the request's deadline"))
        except OSError as err:
            self.fail(WireError("internal", f"the process that reads data sets cannot be started: {err}"))

    async def _serve(self, call: dict[str, object]) -> None:
        # An empty working folder: no name can mean something that lies there.
        with tempfile.TemporaryDirectory(prefix="pgannex-dataset-") as folder:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", _MODULE, stdin=PIPE, stdout=PIPE, stderr=DEVNULL,
                cwd=folder, limit=_LONGEST_LINE,
            )  # fmt: skip
            try:
                await self._forward(process, json.dumps(call).encode())
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _forward(self, process: Process, call: bytes) -> None:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(call)
        process.stdin.close()
        while True:
            await self.flowing.wait()
            try:
                line = await process.stdout.readline()
            except ValueError as err:
                raise WireError("too_large", f"a record is longer than {_LONGEST_LINE} bytes") from err
            if not line:
                break
            self._answer(json.loads(line), line)
        code = await process.wait()
        if code != 0:
            raise WireError("worker_died", f"the process that reads data sets ended with {code}")
        if not self.closed:
            self.sink.rows(0, block_of(self.request, [], NAMES), True)
            self.end(End(rows=self.rows_out))

    def _answer(self, told: dict[str, object], line: bytes) -> None:
        error = told.get("error")
        if isinstance(error, dict):
            raise WireError(error["code"], error["message"], detail=error["detail"], hint=error["hint"])
        row: Row = {name: json.dumps(told[name]) if name in told else None for name in NAMES}
        self.rows_out += 1
        if not self.closed:
            self.sink.rows(0, block_of(self.request, [row], NAMES), False)

    def pause(self) -> None:
        self.flowing.clear()

    def resume(self) -> None:
        self.flowing.set()

    def release(self) -> None:
        # Not from inside the task itself: it ends on its own when it has told its error.
        if self.task is not asyncio.current_task(self.service.loop):
            self.task.cancel()

    @property
    def state(self) -> str:
        return "running" if self.flowing.is_set() else "waiting for client"


def _call(request: Request) -> dict[str, object]:
    call: dict[str, object] = {}
    for arg in request.args:
        if arg.name not in _ARGS:
            raise WireError(
                "bad_argument", f'dataset has no input "{arg.name}"', hint=f"known: {', '.join(_ARGS)}"
            )
        cell = decode_value(arg.value, arg.oid, arg.format == TEXT_FORMAT or arg.oid == 0)
        call[arg.name] = json.loads(cell) if arg.name == "kwargs" and isinstance(cell, str) else cell
    if not call.get("source"):
        raise WireError("bad_argument", "dataset needs source", hint="add source = …")
    if not isinstance(call.get("kwargs") or {}, dict):
        raise WireError("bad_argument", "kwargs is no JSON object", hint="""such as {"split": "train"}""")
    return call
