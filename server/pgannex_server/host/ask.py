"""Asking the running server over the unix socket of its HTTP door. Standard library only."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and decoded body (text where it is no JSON)."""

    status: int
    body: Any


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get(path: Path, url: str, timeout: float = 5.0) -> Answer:
    """GET a URL. Raises OSError where nothing answers."""
    connection = _Connection(path, timeout)
    try:
        connection.request("GET", url)
        response = connection.getresponse()
        raw = response.read()
    except http.client.HTTPException as err:
        raise ConnectionError(f"no HTTP answer from {path}: {err}") from err
    finally:
        connection.close()
    try:
        return Answer(response.status, json.loads(raw))
    except ValueError:
        return Answer(response.status, raw.decode(errors="replace"))


def why(path: Path) -> str:
    """Why the server cannot be asked, in words; "" where it can."""
    try:
        get(path, "/health")
    except FileNotFoundError:
        return f"there is no socket {path}"
    except ConnectionRefusedError:
        return f"nobody listens on {path}"
    except PermissionError:
        return f"this user may not open {path}"
    except OSError as err:
        return f"no answer on {path}: {err}"
    return ""
