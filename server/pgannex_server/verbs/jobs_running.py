"""The owner of a fit that has become a job: what the fit says goes into the job's record."""

from __future__ import annotations

from pgannex_wire import WireError

from pgannex_server.fits.artifact import Artifact
from pgannex_server.fits.jobs import Job, Jobs


class JobFit:
    """Keeps the record of one running job; see fits.fit.FitOwner."""

    __slots__ = ("job", "jobs")

    def __init__(self, jobs: Jobs, job: Job) -> None:
        self.jobs = jobs
        self.job = job

    def started(self) -> None:
        self.jobs.started(self.job)

    def taken(self, seq: int) -> None:
        """The rows were complete before there was a job."""

    def info(self, text: str) -> None:
        self.job.note(text)
        self.jobs.noted(self.job)

    def finished(self, artifact: Artifact) -> None:
        self.jobs.done(self.job, artifact)

    def failed(self, error: WireError) -> None:
        self.jobs.fail(self.job, error)
