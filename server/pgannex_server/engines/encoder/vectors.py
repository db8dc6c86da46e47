"""The last steps on finished vectors: truncate (Matryoshka), normalise, put back in order.

They depend on the call and not on the model, so they are outside of the compiled graph.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SMALLEST_NORM = np.float32(1e-12)


def finish(vectors: Floats, dimensions: int, normalize: bool) -> Floats:
    """Cut to `dimensions`, then scale each row to length 1 if asked. A zero row stays zero."""
    if dimensions < vectors.shape[1]:
        vectors = vectors[:, :dimensions]
    if normalize:
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
        vectors = vectors / np.maximum(lengths, SMALLEST_NORM)
    return np.ascontiguousarray(vectors, dtype="<f4")
