"""Who is calling over HTTP, and as which role?

On the unix socket the kernel says which user it is: the role is `os:<user>`. On TCP an API
key stands for the role that the configuration gives it. No header can name a role, and no
caller over HTTP has a grant: load, unload and pin are for the database.
"""

from __future__ import annotations

import hashlib
import hmac
import pwd
from collections.abc import Iterable, Mapping

from pgannex_wire.errors import WireError

from pgannex_server.doors.http.body import header
from pgannex_server.doors.http.peer import Connection
from pgannex_server.request import Caller

OPEN_PATHS = frozenset(("/health", "/ready", "/version"))
"""Answered without a key: they say nothing that is not plain from outside."""


class Identity:
    """Turns a connection and its headers into a Caller. `keys`: sha256 in hex → role."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = [(bytes.fromhex(digest), role) for digest, role in keys.items()]

    def caller(self, connection: Connection, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Raises WireError(unauthenticated) where a key is needed and none fits."""
        known = connection.caller
        if known is not None:
            return known
        peer = connection.peer
        client = header(headers, b"user-agent")[:100]
        if peer.uid is None:
            return Caller(self._role_of_key(header(headers, b"authorization")), client=client, door="http")
        role = f"os:{_user_name(peer.uid)}"
        connection.caller = Caller(role, uid=peer.uid, pid=peer.pid, client=client, door="http")
        return connection.caller

    def _role_of_key(self, authorization: str) -> str:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise WireError(
                "unauthenticated", "no API key came with the request", hint="send Authorization: Bearer KEY"
            )
        digest = hashlib.sha256(key.strip().encode("latin-1")).digest()
        found = ""
        for expected, role in self._keys:  # to the end, so that time does not tell which key came close
            if hmac.compare_digest(expected, digest):
                found = role
        if not found:
            raise WireError(
                "unauthenticated", "the API key is not known", hint="see [http.keys] in pgannex.toml"
            )
        return found


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
