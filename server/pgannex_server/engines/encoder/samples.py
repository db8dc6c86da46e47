"""A few texts on which two precisions of one model are compared when it is loaded."""

from __future__ import annotations

import numpy as np

from pgannex_server.engines.encoder.vectors import Floats, finish

SAMPLES = (
    "trim selected characters from right end of string",
    "a",
    "The quick brown fox jumps over the lazy dog, and 12,345.67 other things happen at 09:30 on Sunday.",
    "Größe, naïveté, 東京, привет, 🙂",
    "SELECT oid, relname FROM pg_class WHERE relkind = 'r' ORDER BY 2;",
)
TRUSTED_COSINE = 0.9995
"""At least this between float32 and what is used; the promise to users is 0.999."""


def least_cosine(one: Floats, other: Floats) -> float:
    """The smallest cosine between rows of the same place; NaN counts as -1."""
    width = one.shape[1]
    cosines = np.einsum("ij,ij->i", finish(one, width, True), finish(other, width, True))
    return float(np.nan_to_num(cosines, nan=-1.0).min())
