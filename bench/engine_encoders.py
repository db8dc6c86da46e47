"""`python -m bench.engine_encoders TEXTS MODEL`: the encoder engines next to sentence-transformers.

Each contestant is a process of its own that keeps its model loaded and waits; rounds go
from one to the next, so that all of them meet the same noise, and medians are compared.
Measured are one short text, 32 of them, and the whole file (all lines, then each distinct
line once, because the engines compute a repeated text once). No Postgres, no server.
"""

from __future__ import annotations

import argparse
import base64
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import Measurement, Sense, keep, median, table

CONTESTANTS = ("encode", "torch", "openvino")
QUESTION = "which function removes trailing blanks from a string?"
LIMITS: dict[tuple[str, str], float] = {
    ("one text", "torch"): 0.7,
    ("one text", "openvino"): 0.3,
}
WHOLE_AT_LEAST = 3.0


def main() -> int:
    """0 when every bar was met, 1 when one was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine_encoders", description=__doc__)
    parser.add_argument("texts", type=Path, help="a text per line")
    parser.add_argument("model", type=Path, help="folder of the model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--keep", type=Path, help="write the run to this folder")
    parser.add_argument("--serve", choices=CONTESTANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(args.serve, args.model, args.dtype)
    rows = compare(args.texts.read_text(encoding="utf-8").splitlines(), args)
    print(table(rows))
    if args.keep:
        print(f"kept in {keep(rows, args.keep, 'encoders')}")
    return int(any(row.met is False for row in rows))


class Contestant:
    """A process that embeds what it is asked to, and says how long it took."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        self.name = name
        command = [sys.executable, "-m", "bench.engine_encoders", str(args.texts), str(args.model)]
        start = time.perf_counter()
        self._process = subprocess.Popen(
            [*command, "--serve", name, "--dtype", args.dtype],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.about = self._answer()
        self.start_s = time.perf_counter() - start

    def ask(self, texts: Sequence[str], repeat: int = 1, vectors: bool = False) -> dict[str, Any]:
        assert self._process.stdin is not None
        job = {"texts": list(texts), "repeat": repeat, "vectors": vectors}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def compare(texts: list[str], args: argparse.Namespace) -> list[Measurement]:
    distinct = list(dict.fromkeys(texts))
    short = [text for text in distinct if len(text.split()) >= 4][:32]
    jobs = {
        "one text": ([QUESTION], 40),
        "32 texts": (short, 5),
        f"all {len(texts)} lines": (texts, 1),
        f"{len(distinct)} distinct lines": (distinct, 1),
    }
    players = [Contestant(name, args) for name in CONTESTANTS]
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(args.rounds):
        for job, (batch, repeat) in jobs.items():
            for player in players:
                took = player.ask(batch, repeat)["seconds"]
                seconds.setdefault((job, player.name), []).extend(took)
    rows = [row for job, (batch, _) in jobs.items() for row in _rows(job, len(batch), seconds)]
    rows += _closeness(players, distinct)
    for player in players:
        peak = player.ask([])["peak_mib"]
        rows.append(
            Measurement(f"{player.name}: ready after", player.start_s, "s", "report", note=player.about["is"])
        )
        rows.append(Measurement(f"{player.name}: peak memory", peak, "MiB", "report"))
        player.close()
    return rows


def _rows(job: str, count: int, seconds: dict[tuple[str, str], list[float]]) -> list[Measurement]:
    base = median(seconds[job, CONTESTANTS[0]])
    rows = []
    for name in CONTESTANTS:
        took = median(seconds[job, name])
        note = f"{took * 1e3:.2f} ms" if count == 1 else f"{count / took:.0f} texts/s"
        if name == CONTESTANTS[0]:
            rows.append(Measurement(f"{job}: encode()", 1.0, "×", "report", note=note))
        elif count == 1:
            limit = LIMITS[job, name]
            rows.append(Measurement(f"{job}: {name}, time", took / base, "×", "at most", limit, note))
        else:
            is_bar = count > 32
            sense: Sense = "at least" if is_bar else "report"
            limit_ = WHOLE_AT_LEAST if is_bar else None
            rows.append(Measurement(f"{job}: {name}, speed", base / took, "×", sense, limit_, note))
    return rows


def _closeness(players: list[Contestant], texts: list[str]) -> list[Measurement]:
    base, *others = (_vectors(player, texts) for player in players)
    return [
        Measurement(
            f"{player.name}: least cosine to encode()",
            float((vectors * base).sum(axis=1).min()),
            "",
            "at least",
            0.999,
        )
        for player, vectors in zip(players[1:], others, strict=True)
    ]


def _vectors(player: Contestant, texts: list[str]) -> Any:
    raw = base64.b64decode(player.ask(texts, vectors=True)["vectors"])
    vectors = np.frombuffer(raw, dtype="<f4").reshape(len(texts), -1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def serve(name: str, model: Path, dtype: str) -> int:
    """The other side of `Contestant`."""
    about, embed = _encode(model) if name == "encode" else _engine(name, model, dtype)
    for _ in range(3):
        embed([QUESTION] * 2)
    print(json.dumps({"is": about}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        took, vectors = [], b""
        for _ in range(job["repeat"] if job["texts"] else 0):
            start = time.perf_counter()
            vectors = embed(job["texts"])
            took.append(time.perf_counter() - start)
        answer = {"seconds": took, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        if job["vectors"]:
            answer["vectors"] = base64.b64encode(vectors).decode()
        print(json.dumps(answer), flush=True)
    return 0


def _encode(model: Path) -> tuple[str, Callable[[list[str]], bytes]]:
    import sentence_transformers

    theirs = sentence_transformers.SentenceTransformer(str(model), device="cpu")
    about = f"sentence-transformers {sentence_transformers.__version__}, defaults"
    return about, lambda texts: bytes(theirs.encode(texts).tobytes())


def _engine(name: str, model: Path, dtype: str) -> tuple[str, Callable[[list[str]], bytes]]:
    import importlib

    from pgannex_server.engines import catalog
    from pgannex_server.engines.base import EmbedOptions, ModelSpec

    entry = catalog.entry(name)
    engine = getattr(importlib.import_module(entry.module), entry.cls)()
    info = engine.load(ModelSpec("bench", name, str(model), dtype=dtype, device="cpu"))
    options = EmbedOptions()
    return str(asdict(info)["dtype"]), lambda texts: bytes(engine.embed(texts, options).vectors)


if __name__ == "__main__":
    sys.exit(main())
