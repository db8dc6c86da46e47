"""The predictor: `python -m pgannex_server.tabular.process`, a socket as standard input.

One process, one thread, many models: it reads frames (predict_frames.py), keeps the models
that the server sent, and answers jobs. What waits is read before anything is computed, so that
interactive jobs of one model are computed together, and large ones, questions and bulk in slices
of about 20 ms between which small jobs go first. The server decides what is loaded and what
goes; what this process cannot survive (a crash, a hang, no memory) the server notices: it hears
which long job is being computed, and of every cancel that was read.
"""

from __future__ import annotations

import contextlib
import gc
import resource
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgannex_wire import WireError

from pgannex_server.tabular import predict_frames as frames
from pgannex_server.workers.child import Closed, Pipe, settle, take_socket
from pgannex_server.workers.framing import frame

_SLICE_S = 0.02
_LARGE = 4096
"""Rows from which on an interactive job is computed in slices, after the small ones."""
_TOGETHER = 256
_BEAT_S = 1.0
_PAGE = resource.getpagesize()


def main() -> None:
    """Serve until the server is done with us; say so and leave where a library is missing."""
    settle()
    conn = Pipe(take_socket())
    with contextlib.suppress(Closed, BrokenPipeError, ConnectionResetError):
        try:
            from pgannex_server.tabular.predicting import Predicting
        except ImportError as err:
            conn.write(frame(frames.REFUSED, frames.pack_error(_missing(err))))
            return
        Loop(conn, Predicting()).run()


def _missing(err: ImportError) -> WireError:
    return WireError(
        "engine_missing",
        f"models of tables need {err.name or err}, which the server's Python does not have",
        detail=f"python: {sys.executable}",
        hint="install pgannex[tabular], or set [tabular] interpreter in pgannex.toml",
    )


class Loop:
    """What waits, and what goes next. `engine` knows what a job means."""

    def __init__(self, conn: Pipe, engine: Any) -> None:
        self._conn = conn
        self._engine = engine
        self._small: deque[Any] = deque()
        self._large: deque[Any] = deque()
        self._bulk: deque[Any] = deque()
        self._waiting: dict[int, Any] = {}
        self._beat = time.monotonic()
        self._told = -1

    def run(self) -> None:
        """Until STOP or the end of the socket."""
        conn = self._conn
        conn.write(frame(frames.UP, b""))
        gc.collect()
        gc.freeze()
        while True:
            idle = not (self._small or self._large or self._bulk)
            while idle or conn.pending():
                if not self._take(*conn.read()):
                    return
                idle = False
            if self._small:
                self._answer_together()
            elif self._large:
                self._advance(self._large)
            elif self._bulk:
                self._advance(self._bulk)

    def _take(self, type_: int, payload: bytes) -> bool:
        if type_ == frames.JOB:
            self._enter(frames.unpack_job(payload))
        elif type_ == frames.LOAD:
            self._load(payload[: frames.HASH_SIZE], payload[frames.HASH_SIZE :])
        elif type_ == frames.CALL:
            self._ask(payload)
        elif type_ == frames.CANCEL:
            number = frames.number_of(payload)
            work = self._waiting.pop(number, None)
            if work is not None:
                work.cancelled = True
            self._conn.write(frames.pack_dropped(number))
        elif type_ == frames.UNLOAD:
            self._engine.unload(payload)
        return type_ != frames.STOP

    # -- models and questions -----------------------------------------------------------------

    def _load(self, hash: bytes, data: bytes) -> None:
        before, began = _resident(), time.monotonic()
        try:
            info = self._engine.load(hash, data)
        except Exception as err:  # noqa: BLE001 - libraries raise anything; the server hears it
            error = frames.as_wire(err, "load_failed", "the model cannot be loaded")
            self._conn.write(frames.pack_about(frames.LOAD_FAILED, hash, frames.error_body(error)))
            return
        info["memory_bytes"] = max(_resident() - before, len(data))
        info["load_seconds"] = time.monotonic() - began
        self._conn.write(frames.pack_about(frames.LOADED, hash, info))

    def _ask(self, payload: bytes) -> None:
        number, name, arguments, hash = frames.unpack_call(payload)
        try:
            work = self._engine.ask(number, name, arguments, hash)
        except Exception as err:  # noqa: BLE001 - as in _load
            self._conn.write(frames.pack_failed(number, frames.as_wire(err)))
            return
        self._waiting[number] = work
        self._large.append(work)

    # -- jobs ---------------------------------------------------------------------------------

    def _enter(self, job: frames.Job) -> None:
        try:
            work = self._engine.prepare(job)
        except Exception as err:  # noqa: BLE001 - as in _load
            self._conn.write(frames.pack_failed(job.number, frames.as_wire(err)))
            return
        self._waiting[job.number] = work
        if job.bulk:
            self._bulk.append(work)
        elif work.together and work.count < _LARGE:
            self._small.append(work)
        else:
            self._large.append(work)

    def _answer_together(self) -> None:
        """The oldest small job, and those that can be computed with it."""
        small = self._small
        first = small.popleft()
        group = [first]
        if small and not first.cancelled:
            rest: deque[Any] = deque()
            rows = first.count
            for work in small:
                joins = work.model is first.model and work.needs == first.needs and len(group) < _TOGETHER
                joins = joins and rows + work.count <= _LARGE
                rows += work.count if joins else 0
                (group if joins else rest).append(work)
            self._small = rest
        group = [work for work in group if not work.cancelled]
        if group:
            self._conn.write(b"".join(self._outcomes(group)))
            for work in group:
                self._waiting.pop(work.number, None)

    def _outcomes(self, group: Sequence[Any]) -> list[bytes]:
        try:
            return list(self._engine.answer(group))
        except Exception as err:  # noqa: BLE001 - as in _load
            if len(group) == 1:
                return [frames.pack_failed(group[0].number, frames.as_wire(err))]
        return [outcome for work in group for outcome in self._outcomes([work])]

    def _advance(self, lane: deque[Any]) -> None:
        """One slice of the first job of a lane; of large ones the next is another's."""
        work = lane[0]
        if work.cancelled:
            lane.popleft()
            return
        self._tell(work.number)
        outcome = self._slice_of_question(work) if work.is_question else self._slice_of_rows(work)
        if outcome:
            lane.popleft()
            self._waiting.pop(work.number, None)
            self._conn.write(outcome)
        elif lane is self._large:
            lane.rotate(-1)

    def _tell(self, number: int) -> None:
        """Say which job is computed now, if it is another one or nothing was said for long."""
        now = time.monotonic()
        if number != self._told or now - self._beat > _BEAT_S:
            self._told, self._beat = number, now
            self._conn.write(frames.pack_beat(number))

    def _slice_of_question(self, work: Any) -> bytes:
        until = time.perf_counter() + _SLICE_S
        try:
            for part in work.advance():
                if part:
                    self._conn.write(part)
                if time.perf_counter() >= until:
                    return b""
            return bytes(work.result())
        except Exception as err:  # noqa: BLE001 - as in _load
            return frames.pack_failed(work.number, frames.as_wire(err))

    def _slice_of_rows(self, work: Any) -> bytes:
        model = work.model
        began = time.perf_counter()
        try:
            outcome: bytes = self._engine.advance(work, model.slice)
        except Exception as err:  # noqa: BLE001 - as in _load
            outcome = frames.pack_failed(work.number, frames.as_wire(err))
        took = time.perf_counter() - began
        # Twice or half as many the next time: one slice that met a busy machine says little.
        if took < _SLICE_S / 2 and work.count >= model.slice:
            model.slice *= 2
        elif took > 2 * _SLICE_S:
            model.slice = max(1, model.slice // 2)
        return outcome


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


if __name__ == "__main__":
    main()
