"""The gate of a model's queue."""

from __future__ import annotations

import pytest
from pgannex_server.admission import Admission
from pgannex_server.config import LimitsConfig
from pgannex_server.errors import Overloaded


def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    gate = Admission("m")
    limits = LimitsConfig(queue=2)
    for _ in range(2):
        gate.check(limits, lambda: 0.0)
        gate.enter()
    with pytest.raises(Overloaded) as caught:
        gate.check(limits, lambda: 1.5)
    assert caught.value.code == "overloaded"
    assert caught.value.retry_after_s == 1.5
    assert "1.5 s" in caught.value.hint and '"m"' in caught.value.message
    assert gate.refused == 1
    gate.leave()
    gate.check(limits, lambda: 0.0)


def test_bytes_count_as_well() -> None:
    gate = Admission("m")
    limits = LimitsConfig(queue_bytes=100)
    gate.enter()
    gate.bytes += 100
    with pytest.raises(Overloaded):
        gate.check(limits, lambda: 0.0)
    gate.bytes -= 100
    gate.leave()
    gate.check(limits, lambda: 0.0)
