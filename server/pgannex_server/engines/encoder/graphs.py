"""Converted graphs on disk: one folder per model, revision and version of the tools.

Answers: is this model converted already, and if not, convert it once, however many workers
ask at the same time. What is in a folder is described in `convert`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pgannex_server.engines.base import ModelSpec
from pgannex_server.engines.encoder.recipe import refusal

FORMAT = 2
"""Raise it when what `convert` writes changes."""
_TOOLS = ("openvino", "transformers", "tokenizers", "torch")


@dataclass(frozen=True, slots=True)
class Facts:
    """What `convert` found out about a model.

    `packed_from`: the graph takes packed texts, whose positions begin with this number;
    None: it takes padded ones.
    """

    dimensions: int
    weight_bytes: int
    packed_from: int | None = None


def graph_folder(spec: ModelSpec, cache: Path) -> Path:
    """The folder of `spec`'s graph below `cache`, converted if need be."""
    folder = cache / "openvino" / fingerprint(spec)
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    with _alone(folder.with_suffix(".lock")):
        if not (folder / "facts.json").exists():
            _convert(spec, folder)
    return folder


def facts(folder: Path) -> Facts:
    """The facts in a folder of `graph_folder`."""
    return Facts(**json.loads((folder / "facts.json").read_text(encoding="utf-8")))


def fingerprint(spec: ModelSpec) -> str:
    """Changes with the model's files, their tools, and whether its own code is run."""
    root = Path(spec.source).resolve()
    seen = [f"{FORMAT} {root} {spec.revision} {spec.trust_remote_code}", *(_tool(name) for name in _TOOLS)]
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".json", ".safetensors", ".txt", ".py")):
        status = path.stat()
        seen.append(f"{path.relative_to(root)} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:32]


def _tool(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _convert(spec: ModelSpec, folder: Path) -> None:
    """Convert next to `folder`, then move: a folder that is there is whole."""
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    request = {"source": spec.source, "target": str(part), "trust_remote_code": spec.trust_remote_code}
    try:
        run_converter(json.dumps(request), spec.source)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def run_converter(request: str, source: str) -> None:
    """Run `convert` on `request` in a process of its own."""
    command = [sys.executable, "-m", "pgannex_server.engines.encoder.convert"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        command, input=request, capture_output=True, text=True, env=environment, check=False
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise refusal(f"OpenVINO cannot convert {source}: {last[0]}", hint='use engine = "torch"')
    error = json.loads(lines[-1]).get("error")
    if error:
        raise refusal(error["message"], detail=error["detail"], hint=error["hint"])
