"""The verb train: rows are pushed to a process that fits; lines, and then the artifact, come back.

The rows pass through here as they came: this process never looks into them. A batch is
acknowledged when the fit's socket has taken it, so a fit that is slow, or waits for its turn,
holds the database's connection back, not this process's memory. When the caller goes away,
or its time is over, the fit is killed at once. In the background the request ends when the rows
are complete, and the fit goes on as a job; the rows of a job whose turn has yet to come are
acknowledged when they are in its file.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from pgannex_wire import WireError
from pgannex_wire.message import TEXT_FORMAT, Arg, Notice
from pgannex_wire.values import ColumnBlock, decode_value

from pgannex_server.fits.artifact import Artifact, memory_file
from pgannex_server.fits.fit import Fit
from pgannex_server.fits.jobs import RUNNING, WAITING, Job
from pgannex_server.request import Request, Sink
from pgannex_server.tabular.spec import TrainSpec
from pgannex_server.verbs.artifact_rows import ArtifactRows, check_outputs
from pgannex_server.verbs.jobs_running import JobFit
from pgannex_server.verbs.train_columns import check_columns

if TYPE_CHECKING:
    from pgannex_server.service import Service

_INFO = 1
_LARGEST_SPEC = 1 << 20


class Train(ArtifactRows):
    """Feeds a fit; owns it until its end, or until it has become a job."""

    __slots__ = ("_background", "_complete", "_late", "_unwritten", "fit", "job", "project")

    takes_raw = True

    def __init__(self, service: Service, request: Request, sink: Sink) -> None:
        check_outputs(request)
        text = _spec_text(request)
        spec = TrainSpec.parse(text)
        check_columns(request, spec.columns)
        self.project = spec.project
        self.job: Job | None = None
        self._background = spec.background
        self._complete = False
        self._unwritten = 0
        self._late: asyncio.TimerHandle | None = None
        self.prepare()
        caller, spool = request.caller, None
        if spec.background:
            self.job, file = service.jobs.reserve(caller.role, caller.database, spec.project, spec.algorithm)
            spool = service.jobs.spool(self.job)
        else:
            file = memory_file()
        try:
            self.fit: Fit = service.fits.start(text, self, file, caller.role, spool)
        except WireError:
            if self.job is not None:
                service.jobs.discard(self.job)
            raise
        ArtifactRows.__init__(self, service, request, sink)
        if request.deadline:
            self._late = service.loop.call_later(request.deadline - time.monotonic(), self._too_late)

    # -- rows ---------------------------------------------------------------------------------

    def feed(self, seq: int, block: ColumnBlock) -> None:
        self.feed_raw(seq, block.encode())

    def feed_raw(self, seq: int, payload: bytes) -> None:
        if not self.closed:
            self.rows_in += int.from_bytes(payload[:4], "big")
            self._unwritten += 1
            self.fit.write(seq, payload)

    def finish(self) -> None:
        if not self.closed:
            self._complete = True
            self.fit.finish()
            self._part_if_background()

    # -- the fit's calls ------------------------------------------------------------------------

    def started(self) -> None:
        """It shows in `state`."""

    def taken(self, seq: int) -> None:
        if self.closed:
            return
        self._unwritten -= 1
        self.sink.ack(seq)
        self._part_if_background()

    def info(self, text: str) -> None:
        if self.job is not None:
            self.job.note(text)
        if not self.closed:
            self.sink.notice(Notice(_INFO, text))

    def finished(self, artifact: Artifact) -> None:
        if self.closed:
            artifact.close()
        else:
            self.deliver(artifact)

    def failed(self, error: WireError) -> None:
        self.fail(error)

    # -- how it ends ----------------------------------------------------------------------------

    def _part_if_background(self) -> None:
        """All rows are with the fit, or in its file: from here on it is a job."""
        job = self.job
        if job is None or not self._complete or self._unwritten or self.closed:
            return
        job.rows, job.fit, job.caller = self.rows_in, self.fit, self.request.caller
        job.state = WAITING if self.fit.state == "queued" else RUNNING
        if job.state == RUNNING:
            job.started_at = time.time() - (time.monotonic() - self.fit.started_at)
        self.fit.owner = JobFit(self.service.jobs, job)
        self.service.jobs.register(job)
        self.job = None
        self.answer({"job": job.id})

    def _too_late(self) -> None:
        self.fail(
            WireError(
                "deadline",
                f"the training of {self.project} was not done in time: {self.state}",
                hint="raise statement_timeout or pgannex.timeout, or train in the background",
            )
        )

    def release(self) -> None:
        if self._late is not None:
            self._late.cancel()
        if isinstance(self.fit.owner, Train):
            self.fit.cancel()
        if self.job is not None:
            self.service.jobs.discard(self.job)
        ArtifactRows.release(self)

    # -- for stat_activity ------------------------------------------------------------------------

    def progress(self) -> tuple[int, int]:
        return self.service.fits.ahead(self.fit), self.rows_in

    @property
    def model_name(self) -> str:
        return self.project

    @property
    def state(self) -> str:
        if self.is_delivering:
            return "sending"
        return self.fit.state

    @property
    def fraction(self) -> float | None:
        return self.fit.fraction if self.fit.state != "queued" else None


def _spec_text(request: Request) -> str:
    arg = next((a for a in request.args if a.name == "spec"), None)
    if arg is None or arg.value is None:
        raise WireError("bad_argument", "train needs a spec", hint="call pgml.train")
    if len(arg.value) > _LARGEST_SPEC:
        raise WireError("too_large", f"the spec has {len(arg.value)} bytes, over {_LARGEST_SPEC}")
    return _text(arg)


def _text(arg: Arg) -> str:
    return str(decode_value(arg.value, arg.oid, arg.format == TEXT_FORMAT or arg.oid == 0))
