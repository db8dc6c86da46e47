"""How is a request's body read? Never more of it than the limit, whatever the sender claims.

Content-Length is checked before a byte is read; a chunked body is counted while it comes.
A request that claims both is refused.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from pgannex_wire.errors import WireError

from pgannex_server.doors.http.errors import FieldError, FramingError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


def header(headers: Headers, name: bytes) -> str:
    """The first value of a header (lower-case name), or the empty string."""
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return ""


def check_framing(headers: Headers) -> None:
    """Raises FramingError where two readers could find two ends of the body.

    A proxy in front that believes the other of two headers would take the rest of the body
    for somebody's next request. httptools refuses this itself, h11 does not.
    """
    coding = header(headers, b"transfer-encoding")
    if not coding:
        return
    if header(headers, b"content-length"):
        raise FramingError("the request has both Content-Length and Transfer-Encoding")
    if coding.strip().lower() != "chunked":
        raise FramingError(f"Transfer-Encoding {coding[:40]!r} is not served")


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises WireError: too_large, or cancelled when the client went away."""
    claimed = header(headers, b"content-length")
    if claimed.isdigit():
        _check(int(claimed), limit)
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        body: bytes = message.get("body", b"")
        _check(len(body), limit)
        return body
    whole = bytearray()
    while message["type"] == "http.request":
        whole += message.get("body", b"")
        _check(len(whole), limit)
        if not message.get("more_body"):
            return bytes(whole)
        message = await receive()
    raise WireError("cancelled", "the client went away before its request was whole")


def _check(size: int, limit: int) -> None:
    if size > limit:
        hint = "send fewer or shorter inputs at once, or raise [http] max_body_bytes"
        raise WireError("too_large", f"the request's body of {size} bytes exceeds {limit}", hint=hint)


def parse_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises WireError(bad_argument)."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise WireError("bad_argument", f"the request's body is not JSON: {err}") from err
    if not isinstance(value, dict):
        raise WireError("bad_argument", f"the request's body is a JSON {type(value).__name__}, not an object")
    return value


def want_text(fields: dict[str, Any], name: str) -> str:
    """A required text field."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise FieldError("bad_argument", name, f"{name} is {json.dumps(value)[:80]}, not a text")
    try:
        value.encode()
    except UnicodeEncodeError as err:
        raise FieldError("invalid_text", name, f"{name} holds half a surrogate pair") from err
    return value
