"""What the SQL suite needs besides `stack`, `db` and `host`."""

from __future__ import annotations

from backends import connect
from peer import peer

__all__ = ["connect", "peer"]
