"""Telling the service manager how we are: READY, STOPPING, RELOADING, WATCHDOG.

The protocol of systemd's sd_notify: datagrams to the socket named in NOTIFY_SOCKET. Without
that variable everything here does nothing.
"""

from __future__ import annotations

import os
import socket
import time


class Manager:
    """The service manager, if there is one."""

    def __init__(self) -> None:
        self._path = os.environ.get("NOTIFY_SOCKET", "")
        self._usec = _number(os.environ.get("WATCHDOG_USEC", ""))
        pid = os.environ.get("WATCHDOG_PID", "")
        if pid and pid != str(os.getpid()):
            self._usec = 0

    @property
    def watchdog_s(self) -> float:
        """How often to say that we live: half of what the manager allows, 0 if it does not ask."""
        return self._usec / 2e6

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1\nSTATUS=draining")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._path:
            return
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.connect(address)
                sock.send(text.encode())
            except OSError:
                return  # a manager that does not listen is no reason to stop serving


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
