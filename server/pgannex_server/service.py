"""The one entrance for both doors: `Service.start(request, sink) -> handle`.

It finds the verb, refuses what cannot be served, and keeps the list of running requests
for stat_activity and for draining. What a verb does is in `verbs/`; which model and which
worker is the registry's; no bytes of any door are known here.
"""

from __future__ import annotations

from pgannex_wire import WireError

from pgannex_server.config import Config
from pgannex_server.request import Caller, Handle, Request, Shape, Sink, parse_grant

__all__ = ["Caller", "Handle", "Request", "Service", "Shape", "Sink", "parse_grant"]


class Service:
    """Both doors call this. Everything happens on the event loop's thread.

    `async start()`/`async close()` bracket its life; `app.run` calls them.
    """

    config: Config

    def start(self, request: Request, sink: Sink) -> Handle:
        """Begin a request. Raises WireError where it is refused outright."""
        raise WireError("not_ready", "the server is starting")
