"""One trained model as the server sees it: where its bytes come from, where it is loaded, who waits.

Its bytes are the Store's, or a caller's database sends them: of several callers that need them
at once one asks and the others wait; if the first goes away, or what it sends is no good, the
next one asks. Nothing is loaded whose signature is not ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pgannex_wire import WireError

from pgannex_server.admission import Admission
from pgannex_server.predictors.process import Predictor
from pgannex_server.tabular.predict_frames import Result
from pgannex_server.telemetry import ModelCounters

if TYPE_CHECKING:
    from pgannex_server.predictors.pool import Predictors


_MOST_ROLES = 1000


class Waiter(Protocol):
    """A request that needs the model. None of these is called after `leave`."""

    def ask(self) -> None:
        """Ask the caller for the bytes; `supply` or `leave` follows."""

    def ready(self) -> None:
        """The model is loaded."""

    def fail(self, error: WireError) -> None: ...


class Served:
    """`state` is wanted, asked, loading or ready. `users` are the requests that hold it."""

    def __init__(self, pool: Predictors, hash: str, home: Predictor) -> None:
        self.hash = hash
        self.raw = bytes.fromhex(hash)
        self.home = home
        self.state = "wanted"
        self.info: dict[str, Any] = {}
        self.counters = ModelCounters()
        self.admission = Admission(hash[:8])
        self.users: dict[Any, None] = {}
        self.roles: dict[str, None] = {}
        self.loaded_at = 0.0
        self.last_used = time.monotonic()
        self.last_error = ""
        self._pool = pool
        self._waiters: dict[Waiter, None] = {}
        self._asker: Waiter | None = None
        self._data: bytes | None = None

    @property
    def name(self) -> str:
        """What stat_models calls it."""
        title = self.info.get("title")
        return f"{title} ({self.hash[:8]})" if title else self.hash[:8]

    @property
    def memory(self) -> int:
        return int(self.info.get("memory_bytes", 0)) if self.state == "ready" else 0

    def used_by(self, role: str) -> None:
        """Remember who has used it: pgml.stat_models shows them that they did."""
        if role not in self.roles:
            if len(self.roles) >= _MOST_ROLES:
                del self.roles[next(iter(self.roles))]
            self.roles[role] = None

    def join(self, waiter: Waiter) -> None:
        """`waiter.ready()` follows, perhaps at once; or `ask`, or `fail`."""
        if self.state == "ready":
            waiter.ready()
            return
        self._waiters[waiter] = None
        self._advance()

    def leave(self, waiter: Waiter) -> None:
        """The request has gone; if it was the one that asked, another one asks."""
        self._waiters.pop(waiter, None)
        if waiter is self._asker:
            self._asker = None
            self.state = "wanted"
            self._advance()

    def supply(self, waiter: Waiter, data: bytes) -> None:
        """The bytes have come and are verified."""
        if waiter is self._asker:
            self._asker = None
        if self.state in ("wanted", "asked"):
            self._load(data)

    def count(self, result: Result) -> None:
        """A job was answered."""
        counters = self.counters
        counters.texts += result.rows
        counters.batches += 1
        counters.compute_seconds += result.compute_ns / 1e9

    # -- what its process tells ------------------------------------------------------------------

    def up(self) -> None:
        """The process is up: what waited for it can go."""
        if self._data is not None:
            data, self._data = self._data, None
            self.home.load(self, data)

    def loaded(self, info: dict[str, Any]) -> None:
        self.info = info
        self.state = "ready"
        self.loaded_at = time.time()
        self.admission.model = self.name
        self._pool.make_room(self)
        self._each(lambda waiter: waiter.ready())

    def refused(self, error: WireError) -> None:
        self.state = "wanted"
        self._data = None
        self.last_error = error.message
        self._each(lambda waiter: waiter.fail(error))

    def lost(self, error: WireError) -> None:
        """The process died. Who waited while it was loading hears: it may be the model's fault."""
        self.counters.restarts += 1
        was, self.state = self.state, "wanted"
        self.last_error = error.message
        if was == "loading" and self._data is None:
            self._each(lambda waiter: waiter.fail(error))
        for user in list(self.users):
            user.unready()
        if self._data is not None:
            data, self._data = self._data, None
            self._load(data)

    # -- inside ------------------------------------------------------------------------------------

    def _each(self, tell: Callable[[Waiter], None]) -> None:
        waiters, self._waiters = self._waiters, {}
        self._asker = None
        for waiter in waiters:
            tell(waiter)

    def _advance(self) -> None:
        if self.state != "wanted" or not self._waiters:
            return
        if self.home.refusal is not None:
            self.refused(self.home.refusal)
            return
        data = self._pool.store.get(self.hash)
        if data is not None:
            self._load(data)
            return
        self.state = "asked"
        self._asker = next(iter(self._waiters))
        self._asker.ask()

    def _load(self, data: bytes) -> None:
        self.state = "loading"
        if self.home.state == "ready":
            self.home.load(self, data)
        else:
            self._data = data
            self.home.models[self.raw] = self
