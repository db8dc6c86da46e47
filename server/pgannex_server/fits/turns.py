"""Whose turn is next among the fits that wait: each role in its turn, not each fit.

A role with fewer fits that run comes first; of several, the one that was served longest ago;
of one role's fits, the oldest. No fits in here: names of roles and positions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence


def in_turn(waiting: Sequence[str], running: Sequence[str], served: Mapping[str, int]) -> list[int]:
    """Positions of `waiting` in the order in which they will be served, as far as is known now.

    Each item is the role of a fit, the oldest first. `served`: when a role was served last.
    """
    busy, last = Counter(running), dict(served)
    now = max(last.values(), default=0)
    left, order = list(range(len(waiting))), []
    while left:
        at = min(left, key=lambda i: (busy[waiting[i]], last.get(waiting[i], 0), i))
        now += 1
        busy[waiting[at]] += 1
        last[waiting[at]] = now
        left.remove(at)
        order.append(at)
    return order
