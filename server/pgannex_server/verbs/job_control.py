"""The verb job_control: cancel a job that waits or runs, forget a finished one.

A role does this to its own jobs; a grant that says control, to any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgannex_wire import WireError
from pgannex_wire.message import End

from pgannex_server.fits.jobs import ACTIVE, WAITING, Job
from pgannex_server.request import Request, Sink
from pgannex_server.verbs.jobs import argument, find_job
from pgannex_server.verbs.running import Running
from pgannex_server.verbs.table import block_of

if TYPE_CHECKING:
    from pgannex_server.service import Service

ACTIONS = ("cancel", "forget")
NAMES = ("job", "action", "state", "detail")


class JobControl(Running):
    """One action on one job; answers in its constructor."""

    __slots__ = ()

    def __init__(self, service: Service, request: Request, sink: Sink) -> None:
        action = argument(request, "action")
        if action not in ACTIONS:
            raise WireError(
                "bad_argument", f'action = "{action}" is unknown', hint=f"known: {', '.join(ACTIONS)}"
            )
        job = find_job(service, request, request.caller, "control")
        block_of(request, [], NAMES)
        state, detail = _cancel(service, request, job) if action == "cancel" else _forget(service, job)
        row = {"job": job.id, "action": action, "state": state, "detail": detail}
        block = block_of(request, [row], NAMES)
        Running.__init__(self, service, request, sink)
        self.rows_out = 1
        sink.rows(0, block, True)
        self.end(End(rows=1))


def _cancel(service: Service, request: Request, job: Job) -> tuple[str, str]:
    if job.state not in ACTIVE:
        return job.state, "it does not run"
    detail = "its turn had not come" if job.state == WAITING else "its process was killed"
    service.jobs.cancel(job, request.caller.role)
    return job.state, detail


def _forget(service: Service, job: Job) -> tuple[str, str]:
    if job.state in ACTIVE:
        raise WireError("bad_argument", f"job {job.id} is still {job.state}", hint="cancel it first")
    service.jobs.discard(job)
    return "forgotten", f"it was {job.state}; its artifact and record are deleted"
