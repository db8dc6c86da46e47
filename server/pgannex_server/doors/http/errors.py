"""How does an error look over HTTP?

OpenAI's shape, `{"error": {"message", "type", "code", "param"}}`, from the one error table:
`code` is the table's code, the status is the table's HTTP status. The hint is part of the
message, because clients show nothing else. Logging and counting are the gate's.
"""

from __future__ import annotations

import json
import math

from pgannex_wire.errors import WireError

from pgannex_server.errors import Overloaded

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_PARAM_OF_CODE = {"unknown_model": "model", "null_input": "input", "invalid_text": "input"}
RETRY_SOON = 1
RETRY_LATER = 30


class FieldError(WireError):
    """An error about one field of the request: `param` names it."""

    def __init__(self, code: str, param: str, message: str, *, hint: str = "") -> None:
        super().__init__(code, message, hint=hint)
        self.param = param


class RouteError(WireError):
    """A path or a method that the door does not serve; `status` is 404 or 405."""

    def __init__(self, status: int, message: str, *, hint: str = "") -> None:
        super().__init__("bad_argument", message, hint=hint)
        self.status = status


class FramingError(WireError):
    """Where this request ends and the next begins is not certain: the connection is closed."""

    def __init__(self, message: str) -> None:
        super().__init__("bad_argument", message, hint="send Content-Length, or Transfer-Encoding: chunked")


def unforeseen() -> WireError:
    """What a client hears of an exception that is no WireError."""
    return WireError("internal", "the server met an unexpected error", hint="see the server's log")


def status_of(error: WireError) -> int:
    return error.status if isinstance(error, RouteError) else error.row.http


def body_of(error: WireError) -> bytes:
    """The response body for `error`."""
    status = status_of(error)
    default = "server_error" if status >= 500 else "invalid_request_error"
    fields = {
        "message": f"{error.message} ({error.hint})" if error.hint else error.message,
        "type": _TYPES.get(status, default),
        "code": "unknown_route" if isinstance(error, RouteError) else error.code,
        "param": error.param if isinstance(error, FieldError) else _PARAM_OF_CODE.get(error.code),
    }
    return json.dumps({"error": fields}, ensure_ascii=False).encode("utf-8", "replace")


def headers_of(error: WireError) -> list[tuple[bytes, bytes]]:
    """Headers that an error adds: when to come back, how to authenticate, that it is the last."""
    if isinstance(error, FramingError):
        return [(b"connection", b"close")]
    status = status_of(error)
    if status in (429, 503):
        return [(b"retry-after", str(_retry_after(error)).encode())]
    if status == 401:
        return [(b"www-authenticate", b"Bearer")]
    return []


def _retry_after(error: WireError) -> int:
    """Whole seconds, because Retry-After knows no others."""
    if isinstance(error, Overloaded):
        return max(1, math.ceil(error.retry_after_s))
    return RETRY_SOON if error.row.retryable else RETRY_LATER
