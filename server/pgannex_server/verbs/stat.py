"""The verbs stat_models, stat_activity and stat_server: what the server is doing, as rows.

They read counters and states that are kept anyway and answer at once. A role sees its own
requests in stat_activity, and in stat_models the trained models that it has used; the grant
`see_all` shows everybody's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pgannex_wire.message import End

from pgannex_server.fits.jobs import WAITING
from pgannex_server.request import Request, Sink
from pgannex_server.slot import Slot
from pgannex_server.verbs.running import Running
from pgannex_server.verbs.table import Row, TableCell, block_of, moment
from pgannex_server.workers.link import resident

if TYPE_CHECKING:
    from pgannex_server.fits.fit import Fit
    from pgannex_server.fits.jobs import Job
    from pgannex_server.predictors.served import Served
    from pgannex_server.registry import Model
    from pgannex_server.service import Service

MODELS = (
    "model", "instance", "state", "engine", "device", "dtype", "revision", "source", "aliases", "dimensions",
    "max_tokens", "pooling", "prompts", "pinned", "pid", "memory_bytes", "queued", "in_flight", "requests",
    "rows", "tokens", "batches", "batch_fill", "errors", "refused", "restarts", "compute_seconds",
    "queue_seconds", "loaded_at", "last_used_at", "last_error",
)  # fmt: skip
ACTIVITY = (
    "pid", "role", "database", "application_name", "client", "door", "verb", "model", "lane", "state",
    "ahead", "rows_in", "rows", "progress", "started_at", "deadline_at",
)  # fmt: skip
SERVER = (
    "version", "instance", "pid", "state", "started_at", "connections", "in_flight", "requests", "errors",
    "cancelled", "rejected", "rows", "tokens", "models", "models_loaded", "memory_bytes",
)  # fmt: skip


class Stat(Running):
    """Answers in its constructor."""

    __slots__ = ()

    names: tuple[str, ...] = ()

    def __init__(self, service: Service, request: Request, sink: Sink) -> None:
        block = block_of(request, self.table(service, request), self.names)
        Running.__init__(self, service, request, sink)
        self.rows_out = block.nrows
        sink.rows(0, block, True)
        self.end(End(rows=block.nrows))

    @staticmethod
    def table(service: Service, request: Request) -> list[Row]:
        """The rows, in a stable order."""
        return []


class StatModels(Stat):
    """One row per instance, and per trained model that is loaded or wanted: all of them, or those
    that the caller's role has used since they were loaded.

    Requests, errors and what waits are the whole model's.
    """

    __slots__ = ()
    names = MODELS

    @staticmethod
    def table(service: Service, request: Request) -> list[Row]:
        rows = [_model_row(m, slot) for m in service.registry.models.values() for slot in m.slots]
        caller = request.caller
        all_of_them = caller.may("see_all")
        return rows + [
            _served_row(model, all_of_them)
            for model in service.predictors.models.values()
            if all_of_them or caller.role in model.roles
        ]


class StatActivity(Stat):
    """One row per running request, and per background training, that the caller may see; not this one."""

    __slots__ = ()
    names = ACTIVITY

    @staticmethod
    def table(service: Service, request: Request) -> list[Row]:
        caller = request.caller
        all_of_them = caller.may("see_all")
        rows = [
            _activity_row(running)
            for running in service.running
            if all_of_them or running.request.caller.role == caller.role
        ]
        jobs = [job for job in service.jobs.known.values() if job.fit is not None]
        return rows + [
            _job_row(service, job, job.fit)
            for job in jobs
            if job.fit is not None and (all_of_them or job.role == caller.role)
        ]


class StatServer(Stat):
    """One row."""

    __slots__ = ()
    names = SERVER

    @staticmethod
    def table(service: Service, request: Request) -> list[Row]:
        numbers = service.telemetry
        models = list(service.registry.models.values())
        cancelled = numbers.errors.get("cancelled", 0)
        return [
            {
                "version": service.version,
                "instance": service.instance,
                "pid": service.pid,
                "state": service.state,
                "started_at": moment(numbers.started),
                "connections": numbers.connections,
                "in_flight": numbers.in_flight,
                "requests": sum(numbers.requests.values()),
                "errors": sum(numbers.errors.values()) - cancelled,
                "cancelled": cancelled,
                "rejected": numbers.errors.get("overloaded", 0),
                "rows": numbers.rows,
                "tokens": sum(m.counters.tokens for m in models),
                "models": len(models),
                "models_loaded": sum(m.state == "ready" for m in models),
                "memory_bytes": resident(service.pid),
            }
        ]


def _model_row(model: Model, slot: Slot) -> Row:
    info, counters, config = slot.info or model.info, model.counters, model.config
    waiting = sum(job.share.started == 0.0 for job in model.queue.jobs)
    state = model.state if slot.state == "unloaded" and model.state == "failed" else slot.state
    return {
        "model": model.name,
        "instance": slot.index,
        "state": state,
        "engine": info.engine if info else config.engine,
        "device": info.device if info else config.device,
        "dtype": info.dtype if info else config.dtype,
        "revision": config.revision or None,
        "source": config.source or model.name,
        "aliases": ", ".join(config.aliases) or None,
        "dimensions": info.dimensions if info else None,
        "max_tokens": info.max_tokens if info else None,
        "pooling": info.pooling or None if info else None,
        "prompts": (", ".join(info.prompts) or None) if info else None,
        "pinned": model.pinned,
        "pid": slot.pid or None,
        "memory_bytes": slot.memory or resident(slot.pid) if slot.pid else None,
        "queued": waiting,
        "in_flight": len(model.queue.jobs) - waiting + len(model.queue.alone),
        "requests": counters.requests,
        "rows": slot.texts,
        "tokens": slot.tokens,
        "batches": slot.batches,
        "batch_fill": slot.texts / slot.batches if slot.batches else 0.0,
        "errors": counters.errors,
        "refused": model.admission.refused,
        "restarts": slot.restarts,
        "compute_seconds": slot.compute_seconds,
        "queue_seconds": counters.queue_seconds,
        "loaded_at": moment(slot.loaded_at if slot.pid else 0.0),
        "last_used_at": moment(_unix(model.last_used)),
        "last_error": model.last_error or None,
    }


def _served_row(model: Served, whole_hash: bool) -> Row:
    """A model of tables: it is an instance of its own, and its process has other models too."""
    counters, home, info = model.counters, model.home, model.info
    ready = model.state == "ready"
    row: dict[str, TableCell] = dict.fromkeys(MODELS)
    row |= {
        "model": model.name,
        "instance": home.index,
        "state": model.state,
        "engine": str(info.get("engine") or "tabular"),
        "device": "cpu",
        "source": model.hash if whole_hash else model.hash[:8],
        "pinned": False,
        "pid": home.pid or None,
        "memory_bytes": model.memory if ready else None,
        "queued": 0 if ready else len(model.users),
        "in_flight": len(model.users) if ready else 0,
        "requests": counters.requests,
        "rows": counters.texts,
        "tokens": 0,
        "batches": counters.batches,
        "batch_fill": counters.batch_fill,
        "errors": counters.errors,
        "refused": model.admission.refused,
        "restarts": counters.restarts,
        "compute_seconds": counters.compute_seconds,
        "queue_seconds": counters.queue_seconds,
        "loaded_at": moment(model.loaded_at if ready else 0.0),
        "last_used_at": moment(_unix(model.last_used)),
        "last_error": model.last_error or None,
    }
    return row


def _activity_row(running: Running) -> Row:
    request = running.request
    caller = request.caller
    ahead, rows = running.progress()
    return {
        "pid": caller.pid,
        "role": caller.role,
        "database": caller.database or None,
        "application_name": caller.application_name or None,
        "client": caller.client or None,
        "door": caller.door,
        "verb": request.verb,
        "model": running.model_name or None,
        "lane": running.lane,
        "state": running.state,
        "ahead": ahead,
        "rows_in": running.rows_in,
        "rows": rows,
        "progress": running.fraction,
        "started_at": moment(_unix(running.began)),
        "deadline_at": moment(_unix(running.deadline)),
    }


def _job_row(service: Service, job: Job, fit: Fit) -> Row:
    """A background training: no request has it any more, and the backend may be gone, so no pid."""
    row: dict[str, TableCell] = dict.fromkeys(ACTIVITY)
    caller = job.caller
    row |= {
        "role": job.role,
        "database": job.database or None,
        "application_name": caller.application_name or None if caller else None,
        "client": caller.client or None if caller else None,
        "door": caller.door if caller else None,
        "verb": "train",
        "model": job.project,
        "lane": "background",
        "state": "waiting" if job.state == WAITING else fit.state,
        "ahead": service.fits.ahead(fit),
        "rows_in": job.rows,
        "rows": job.rows,
        "progress": fit.fraction if job.state != WAITING else None,
        "started_at": moment(job.submitted_at),
    }
    return row


def _unix(monotonic: float) -> float:
    """Wall-clock time of a monotonic one; 0 stays 0."""
    return time.time() + monotonic - time.monotonic() if monotonic else 0.0
