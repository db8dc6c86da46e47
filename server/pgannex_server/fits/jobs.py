"""Fits that outlive the request that started them: what is known of each, here and in a file.

A job belongs to the role and the database that started it. Its record is a small JSON file in
the state folder, written as a whole at each step that matters, and its artifact a file beside
it; so a server that was restarted knows what it lost, and still has what was finished. Who
may see or end a job is decided by the verbs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgannex_wire import WireError

from pgannex_server.config import Config
from pgannex_server.fits.artifact import Artifact
from pgannex_server.fits.fit import Fit
from pgannex_server.fits.spool import Spool, SpoolRoom
from pgannex_server.request import Caller

log = logging.getLogger("pgannex.jobs")

WAITING, RUNNING, DONE, FAILED, LOST, CANCELLED, COLLECTED = (
    "waiting",
    "running",
    "done",
    "failed",
    "lost",
    "cancelled",
    "collected",
)
ACTIVE = (WAITING, RUNNING)
"""States that end by themselves."""
_LOG_LINES = 200
_LINE = 2000
_TIDY_S = 60.0
_KEPT = ("id", "role", "database", "project", "algorithm", "state", "rows", "message", "error", "log",
         "submitted_at", "started_at", "ended_at", "size", "hash", "result")  # fmt: skip


@dataclass(slots=True)
class Job:
    """One background fit. Times are in seconds since 1970, 0 for not yet."""

    id: str
    role: str
    database: str
    project: str
    algorithm: str
    state: str = RUNNING
    rows: int = 0
    message: str = ""
    error: Mapping[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    submitted_at: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0
    size: int = 0
    hash: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    fit: Fit | None = None
    caller: Caller | None = None

    @property
    def progress(self) -> float | None:
        """From 0 to 1; None where nothing is known."""
        if self.state in (DONE, COLLECTED):
            return 1.0
        return self.fit.fraction if self.fit is not None else None

    @property
    def says(self) -> str:
        """What it does, or the last that it said."""
        return (self.fit.doing if self.fit is not None else "") or self.message

    def failure(self) -> WireError:
        """Why it has no result."""
        known = self.error
        return WireError(
            known.get("code", "internal"),
            known.get("message", f"job {self.id} has no result"),
            detail=known.get("detail", ""),
            hint=known.get("hint", ""),
        )

    def note(self, line: str) -> None:
        """A line of its log; old ones make room."""
        self.message = line[:_LINE]
        self.log.append(self.message)
        del self.log[:-_LOG_LINES]


class Jobs:
    """All jobs of the server, by id, the oldest first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: Config) -> None:
        self.loop = loop
        self.config = config.tabular
        self.folder = config.server.state_path / "jobs"
        self.known: dict[str, Job] = {}
        self.room = SpoolRoom(self.folder, self.config.job_spool_bytes)
        self._timer: asyncio.TimerHandle | None = None
        self._saved: dict[str, float] = {}

    def open(self) -> None:
        """Read what an earlier server left; what it was doing is lost."""
        for path in sorted(self.folder.glob("*.json")):
            job = _read(path)
            if job is not None:
                self.known[job.id] = job
                self._recover(job)
        self._remove_strays()
        self._tidy()

    def close(self) -> None:
        """Remember what was running, so that the next server can say that it is lost."""
        if self._timer is not None:
            self._timer.cancel()
        for job in self.known.values():
            if job.state in ACTIVE:
                self._lose(job)

    def reload(self, config: Config) -> None:
        self.config = config.tabular
        self.room.limit = self.config.job_spool_bytes

    # -- a job's life -------------------------------------------------------------------------

    def reserve(self, role: str, database: str, project: str, algorithm: str) -> tuple[Job, int]:
        """A job that is not known yet, and the file for its artifact. Raises WireError if refused."""
        self._check_room()
        job = Job(secrets.token_hex(8), role, database, project, algorithm, submitted_at=time.time())
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._artifact(job), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as err:
            raise WireError(
                "internal",
                f"the server cannot keep jobs in {self.folder}: {err.strerror}",
                hint="see [server] state_dir in pgannex.toml",
            ) from err
        return job, fd

    def spool(self, job: Job) -> Spool:
        """The file for its rows, should it have to wait for its turn."""
        return Spool(self.loop, self.room, job.id)

    def started(self, job: Job) -> None:
        """Its turn has come."""
        job.state, job.started_at = RUNNING, time.time()
        self.save(job)

    def register(self, job: Job) -> None:
        """From now on it is known, and goes on without its request."""
        self.known[job.id] = job
        self.save(job)

    def discard(self, job: Job) -> None:
        """Forget a job and what belongs to it."""
        self.known.pop(job.id, None)
        self._saved.pop(job.id, None)
        self._artifact(job).unlink(missing_ok=True)
        self._record(job).unlink(missing_ok=True)

    def done(self, job: Job, artifact: Artifact) -> None:
        job.size, job.hash, job.result = artifact.size, artifact.hash, artifact.result
        artifact.close()
        self._settle(job, DONE)
        self._make_room()

    def fail(self, job: Job, error: WireError) -> None:
        job.error = {
            "code": error.code,
            "message": error.message,
            "detail": error.detail,
            "hint": error.hint,
        }
        self._settle(job, FAILED)

    def cancel(self, job: Job, by: str) -> None:
        fit, job.fit = job.fit, None
        if fit is not None:
            fit.cancel()
        job.error = {"code": "bad_argument", "message": f"job {job.id} was cancelled by {by}"}
        self._settle(job, CANCELLED)

    def collected(self, job: Job) -> None:
        """It was handed out. It stays a while: the transaction that stores it may fail."""
        if job.state == DONE:
            job.state = COLLECTED
            self.save(job)

    def open_artifact(self, job: Job) -> Artifact:
        """Raises WireError where the file is gone."""
        try:
            fd = os.open(self._artifact(job), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as err:
            raise WireError("artifact_missing", f"the artifact of job {job.id} is gone") from err
        return Artifact(fd, job.size, job.hash, job.result)

    def save(self, job: Job, durably: bool = True) -> None:
        """Write its record, whole or not at all."""
        path = self._record(job)
        fresh = path.with_suffix(".new")
        kept = {name: getattr(job, name) for name in _KEPT}
        self._saved[job.id] = time.monotonic()
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(kept, file)
                file.flush()
                if durably:
                    os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as err:
            log.error("the record of job %s was not written: %s", job.id, err)

    def noted(self, job: Job) -> None:
        """Its log has grown: write the record, but not for each line."""
        if time.monotonic() - self._saved.get(job.id, 0.0) > 1.0:
            self.save(job, durably=False)

    # -- inside -------------------------------------------------------------------------------

    def _settle(self, job: Job, state: str) -> None:
        job.state, job.fit, job.ended_at = state, None, time.time()
        if state != DONE:
            self._artifact(job).unlink(missing_ok=True)
        self.save(job)

    def _recover(self, job: Job) -> None:
        if job.state in ACTIVE:
            self._lose(job)
        elif job.state in (DONE, COLLECTED) and not self._artifact(job).exists():
            job.state = LOST
            job.error = {"code": "artifact_missing", "message": f"the artifact of job {job.id} is gone"}
            self.save(job)

    def _lose(self, job: Job) -> None:
        job.error = {
            "code": "worker_died",
            "message": f"job {job.id} is lost: the server restarted",
            "hint": "train again",
        }
        self._settle(job, LOST)

    def _remove_strays(self) -> None:
        """Artifacts of fits that were not jobs yet, and records half written."""
        names = {f"{id_}.annex" for id_ in self.known} | {f"{id_}.json" for id_ in self.known}
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if path.name not in names and path.suffix in (".annex", ".new", ".spool"):
                    path.unlink(missing_ok=True)

    def _tidy(self) -> None:
        """Forget what was kept long enough; once a minute."""
        before = time.time() - self.config.job_keep_s
        for job in list(self.known.values()):
            if job.state not in ACTIVE and job.ended_at < before:
                self.discard(job)
        self._timer = self.loop.call_later(_TIDY_S, self._tidy)

    def _stored(self) -> Iterator[Job]:
        return (job for job in self.known.values() if job.state in (DONE, COLLECTED))

    def _make_room(self) -> None:
        """Artifacts that were collected go first; one that was not is kept."""
        for job in sorted(self._stored(), key=lambda job: job.ended_at):
            if sum(j.size for j in self._stored()) <= self.config.job_bytes:
                return
            if job.state == COLLECTED:
                self.discard(job)

    def _check_room(self) -> None:
        used = sum(job.size for job in self._stored() if job.state == DONE)
        if used > self.config.job_bytes:
            raise WireError(
                "overloaded",
                f"the artifacts of finished jobs take {used} bytes",
                hint="collect or forget some of them, or raise [tabular] job_bytes in pgannex.toml",
            )

    def _artifact(self, job: Job) -> Path:
        return self.folder / f"{job.id}.annex"

    def _record(self, job: Job) -> Path:
        return self.folder / f"{job.id}.json"


def _read(path: Path) -> Job | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Job(**{name: kept[name] for name in _KEPT})
    except (OSError, ValueError, KeyError, TypeError) as err:
        log.warning("the job record %s cannot be read: %s", path, err)
        return None
