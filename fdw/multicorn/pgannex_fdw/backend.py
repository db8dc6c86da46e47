"""What the Postgres backend knows and Multicorn does not tell: role, settings, interrupts.

Multicorn2 hands a wrapper its quals and columns, nothing else. This module reads the rest
from the running `postgres` executable through ctypes: exported variables, and functions
that do not raise. None of them may raise, because a Postgres error would jump over
Python's own stack frames; so lookups are the "missing is fine" kind, and interrupts are
held while one runs. Outside a backend `install` puts a stand-in in its place.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pgannex_wire.errors import WireError
from pgannex_wire.values import FLOAT4

DEFAULT_SOCKET = "/run/pgannex/pgannex.sock"
INTERACTIVE_TIMEOUT_MS = 60_000

_POSTGRES_EPOCH = 946_684_800
_PG_UTF8 = 6
_PGC_SIGHUP = 2
_PLACEHOLDER = 0x0080
_ARRAY_OUT = 751  # oid of the function array_out, which never changes
_ARRAY_HEAD = struct.Struct("=IiiIii")
_UNITS = {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


class Backend(Protocol):
    """What the other modules ask. `interrupted` is true while Postgres wants control back."""

    server: str
    utf8: bool

    def socket(self) -> str: ...
    def timeout_ms(self) -> int: ...
    def statement_left_ms(self) -> int | None: ...
    def role(self) -> str: ...
    def has_role(self, name: str) -> bool: ...
    def database(self) -> str: ...
    def application_name(self) -> str: ...
    def interrupted(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def client_is_there(self) -> bool: ...
    def real_array_text(self, floats: bytes) -> bytes: ...
    def shielded(self, call: Callable[[], None]) -> None: ...


class _Postgres:
    """The backend that this process is."""

    def __init__(self) -> None:
        import ctypes

        lib = ctypes.PyDLL(None)
        c_int, c_char_p, c_uint, c_bool = ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.c_bool
        self._cancel = c_int.in_dll(lib, "QueryCancelPending")
        self._die = c_int.in_dll(lib, "ProcDiePending")
        self._pending = c_int.in_dll(lib, "InterruptPending")
        self._hold = c_uint.in_dll(lib, "InterruptHoldoffCount")
        self._statement_timeout = c_int.in_dll(lib, "StatementTimeout")
        self._database_id = c_uint.in_dll(lib, "MyDatabaseId")
        self._user_id = _function(lib.GetUserId, c_uint)
        self._user_name = _function(lib.GetUserNameFromId, c_char_p, c_uint, c_bool)
        self._role_id = _function(lib.get_role_oid, c_uint, c_char_p, c_bool)
        self._privileged = _function(lib.has_privs_of_role, c_bool, c_uint, c_uint)
        self._database_name = _function(lib.get_database_name, c_char_p, c_uint)
        self._option = _function(lib.GetConfigOption, c_char_p, c_char_p, c_bool, c_bool)
        self._output = _function(lib.OidOutputFunctionCall, c_char_p, c_uint, ctypes.c_void_p)
        self._check_connection = _function(lib.pq_check_connection, c_bool)
        self._started_us = _function(lib.GetCurrentStatementStartTimestamp, ctypes.c_int64)
        self.utf8 = _function(lib.GetDatabaseEncoding, c_int)() == _PG_UTF8
        self._define_socket(ctypes, lib)
        self.server = self._setting("server_version_num")

    def _define_socket(self, ctypes: Any, lib: Any) -> None:
        """Makes pgannex.socket a setting of the cluster: superuser, reload.

        Undefined it would be a placeholder that any user may SET, and a user could have
        the backend speak to any socket of the host in the name of Postgres.
        """
        c_bool = ctypes.c_bool
        flags = _function(lib.GetConfigOptionFlags, ctypes.c_int, ctypes.c_char_p, c_bool)
        with self._held():
            known = self._option(b"pgannex.socket", True, False) is not None
            if known and not flags(b"pgannex.socket", True) & _PLACEHOLDER:
                return
            # Postgres keeps these pointers for the life of the backend, and so do we.
            self._socket_cell = ctypes.c_char_p()
            self._socket_texts = (
                ctypes.c_char_p(b"pgannex.socket"),
                ctypes.c_char_p(b"Unix socket of the pgannex server."),
                ctypes.c_char_p(DEFAULT_SOCKET.encode()),
            )
            name, short, boot = self._socket_texts
            define = lib.DefineCustomStringVariable
            define.restype = None
            arguments = (
                name,
                short,
                None,
                ctypes.byref(self._socket_cell),
                boot,
                _PGC_SIGHUP,
                0,
                None,
                None,
                None,
            )
            # Inside a parallel query Postgres would keep the value of postgresql.conf from the
            # new setting; nothing of the query is touched by stepping out of it for the call.
            parallel = _function(lib.IsInParallelMode, c_bool)()
            if parallel:
                lib.ExitParallelMode()
            define(*arguments)
            if parallel:
                lib.EnterParallelMode()

    @contextmanager
    def _held(self) -> Iterator[None]:
        self._hold.value += 1
        try:
            yield
        finally:
            self._hold.value -= 1

    def _setting(self, name: str) -> str:
        raw: bytes | None = self._option(name.encode(), True, False)
        return (raw or b"").decode(errors="replace")

    def socket(self) -> str:
        return self._setting("pgannex.socket") or DEFAULT_SOCKET

    def timeout_ms(self) -> int:
        return parse_timeout(self._setting("pgannex.timeout"))

    def statement_left_ms(self) -> int | None:
        limit: int = self._statement_timeout.value
        if limit <= 0:
            return None
        elapsed = (time.time() - _POSTGRES_EPOCH) * 1000 - self._started_us() / 1000
        return max(1, int(limit - elapsed))

    def role(self) -> str:
        with self._held():
            raw: bytes | None = self._user_name(self._user_id(), True)
        return (raw or b"").decode(errors="replace")

    def has_role(self, name: str) -> bool:
        with self._held():
            role = self._role_id(name.encode(), True)
            return bool(role) and bool(self._privileged(self._user_id(), role))

    def database(self) -> str:
        with self._held():
            raw: bytes | None = self._database_name(self._database_id.value)
        return (raw or b"").decode(errors="replace")

    def application_name(self) -> str:
        return self._setting("application_name")

    def interrupted(self) -> bool:
        return bool(self._pending.value)

    def cancelled(self) -> bool:
        return bool(self._cancel.value or self._die.value)

    def client_is_there(self) -> bool:
        """Whether the client's socket is still open; Postgres itself does not look meanwhile."""
        return bool(self._check_connection())

    def real_array_text(self, floats: bytes) -> bytes:
        """The text form of a real[]: Postgres's own array_out spells four times as fast as Python."""
        text: bytes = self._output(_ARRAY_OUT, _real_array(floats))
        return text

    def shielded(self, call: Callable[[], None]) -> None:
        """Runs `call` while no interrupt can fire: a report to the client looks for them."""
        with self._held():
            call()


def _real_array(floats: bytes) -> bytes:
    """A real[] of one dimension as it lies in memory: length, dimensions, no NULLs, type, bound."""
    size = _ARRAY_HEAD.size + len(floats)
    length = size << 2 if sys.byteorder == "little" else size
    return _ARRAY_HEAD.pack(length, 1, 0, FLOAT4, len(floats) // 4, 1) + floats


def _function(symbol: Any, result: Any, *arguments: Any) -> Any:
    symbol.restype = result
    symbol.argtypes = arguments
    return symbol


def parse_timeout(text: str) -> int:
    """Milliseconds of a setting such as '30s', '500' or '0' (none); unset is the default."""
    if not text:
        return INTERACTIVE_TIMEOUT_MS
    digits = text.strip().rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text.strip()[len(digits) :].strip() or "ms"
    try:
        value = float(digits) * _UNITS[unit]
    except (KeyError, ValueError) as error:
        raise WireError(
            "bad_argument",
            f'pgannex.timeout is "{text}"',
            hint="a number of milliseconds, or with a unit: us, ms, s, min, h, d; 0 is no limit",
        ) from error
    return max(0, int(value))


_current: Backend | None = None


def install(backend: Backend) -> None:
    """Puts `backend` in the place of the process's own; for use outside Postgres."""
    global _current
    _current = backend


def current() -> Backend:
    global _current
    if _current is None:
        _current = _Postgres()
    return _current


def pid() -> int:
    return os.getpid()
