"""What the tests of the bad day need besides `stack`, and those of the frames besides `server`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from backends import connect
from frames_process import Client, FramesServer

__all__ = ["connect"]


@pytest.fixture
def client(server: FramesServer) -> Iterator[Client]:
    """A client of the server that the module's own fixture `server` runs."""
    with server.client() as made:
        yield made
