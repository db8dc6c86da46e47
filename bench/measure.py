"""What a bar is, and how a run of bars is printed and kept.

A bar compares two figures of the same run, because the machines are noisy: a ratio, or a
difference to `SELECT 1` measured beside it. Nothing here knows how to measure anything.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Sense = Literal["at most", "at least", "report"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row of the table. `value` and `limit` are in `unit`; `note` says what they come from."""

    bar: str
    value: float
    unit: str
    sense: Sense
    limit: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None for a figure that is only reported."""
        if self.limit is None or self.sense == "report":
            return None
        return self.value <= self.limit if self.sense == "at most" else self.value >= self.limit


def percentile(values: Sequence[float], share: float) -> float:
    """The `share` (0 to 1) percentile, nearest rank. Raises ValueError when empty."""
    if not values:
        raise ValueError("no values to take a percentile of")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def table(rows: Iterable[Measurement]) -> str:
    """The rows as aligned text, one line each."""
    lines = []
    for row in rows:
        limit = f"{row.sense} {row.limit:g}" if row.limit is not None else "reported"
        verdict = {True: "met", False: "MISSED", None: ""}[row.met]
        lines.append((row.bar, f"{row.value:.3g} {row.unit}", limit, verdict, row.note))
    widths = [max((len(line[i]) for line in lines), default=0) for i in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[4]]).rstrip()
        for line in lines
    )


def hardware() -> dict[str, object]:
    """CPU, cores, memory and GPU of this machine, as a reader of the results needs them."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": _gpu_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    wanted = {"model name", "flags"}
    seen: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in wanted:
            seen.setdefault(key.strip(), value.strip())
    flags = seen.get("flags", "").split()
    extras = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return " ".join([seen.get("model name", "unknown"), *extras])


def _gpu_name() -> str:
    folder = Path("/proc/driver/nvidia/gpus")
    if not folder.is_dir():
        return "none"
    names = [
        line.partition(":")[2].strip()
        for info in sorted(folder.glob("*/information"))
        for line in info.read_text().splitlines()
        if line.startswith("Model")
    ]
    return ", ".join(names) or "unknown"


def keep(rows: Sequence[Measurement], folder: Path, name: str) -> Path:
    """Write the run as JSON to `folder`; returns the file."""
    stamp = datetime.now(UTC)
    path = folder / f"{stamp:%Y-%m-%d}-{name}.json"
    record = {
        "date": stamp.isoformat(timespec="seconds"),
        "hardware": hardware(),
        "rows": [asdict(row) | {"met": row.met} for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path
