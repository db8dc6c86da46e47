"""The one table of errors: code, SQLSTATE, HTTP status, retryable, meaning.

Every room raises `WireError` with a code of this table; doors translate it once. The
tables in the docs and in the C host are generated from here (`tools/`), never copied.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One row of the table. `sqlstate` has 5 characters; `http` is a status code."""

    code: str
    sqlstate: str
    http: int
    retryable: bool
    meaning: str


_ROWS = (
    ErrorCode("bad_argument", "22023", 400, False, "an argument has a value that the verb does not take"),
    ErrorCode("out_of_range", "22003", 400, False, "a number does not fit the type that it needs"),
    ErrorCode("null_input", "22004", 400, False, "an input, or an element of a batch, is NULL"),
    ErrorCode("invalid_text", "22021", 400, False, "a text is not valid UTF-8 or holds a NUL character"),
    ErrorCode("too_large", "54000", 413, False, "an input is larger than the limit"),
    ErrorCode("unknown_model", "22023", 404, False, "no such model is in the catalogue"),
    ErrorCode("unknown_verb", "0A000", 404, False, "the server, or this model, does not serve the verb"),
    ErrorCode("unauthenticated", "28000", 401, False, "no valid API key came with the request"),
    ErrorCode("not_permitted", "42501", 403, False, "the role may not do this"),
    ErrorCode("overloaded", "53000", 429, True, "the queue is full: try again later"),
    ErrorCode("out_of_memory", "53200", 503, True, "no memory is left for the model or the request"),
    ErrorCode("cancelled", "57014", 499, False, "the caller went away or cancelled"),
    ErrorCode("deadline", "57014", 504, True, "the request was not done before its deadline"),
    ErrorCode("not_ready", "57P03", 503, True, "the server is starting or shutting down"),
    ErrorCode("worker_died", "58000", 503, True, "the model's worker process died during the request"),
    ErrorCode("load_failed", "58000", 503, False, "the model could not be loaded"),
    ErrorCode("engine_missing", "0A000", 501, False, "the engine that serves the model is not installed"),
    ErrorCode("artifact_missing", "58P01", 404, False, "the database does not hold the artifact asked for"),
    ErrorCode("artifact_invalid", "XX001", 422, False, "an artifact does not match its hash or signature"),
    ErrorCode("server_down", "08001", 503, True, "nothing answers on the server's socket"),
    ErrorCode("server_silent", "08006", 504, True, "the server stopped answering"),
    ErrorCode("connection_lost", "08006", 503, True, "the connection broke during the request"),
    ErrorCode("protocol_violation", "08P01", 400, False, "the two ends do not speak the same protocol"),
    ErrorCode("internal", "XX000", 500, False, "a defect of pgannex: please report it"),
)

TABLE: dict[str, ErrorCode] = {row.code: row for row in _ROWS}


def code_of(code: str) -> ErrorCode:
    """The row for `code`; an unlisted code is `internal`."""
    return TABLE.get(code, TABLE["internal"])


def sqlstate_for(code: str, verb: str = "") -> str:
    """The SQLSTATE of `code` for `verb`.

    One exception to the table: clients written for PostgresML look for XX000 from
    `pgml.embed` when a model is unknown (see docs/reference/errors.md).
    """
    if code == "unknown_model" and verb == "embed":
        return "XX000"
    return code_of(code).sqlstate


_LONGEST = 2000


def clipped(text: str) -> str:
    """`text`, its middle left out where a value in it is too long to be read."""
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]} … ({len(text) - 2 * half} characters left out) … {text[-half:]}"


class WireError(Exception):
    """An error that may cross a door.

    `message` is lower case and has the values in it, `hint` says what to do, `detail`
    adds facts. `code` is a key of `TABLE`; an unknown one becomes `internal`.
    """

    def __init__(self, code: str, message: str, *, detail: str = "", hint: str = "") -> None:
        message = clipped(message)
        super().__init__(message)
        self.code = code if code in TABLE else "internal"
        self.message = message
        self.detail = clipped(detail)
        self.hint = clipped(hint)

    @property
    def row(self) -> ErrorCode:
        return TABLE[self.code]

    def __repr__(self) -> str:
        return f"WireError({self.code!r}, {self.message!r})"
