"""What a predictor process does with one job, one model, one question.

`prepare` turns a job's value into a matrix, `answer` computes small jobs of one model
together, `advance` a large one slice by slice. Which job goes next is process.py's question;
what a model is, predictor.py's; how an answer travels, answers.py's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pgannex_wire import WireError
from pgannex_wire.values import ColumnBlock, RawColumn

from pgannex_server.tabular import answers, artifact, block_input, calls, predictor
from pgannex_server.tabular import predict_frames as frames
from pgannex_server.tabular.block_input import Matrix
from pgannex_server.tabular.forecaster import Forecaster

_MAX_PLANS = 1000
_FIRST_SLICE = 256
_OPTIONAL = frozenset({"proba", "score", "components"})


class Loaded:
    """A model in memory. `slice` is how many rows of a large job are computed in one go."""

    __slots__ = ("_known", "meta", "predictor", "slice", "width")

    def __init__(self, meta: dict[str, Any], found: predictor.Predictor | Forecaster) -> None:
        self.meta = meta
        self.predictor = found
        self.width = int(meta["raw_width"])
        self.slice = _FIRST_SLICE
        self._known: dict[str, bool] = {}

    def given(self, needs: frozenset[str], block: bool) -> frozenset[str]:
        """Of what is needed, what the model has: the rest is NULL.

        A scalar call that asks for one thing alone hears why it cannot have it.
        """
        if not needs & _OPTIONAL or (len(needs) == 1 and not block):
            return needs
        return frozenset(need for need in needs if need not in _OPTIONAL or self._gives(need))

    def _gives(self, need: str) -> bool:
        """Whether the model has such an answer at all."""
        found = self._known.get(need)
        if found is None:
            try:
                answers.compute(self.predictor, np.zeros((1, self.predictor.width)), frozenset({need}))
                found = True
            except WireError:
                found = False
            self._known[need] = found
        return found


class Work:
    """A job that has been understood. `together`: it may share a matrix with others."""

    is_question = False

    __slots__ = ("at", "bad", "cancelled", "compute_ns", "count", "index", "kind", "matrix", "model", "needs",
                 "nrows", "number", "passed", "pieces", "plan", "together")  # fmt: skip

    def __init__(self, job: frames.Job, model: Loaded, plan: frames.Plan, needs: frozenset[str]) -> None:
        self.number = job.number
        self.kind = job.kind
        self.model = model
        self.plan = plan
        self.needs = needs
        self.together = job.kind != frames.BLOCK
        self.cancelled = False
        self.compute_ns = 0
        self.at = 0
        self.pieces: list[answers.Parts] = []
        self.bad: dict[int, WireError] = {}
        self.passed: dict[str, RawColumn] = {}
        self.nrows = 1
        self.matrix: Matrix
        self.count = 0
        self.index: list[int] = []

    def take(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.count = len(matrix)


class Question:
    """A call under way. Its answer is made step by step; a large one leaves in parts."""

    __slots__ = ("_held", "_steps", "cancelled", "compute_ns", "number")

    is_question = True

    def __init__(self, number: int, steps: Iterator[Any]) -> None:
        self.number = number
        self.cancelled = False
        self.compute_ns = 0
        self._steps = steps
        self._held: bytes | None = None

    def advance(self) -> Iterator[bytes]:
        """Go on: a PART frame, or b"" where there is none after a step."""
        while True:
            began = time.perf_counter_ns()
            try:
                found = next(self._steps)
            except StopIteration:
                return
            finally:
                self.compute_ns += time.perf_counter_ns() - began
            before = None
            if found is not None:
                before, self._held = self._held, json.dumps(found).encode()
            yield b"" if before is None else frames.pack_part(self.number, before)

    def result(self) -> bytes:
        """The RESULT frame, with the last part."""
        return frames.pack_result(self.number, 0, self.compute_ns, self._held or b"null")


class Predicting:
    """The models of this process and what is asked of them."""

    def __init__(self) -> None:
        self.models: dict[bytes, Loaded] = {}
        self._plans: dict[bytes, tuple[frames.Plan, frozenset[str]]] = {}

    # -- models ---------------------------------------------------------------------------------

    def load(self, hash: bytes, data: bytes) -> dict[str, Any]:
        """Load an artifact, whose signature the server has verified."""
        meta, blobs = artifact.read(data)
        found = predictor.load(meta, blobs, int(os.environ.get("OMP_NUM_THREADS", "1")))
        self.models[hash] = Loaded(dict(meta), found)
        project = str(meta.get("project") or dict(meta.get("extra") or {}).get("project") or "")
        return {
            "title": project or str(meta["algorithm"]),
            "algorithm": str(meta["algorithm"]),
            "task": str(meta["task"]),
            "engine": str(meta["format"]).split("-")[0],
            "onnx": bool(meta.get("onnx")),
            "width": int(meta["raw_width"]),
        }

    def unload(self, hash: bytes) -> None:
        self.models.pop(hash, None)

    def ask(self, number: int, name: str, arguments: dict[str, Any], hash: bytes) -> Question:
        """A question that is no prediction."""
        model = self._model(hash) if hash else None
        return Question(number, calls.steps(name, arguments, model and model.predictor))

    def _model(self, hash: bytes) -> Loaded:
        model = self.models.get(hash)
        if model is None:
            raise WireError("internal", f"the predictor has no model {hash.hex()[:8]}")
        return model

    # -- jobs -----------------------------------------------------------------------------------

    def prepare(self, job: frames.Job) -> Work:
        """Understand a job. Raises WireError where its value does not fit the model."""
        known = self._plans.get(job.plan)
        if known is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            plan = frames.unpack_plan(job.plan)
            known = self._plans[job.plan] = (plan, answers.needs_of(plan))
        model = self._model(job.hash)
        work = Work(job, model, known[0], model.given(known[1], job.kind == frames.BLOCK))
        if job.kind == frames.BLOCK:
            self._prepare_block(work, job.value)
        elif job.kind == frames.ROW:
            work.take(work.model.predictor.rows([block_input.text_of(job.value)]))
        else:
            work.take(self._features(work.model, job))
        return work

    def _features(self, model: Loaded, job: frames.Job) -> Matrix:
        flat = (
            block_input.array_of(job.value)
            if job.kind == frames.FEATURES
            else block_input.array_of_text(job.value)
        )
        size, width = len(flat), model.width
        if not size or size % width:
            raise block_input.wrong_width(width, size)
        return model.predictor.features(flat, size // width)

    def _prepare_block(self, work: Work, payload: bytes) -> None:
        block = ColumnBlock.decode(payload)
        work.nrows = block.nrows
        names = [name for name, _oid in work.plan.columns]
        if len(names) != len(block.columns):
            raise WireError("protocol_violation", f"a batch has {len(block.columns)} columns")
        work.passed = dict(zip(names, block.columns, strict=True))
        matrix, work.bad = block_input.matrix_of(work.model.predictor, work.model.meta, work.plan, block)
        if work.bad:
            first = min(work.bad)
            if work.plan.on_error == "raise":
                raise frames.RowError(work.bad[first], first)
            work.index = [at for at in range(block.nrows) if at not in work.bad]
        work.take(matrix)

    def answer(self, group: Sequence[Work]) -> Iterator[bytes]:
        """RESULT frames of small jobs of one model with the same needs."""
        began = time.perf_counter_ns()
        first = group[0]
        model = first.model.predictor
        if len(group) == 1:
            parts = answers.compute(model, first.matrix, first.needs)
            payload = answers.one_row(first.plan, parts, 0, first.count)
            yield frames.pack_result(first.number, first.count, time.perf_counter_ns() - began, payload)
            return
        parts = answers.compute(model, np.concatenate([work.matrix for work in group]), first.needs)
        share = (time.perf_counter_ns() - began) // len(group)
        at = 0
        for work in group:
            payload = answers.one_row(work.plan, parts, at, at + work.count)
            at += work.count
            yield frames.pack_result(work.number, work.count, share, payload)

    def advance(self, work: Work, step: int) -> bytes:
        """Compute the next `step` rows; the RESULT frame once there are no more."""
        began = time.perf_counter_ns()
        stop = min(work.at + step, work.count)
        if work.count:
            work.pieces += self._pieces(work, work.at, stop)
        work.at = stop
        work.compute_ns += time.perf_counter_ns() - began
        if stop < work.count:
            return b""
        parts = answers.joined(work.pieces) if work.pieces else {}
        if work.kind == frames.BLOCK:
            payload = answers.rows(work.plan, parts, work.nrows, work.passed, work.bad)
            return frames.pack_result(work.number, work.nrows, work.compute_ns, payload)
        payload = answers.one_row(work.plan, parts, 0, work.count)
        return frames.pack_result(work.number, work.count, work.compute_ns, payload)

    def _pieces(self, work: Work, start: int, stop: int) -> list[answers.Parts]:
        """What is computed of some rows. Where it fails and rows may fail alone, halving finds them."""
        try:
            parts = answers.compute(work.model.predictor, work.matrix[start:stop], work.needs)
            answers.check_range(work.plan, parts)
            return [parts]
        except MemoryError:
            raise
        except Exception as err:
            if work.kind != frames.BLOCK or work.plan.on_error == "raise":
                raise
            if stop - start == 1:
                at = work.index[start] if work.index else start
                work.bad[at] = frames.as_wire(err)
                return []
        middle = (start + stop) // 2
        return self._pieces(work, start, middle) + self._pieces(work, middle, stop)
