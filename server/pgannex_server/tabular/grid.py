"""Rows × features in one block of memory that grows: where a fit's features are while they arrive.

Which question it answers: how a million rows become a matrix without being held twice. Each
batch is written into its rows at once, in the type that the algorithm computes in; growing
moves pages, not bytes. `divide` then parts training rows from held-out rows in place. A number
that is missing is NaN. Columns that have no place in a grid are series of `columns.py`.
"""

from __future__ import annotations

import contextlib
import mmap

import numpy as np

from pgannex_server.tabular.cells import Array, Mask

_FIRST = 4 << 20
_GROWTH = 1.25
_BLOCK = 4 << 20


class Grid:
    """See the module. No view of it may be alive while it grows."""

    def __init__(self, width: int, dtype: str) -> None:
        self.width = width
        self.dtype = np.dtype(dtype)
        self.nrows = 0
        self.train: Array = np.empty((0, width), dtype)
        self.test: Array = np.empty((0, width), dtype)
        self._row = width * self.dtype.itemsize
        self._memory = _anonymous(_FIRST)

    def room(self, nrows: int) -> Array:
        """The next rows, to be written and let go of."""
        needed = (self.nrows + nrows) * self._row
        if needed > len(self._memory):
            self._resize(max(needed, round(len(self._memory) * _GROWTH)))
        self.nrows += nrows
        return self._view(self.nrows - nrows, self.nrows)

    def rows(self) -> Array:
        """All rows, until they are divided."""
        return self._view(0, self.nrows)

    def divide(self, test: Mask) -> None:
        """Set `train` and `test`; both keep the rows' order."""
        count = int(np.count_nonzero(test))
        if test[self.nrows - count :].all():
            self.train, self.test = (
                self._view(0, self.nrows - count),
                self._view(self.nrows - count, self.nrows),
            )
        elif test[:count].all():
            self.train, self.test = self._view(count, self.nrows), self._view(0, count)
        else:
            self.test = np.compress(test, self.rows(), axis=0)
            self._keep(~test)
            self._resize(max(1, (self.nrows - count) * self._row))
            self.train = self._view(0, self.nrows - count)

    def _keep(self, wanted: Mask) -> None:
        """Move the wanted rows to the front."""
        rows = self.rows()
        step = max(1, _BLOCK // self._row)
        to = 0
        for at in range(0, self.nrows, step):
            kept = rows[at : at + step][wanted[at : at + step]]
            rows[to : to + len(kept)] = kept
            to += len(kept)

    def _view(self, start: int, stop: int) -> Array:
        count = (stop - start) * self.width
        found = np.frombuffer(self._memory, self.dtype, count, start * self._row) if count else np.empty(0)
        return found.astype(self.dtype, copy=False).reshape(stop - start, self.width)

    def _resize(self, size: int) -> None:
        self._memory.resize(-(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        _fewer_faults(self._memory)


def _anonymous(size: int) -> mmap.mmap:
    found = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    _fewer_faults(found)
    return found


def _fewer_faults(memory: mmap.mmap) -> None:
    with contextlib.suppress(OSError, AttributeError):
        memory.madvise(mmap.MADV_HUGEPAGE)
