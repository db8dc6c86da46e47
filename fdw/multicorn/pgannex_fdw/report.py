"""Errors and notices: from the wire's words to Multicorn's log_to_postgres.

Every error leaves Multicorn with SQLSTATE XX000. What a client needs to tell errors apart
is therefore the last line of the detail: our stable code and the SQLSTATE that the native
host raises.
"""

from __future__ import annotations

from typing import NoReturn

from pgannex_wire.errors import WireError, sqlstate_for
from pgannex_wire.message import Failure, Notice

from pgannex_fdw import backend

_DEBUG, _INFO, _WARNING = 10, 20, 30
_LEVELS = (_DEBUG, _INFO, _INFO, _WARNING)
"""By the wire's level. Multicorn has one level, NOTICE, for info and notice."""


class ServerError(WireError):
    """An error of the server, with the SQLSTATE that it chose for the verb."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code, failure.message, detail=failure.detail, hint=failure.hint)
        self.code = failure.code
        self.sqlstate = failure.sqlstate


def detail_of(error: WireError, verb: str) -> str:
    """The error's detail with the line that names code and SQLSTATE."""
    state = error.sqlstate if isinstance(error, ServerError) else sqlstate_for(error.code, verb)
    line = f"code: {error.code}, sqlstate: {state}"
    return f"{error.detail}\n{line}" if error.detail else line


def raise_error(error: WireError, verb: str) -> NoReturn:
    """Hands the error to Multicorn, which raises it once Python's frames are gone."""
    from logging import ERROR

    from multicorn.utils import log_to_postgres

    log_to_postgres(
        _clean(error.message),
        ERROR,
        hint=_clean(error.hint) or None,
        detail=_clean(detail_of(error, verb)),
    )
    raise error


def notice(message: Notice) -> None:
    """Reports a notice of the server. Held interrupts keep the report from raising."""
    from multicorn.utils import log_to_postgres

    level = _LEVELS[min(message.level, 3)]
    hint, detail = _clean(message.hint) or None, _clean(message.detail) or None
    backend.current().shielded(
        lambda: log_to_postgres(_clean(message.message), level, hint=hint, detail=detail)
    )


def _clean(text: str) -> str:
    """Text that any database encoding can hold; in UTF-8 that is the text itself."""
    if not backend.current().utf8:
        text = text.encode("ascii", "backslashreplace").decode()
    return text.replace("\0", "")
