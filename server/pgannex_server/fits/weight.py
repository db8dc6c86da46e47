"""What a fit takes of the memory, with the processes that it started: a quick sum and an exact one.

A search forks, and so do some libraries: each process has the kernel's limit for itself, so
the watchdog must add them up. Resident memory counts what they share as often as there are
processes; where that sum is too large, the proportional one decides. It is slow to read, and
so is read on a thread.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from pgannex_server.workers.link import resident


def family(pid: int) -> list[int]:
    """A process and all that came from it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                with contextlib.suppress(OSError):
                    found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def at_most(pids: list[int], shared: int) -> int:
    """Resident bytes of the processes, each without `shared`; too many where they share more."""
    return sum(max(0, resident(pid) - shared) for pid in pids)


def exactly(pids: list[int]) -> int:
    """Bytes of the processes; what several processes share counts once, divided among them."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total
