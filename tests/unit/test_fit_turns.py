"""The order of turns, and what a fit weighs with the processes that it started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pgannex_server.fits.turns import in_turn
from pgannex_server.fits.weight import at_most, exactly, family

SIZE = 64 << 20
PARENT = f"""
import os, sys
data = bytearray(os.urandom(1)) * {SIZE}
for _ in range(2):
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("waiting", "running", "served", "order"),
    [
        ("aab", "", {}, [0, 2, 1]),
        ("aab", "a", {"a": 1}, [2, 0, 1]),
        ("aaabbc", "a", {"a": 3, "b": 1, "c": 2}, [3, 5, 0, 4, 1, 2]),
        ("ba", "", {"b": 2, "a": 1}, [1, 0]),
        ("", "a", {}, []),
    ],
    ids=["by arrival", "who runs comes later", "in rounds", "who was served comes later", "nobody"],
)
def test_roles_take_turns(waiting: str, running: str, served: dict[str, int], order: list[int]) -> None:
    assert in_turn(waiting, running, served) == order


@pytest.fixture
def parent() -> Iterator[int]:
    """A process with two children that share its memory."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


def test_children_count_and_what_they_share_counts_once(parent: int) -> None:
    pids = family(parent)
    assert len(pids) == 3 and pids[0] == parent
    assert at_most(pids, 0) > 3 * SIZE
    assert SIZE < exactly(pids) < 2 * SIZE


def test_a_process_that_is_gone_weighs_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert family(gone.pid) == [gone.pid]
    assert at_most([gone.pid], 0) == exactly([gone.pid]) == 0
    assert exactly([os.getpid()]) > 0
