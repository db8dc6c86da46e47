"""Whether to wait a moment for callers who were just answered, so that the next batch is full.

Callers in a loop come back at once with their next text. An engine that starts on whoever is
first computes one text, then all the others, and half of its time is lost on small batches.
So after a batch of several callers it is held until as many wait as there are callers, for
3 ms or half the time of the last batch at the most. Callers who do not come back are not waited for
again soon: the next holds are skipped, up to 64 of them. A lone caller is never waited for.
"""

from __future__ import annotations

_LONGEST_S = 0.003
_SHARE = 0.5
_SHORTEST_S = 0.0005
"""An engine that is quicker than this share allows gains nothing by waiting."""
_MOST_SKIPPED = 64


class Gather:
    """Decides on holds and learns from their ends; holds no instance and sets no timer."""

    __slots__ = ("_before", "_penalty", "_skip", "target")

    def __init__(self) -> None:
        self.target = 0
        self._before = 0
        self._penalty = 1
        self._skip = 0

    def wish(self, answered: int, waiting: int, compute_s: float) -> float:
        """Seconds for which to hold the engine after a batch; 0.0 is not at all.

        `answered` callers had a text in it, which took `compute_s`; `waiting` texts are queued.
        """
        seconds = min(_LONGEST_S, _SHARE * compute_s)
        if seconds < _SHORTEST_S or answered + waiting < 2:
            return 0.0
        if self._skip:
            self._skip -= 1
            return 0.0
        self.target = answered + waiting
        self._before = waiting
        return seconds

    def ended(self, waiting: int) -> None:
        """The hold is over and `waiting` texts are queued: did half of the callers come back?"""
        if 2 * (waiting - self._before) >= self.target - self._before:
            self._penalty = 1
            return
        self._skip = self._penalty
        self._penalty = min(_MOST_SKIPPED, self._penalty * 2)
