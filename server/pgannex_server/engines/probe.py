"""What can this machine do? Cores, instruction sets, CUDA, and whether bfloat16 pays.

Whether bfloat16 is faster depends on processor, library and threads together, so it is
measured, in some 50 ms, and the result kept in a small file. Nothing is concluded from a
flag alone; the flags are there for `doctor`.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PAYS = 1.2
"""bfloat16 must be this much faster than float32 to be chosen."""
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_vnni", "asimd", "bf16", "sve")


@dataclass(frozen=True, slots=True)
class Processor:
    """`cores` are those that this process may use, its control group's quota included."""

    name: str
    cores: int
    flags: tuple[str, ...]


def processor() -> Processor:
    """This machine's processor."""
    name, flags = _cpuinfo()
    return Processor(name or platform.processor() or platform.machine(), cores(), flags)


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores that this process may use; at least 1."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text(encoding="ascii").split()
        if limit != "max":
            usable = min(usable, -(-int(limit) // int(period)))
    except (OSError, ValueError):
        pass  # no control group, or one without a quota
    return max(1, usable)


def has_cuda_driver() -> bool:
    """Whether an NVIDIA driver runs here; asks no library."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def torch_bfloat16_pays(threads: int, cache: Path | None) -> bool:
    """Whether torch computes faster in bfloat16 on this CPU, with `threads` threads."""
    import torch

    key = f"{processor().name} | torch {torch.__version__} | {threads} threads"
    return remembered(cache, key, _torch_gain) >= PAYS


def remembered(cache: Path | None, key: str, measure: Callable[[], float]) -> float:
    """`measure()`, or what it gave before under `key` in the cache's probe.json."""
    file = cache / "probe.json" if cache else None
    known = _read(file)
    if key not in known:
        known[key] = round(measure(), 3)
        _write(file, known)
    return known[key]


def _torch_gain() -> float:
    """Time in float32 over time in bfloat16 of a layer such as small encoders have."""
    import torch

    with torch.inference_mode():
        wide = torch.nn.Linear(384, 1536)
        rows = torch.randn(256, 384)
        half, half_rows = torch.nn.Linear(384, 1536, dtype=torch.bfloat16), rows.bfloat16()
        return _fastest(lambda: wide(rows)) / _fastest(lambda: half(half_rows))


def _fastest(call: Callable[[], object], rounds: int = 20) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def _cpuinfo() -> tuple[str, tuple[str, ...]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "", ()
    lines = [line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line]
    fields = {key.strip(): value.strip() for key, value in lines}
    present = set((fields.get("flags") or fields.get("Features") or "").split())
    return fields.get("model name", ""), tuple(flag for flag in _FLAGS if flag in present)


def _read(file: Path | None) -> dict[str, float]:
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError):
        return {}  # absent, or cut off by a crash: measured again
    return {k: float(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _write(file: Path | None, known: dict[str, float]) -> None:
    if file is None:
        return
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        part.write_text(json.dumps(known, indent=1), encoding="utf-8")
        part.replace(file)
    except OSError:
        return  # a cache that cannot be written costs a measurement at each start
