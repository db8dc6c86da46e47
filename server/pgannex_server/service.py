"""The one entrance for both doors: `Service.start(request, sink) -> handle`.

It finds the verb, refuses what cannot be served, and keeps the list of running requests
for stat_activity and for draining. What a verb does is in `verbs/`; which model and which
worker is the registry's; no bytes of any door are known here.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid

from pgannex_wire import WireError

from pgannex_server import __version__
from pgannex_server.config import Config
from pgannex_server.errors import NotReady
from pgannex_server.fits.jobs import Jobs
from pgannex_server.fits.queue import Fits
from pgannex_server.key import Signer
from pgannex_server.predictors.pool import Predictors
from pgannex_server.registry import Registry, Resolver, resolve_built_in
from pgannex_server.request import Caller, Handle, Request, Shape, Sink, parse_grant
from pgannex_server.telemetry import Telemetry
from pgannex_server.verbs.artifact import Store
from pgannex_server.verbs.control import Control
from pgannex_server.verbs.dataset import Dataset
from pgannex_server.verbs.digest import Digest
from pgannex_server.verbs.embed import Embed
from pgannex_server.verbs.environment import Environment
from pgannex_server.verbs.forecast import Forecast
from pgannex_server.verbs.job_control import JobControl
from pgannex_server.verbs.jobs import JobResult, StatJobs
from pgannex_server.verbs.metrics import Metrics
from pgannex_server.verbs.predict import Predict
from pgannex_server.verbs.running import Running
from pgannex_server.verbs.stat import StatActivity, StatModels, StatServer
from pgannex_server.verbs.train import Train

__all__ = ["VERBS", "Caller", "Handle", "Request", "Service", "Shape", "Sink", "parse_grant"]

VERBS: dict[str, type[Running]] = {
    "control": Control,
    "dataset": Dataset,
    "digest": Digest,
    "embed": Embed,
    "environment": Environment,
    "forecast": Forecast,
    "job_control": JobControl,
    "job_result": JobResult,
    "metrics": Metrics,
    "predict": Predict,
    "stat_activity": StatActivity,
    "stat_jobs": StatJobs,
    "stat_models": StatModels,
    "stat_server": StatServer,
    "train": Train,
}
"""Every verb this server serves."""


class Service:
    """Both doors call this. Everything happens on the event loop's thread.

    `state` is "ready" or "draining"; `instance` is new at each start of the server.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, config: Config, resolver: Resolver = resolve_built_in
    ) -> None:
        self.loop = loop
        self.config = config
        self.telemetry = Telemetry()
        self.registry = Registry(loop, config, resolver)
        self.artifacts = Store(config.limits.artifact_bytes)
        self.signer = Signer(config.server.key_path)
        self.fits = Fits(loop, config, self.signer.mac)
        self.jobs = Jobs(loop, config)
        self.predictors = Predictors(loop, config, self.artifacts)
        self.running: dict[Running, None] = {}
        self.state = "ready"
        self.version = __version__
        self.instance = uuid.uuid4().hex[:12]
        self.pid = os.getpid()

    def open(self) -> None:
        """Take the models, load the pinned ones; remember the jobs of an earlier server."""
        self.registry.open()
        self.jobs.open()
        self.fits.open()
        self.predictors.open()

    def start(self, request: Request, sink: Sink) -> Handle:
        """Begin a request. Raises WireError where it is refused outright."""
        verb = VERBS.get(request.verb)
        try:
            if self.state != "ready":
                raise NotReady(self.state)
            if verb is None:
                known = ", ".join(sorted(VERBS))
                raise WireError("unknown_verb", f'no verb is called "{request.verb}"', hint=f"known: {known}")
            handle = verb(self, request, sink)
        except WireError as err:
            self.telemetry.failed(err.code)
            raise
        requests = self.telemetry.requests
        requests[request.verb] = requests.get(request.verb, 0) + 1
        return handle

    def varying(self, verb: str) -> tuple[str, ...]:
        """The arguments of which one changes from call to call (see request.Shape)."""
        found = VERBS.get(verb)
        return found.varying if found is not None else ()

    def reload(self, config: Config) -> None:
        """A new configuration file: models and limits at once, sockets at the next start."""
        self.config = config
        self.signer.open()
        self.registry.reload(config)
        self.fits.reload(config)
        self.predictors.reload(config)
        self.jobs.reload(config)

    async def drain(self, limit_s: float) -> None:
        """Refuse new requests, let the running ones finish, fail what is left at the limit."""
        self.state = "draining"
        until = time.monotonic() + limit_s
        while self.running and time.monotonic() < until:  # noqa: ASYNC110 - no event on the hot path
            await asyncio.sleep(0.02)
        for handle in list(self.running):
            handle.fail(WireError("not_ready", "the server is shutting down", hint="try again in a moment"))

    async def close(self) -> None:
        """Stop the workers, the predictors, the fits and the jobs."""
        self.jobs.close()
        await self.fits.close()
        await self.predictors.close()
        await self.registry.close()
