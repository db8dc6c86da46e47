"""What pgannex is compared with: sentence-transformers, and the usual client loops.

Each rival runs in a process of its own, so that its threads and memory are gone before
the next figure is taken.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import psycopg

_ENCODE_ONE = """
import json, sys, time
from sentence_transformers import SentenceTransformer
job = json.load(sys.stdin)
model = SentenceTransformer(job["folder"], device="cpu")
text, times = job["texts"][0], []
for _ in range(10): model.encode(text)
stop = time.perf_counter() + job["seconds"]
while time.perf_counter() < stop:
    start = time.perf_counter(); model.encode(text); times.append((time.perf_counter() - start) * 1e3)
print(json.dumps(times))
"""

_ENCODE_ALL = """
import json, sys, time
from sentence_transformers import SentenceTransformer
job = json.load(sys.stdin)
model = SentenceTransformer(job["folder"], device="cpu")
model.encode(job["texts"][:64])
start = time.perf_counter(); model.encode(job["texts"]); print(json.dumps(time.perf_counter() - start))
"""

_ENCODE_LOOP = """
import json, sys, time
import psycopg
from sentence_transformers import SentenceTransformer
job = json.load(sys.stdin)
model = SentenceTransformer(job["folder"], device="cpu")
model.encode(job["texts"][0])
with psycopg.connect(job["dsn"], autocommit=True) as db:
    start = time.perf_counter()
    for i, text in enumerate(job["texts"]):
        db.execute("INSERT INTO bench_client_loop VALUES (%s, %s)", (i, model.encode(text).tolist()))
    print(json.dumps(time.perf_counter() - start))
"""


def _run(program: str, job: dict[str, object]) -> object:
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(job), capture_output=True, text=True, timeout=900
    )
    if done.returncode != 0:
        raise RuntimeError(f"a rival failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def encode_one(folder: Path, text: str, seconds: float) -> list[float]:
    """Milliseconds of each `encode(text)` during `seconds`."""
    times = _run(_ENCODE_ONE, {"folder": str(folder), "texts": [text], "seconds": seconds})
    assert isinstance(times, list)
    return [float(t) for t in times]


def encode_all(folder: Path, texts: Sequence[str]) -> float:
    """Texts per second of one `encode(texts)` with its defaults."""
    return len(texts) / float(str(_run(_ENCODE_ALL, {"folder": str(folder), "texts": list(texts)})))


def client_loop(folder: Path, dsn: str, texts: Sequence[str]) -> float:
    """Texts per second of the usual loop: encode one text, INSERT one row."""
    return len(texts) / float(
        str(_run(_ENCODE_LOOP, {"folder": str(folder), "dsn": dsn, "texts": list(texts)}))
    )


def http_loop(socket: Path, dsn: str, model: str, texts: Sequence[str]) -> float:
    """Texts per second of the same loop through our own HTTP door, one text per request."""
    transport = httpx.HTTPTransport(uds=str(socket))
    with httpx.Client(transport=transport, base_url="http://pgannex") as http, psycopg.connect(dsn) as db:
        db.autocommit = True
        http.post("/v1/embeddings", json={"model": model, "input": "warm"}).raise_for_status()
        start = time.perf_counter()
        for i, text in enumerate(texts):
            answer = http.post("/v1/embeddings", json={"model": model, "input": text})
            answer.raise_for_status()
            vector = [float(cell) for cell in answer.json()["data"][0]["embedding"]]
            db.execute("INSERT INTO bench_client_loop VALUES (%s, %s)", (i, vector))
        return len(texts) / (time.perf_counter() - start)
