"""How many HTTP requests came, for which handler, and how did they end?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

HANDLERS = frozenset(
    ("/v1/embeddings", "/v1/models", "/health", "/ready", "/metrics", "/version", "/openapi.json")
)


class Traffic:
    """Counts by (handler, status). Unknown paths share one name, so that callers cannot add labels."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int]] = Counter()

    def count(self, path: str, status: int) -> None:
        if path not in HANDLERS:
            path = "/v1/models" if path.startswith("/v1/models/") else "other"
        self._counts[path, status] += 1

    def counts(self) -> Iterator[tuple[str, int, int]]:
        for (handler, status), count in self._counts.items():
            yield handler, status, count
