"""What the probe finds is remembered, and a broken memory is no obstacle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pgannex_server.engines import cache, probe
from pgannex_server.engines.base import ModelSpec


def test_a_measurement_is_made_once(tmp_path: Path) -> None:
    made: list[str] = []

    def measure() -> float:
        made.append("x")
        return 1.75

    assert [probe.remembered(tmp_path, "key", measure) for _ in range(3)] == [1.75] * 3
    assert probe.remembered(tmp_path, "other", lambda: 0.5) == 0.5
    assert probe.remembered(tmp_path, "key", measure) == 1.75
    assert len(made) == 1


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_broken_memory_is_measured_again(tmp_path: Path, content: str) -> None:
    (tmp_path / "probe.json").write_text(content)
    assert probe.remembered(tmp_path, "key", lambda: 2.0) == 2.0
    assert probe.remembered(tmp_path, "key", lambda: 3.0) == 2.0


def test_without_a_cache_it_is_measured_each_time() -> None:
    assert [probe.remembered(None, "key", float(n).__abs__) for n in (1, 2)] == [1.0, 2.0]


@pytest.mark.parametrize(("quota", "most"), [("max 100000", None), ("150000 100000", 2), ("1000 100000", 1)])
def test_cores_respect_the_control_group(tmp_path: Path, quota: str, most: int | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    usable = len(os.sched_getaffinity(0))
    assert probe.cores(file) == (usable if most is None else min(usable, most))
    assert probe.cores(tmp_path / "absent") == usable


def test_the_processor_has_a_name() -> None:
    found = probe.processor()
    assert found.cores >= 1
    assert found.name


def test_bfloat16_is_decided_by_measuring(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed: there is nothing to measure")
    decided = probe.torch_bfloat16_pays(1, tmp_path)
    assert (tmp_path / "probe.json").exists()
    assert probe.torch_bfloat16_pays(1, tmp_path) is decided


def test_only_a_private_folder_is_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of(option: str) -> Path | None:
        return cache.folder(ModelSpec("m", "torch", options={"cache": option}))

    mine = tmp_path / "mine"
    assert of(str(mine)) == mine
    assert mine.stat().st_mode & 0o777 == 0o700
    mine.chmod(0o777)
    assert of(str(mine)) is None, "a folder that anyone may write to is not believed"
    assert of("") is None
    (tmp_path / "file").write_text("")
    assert of(str(tmp_path / "file")) is None
    monkeypatch.setenv("PGANNEX_CACHE", str(tmp_path / "named"))
    assert cache.folder() == tmp_path / "named"
