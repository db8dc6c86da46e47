"""The verbs stat_jobs and job_result: what became of background trainings, and their artifacts.

stat_jobs shows a role its own jobs, and all of them to a caller whose grant says see_all.
job_result gives a finished job's artifact to the role that started it, from the same database,
as `train` would have given it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgannex_wire import WireError
from pgannex_wire.message import TEXT_FORMAT
from pgannex_wire.values import decode_value

from pgannex_server.fits.jobs import ACTIVE, COLLECTED, DONE, WAITING, Job
from pgannex_server.request import Caller, Request, Sink
from pgannex_server.verbs.artifact_rows import ArtifactRows, check_outputs
from pgannex_server.verbs.stat import Stat
from pgannex_server.verbs.table import Row, moment

if TYPE_CHECKING:
    from pgannex_server.service import Service

JOBS = (
    "job", "role", "database", "project", "algorithm", "state", "progress", "message", "rows", "log", "error",
    "submitted_at", "started_at", "ended_at",
)  # fmt: skip


class StatJobs(Stat):
    """One row per job that the caller may see, the oldest first."""

    __slots__ = ()
    names = JOBS

    @staticmethod
    def table(service: Service, request: Request) -> list[Row]:
        caller = request.caller
        everything = caller.may("see_all")
        return [_row(job) for job in service.jobs.known.values() if everything or job.role == caller.role]


class JobResult(ArtifactRows):
    """Hands out the artifact of a finished job; it may be asked for again."""

    __slots__ = ("job",)

    def __init__(self, service: Service, request: Request, sink: Sink) -> None:
        check_outputs(request)
        self.job = find_job(service, request, request.caller, "")
        if self.job.state in ACTIVE:
            says = "its turn has not come" if self.job.state == WAITING else self.job.says
            raise WireError(
                "not_ready",
                f"job {self.job.id} is still {self.job.state}: {says or 'it has said nothing yet'}",
                hint="pgml.stat_jobs shows when it is done",
            )
        if self.job.state not in (DONE, COLLECTED):
            raise self.job.failure()
        self.prepare()
        artifact = service.jobs.open_artifact(self.job)
        ArtifactRows.__init__(self, service, request, sink)
        self.deliver(artifact)

    def delivered(self) -> None:
        self.service.jobs.collected(self.job)

    @property
    def model_name(self) -> str:
        return self.job.project

    @property
    def state(self) -> str:
        return "sending"


def find_job(service: Service, request: Request, caller: Caller, right: str) -> Job:
    """The job that the request names, if it is the caller's or the grant has `right`."""
    name = argument(request, "job")
    job = service.jobs.known.get(name)
    if job is not None and (
        (job.role, job.database) == (caller.role, caller.database) or (right and caller.may(right))
    ):
        return job
    raise WireError(
        "bad_argument",
        f'role {caller.role} has no job "{name}" in this database',
        hint="pgml.stat_jobs lists them",
    )


def argument(request: Request, name: str) -> str:
    """The text of an argument that is required."""
    for arg in request.args:
        if arg.name == name and arg.value is not None:
            return str(decode_value(arg.value, arg.oid, arg.format == TEXT_FORMAT or arg.oid == 0))
    raise WireError("bad_argument", f"{request.verb} needs {name}", hint=f"add {name} = …")


def _row(job: Job) -> Row:
    return {
        "job": job.id,
        "role": job.role,
        "database": job.database or None,
        "project": job.project,
        "algorithm": str(job.result.get("algorithm") or job.algorithm) or None,
        "state": job.state,
        "progress": job.progress,
        "message": job.says or None,
        "rows": job.rows,
        "log": "\n".join(job.log) or None,
        "error": job.error.get("message"),
        "submitted_at": moment(job.submitted_at),
        "started_at": moment(job.started_at),
        "ended_at": moment(job.ended_at),
    }
