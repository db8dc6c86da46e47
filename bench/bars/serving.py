"""Predictions: one row at a time, against an HTTP microservice, and a whole table.

The microservice is bench/microservice.py; both sides are asked by the one load generator in C
(bench/load). The bar needs a C compiler, libpq's header and a redis-server; where one is missing
it says so and fails, it does not pass.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.bars import table_data
from bench.measure import Measurement, median, percentile
from bench.target import Target

CLIENTS = 16
SERVED = 10_000
PROJECT = "bench serving"
_PREDICT_ALL = """
import json, sys, time
import numpy as np, xgboost
model = xgboost.XGBRegressor(n_jobs=2); model.load_model(sys.argv[1])
x = np.load(sys.argv[2] + "/x.npy").astype(np.float32)
model.predict(x[:1000])
times = []
for _ in range(3):
    start = time.perf_counter(); model.predict(x); times.append(time.perf_counter() - start)
print(json.dumps(sorted(times)[1]))
"""


@contextlib.contextmanager
def _prepared(target: Target) -> Iterator[Path]:
    """The rows, a trained project and the same model as a file for the rivals; yields their folder."""
    with tempfile.TemporaryDirectory(prefix="pgannex-bench-") as scratch:
        folder = Path(scratch)
        table_data.make_files(folder)
        table_data.fill(target, folder)
        _train(target)
        _rival_model(folder)
        yield folder


def _train(target: Target) -> None:
    features = ", ".join(f"f{i}::real" for i in range(1, table_data.WIDTH + 1))
    with target.connect() as db:
        if db.execute("SELECT to_regclass('public.bench_served')").fetchone() == (None,):
            db.execute(
                f"CREATE TABLE bench_served AS SELECT id, ARRAY[{features}] AS features, y FROM bench_rows"
                f" WHERE id <= {SERVED}".encode()
            )
            db.execute("CREATE UNIQUE INDEX ON bench_served (id)")
            db.execute("VACUUM ANALYZE bench_served")
        db.execute("CREATE OR REPLACE VIEW bench_served_rows AS SELECT features, y FROM bench_served")
        db.execute(
            "SELECT pgml.train(%s, 'regression', 'bench_served_rows', 'y', algorithm => 'xgboost',"
            """ hyperparams => '{"n_estimators": 100}')""",
            (PROJECT,),
        )


def _rival_model(folder: Path) -> None:
    program = """
import sys, numpy as np, xgboost
x, y = np.load(sys.argv[1] + "/x.npy")[:10000], np.load(sys.argv[1] + "/y.npy")[:10000]
xgboost.XGBRegressor(n_estimators=100, n_jobs=2).fit(x, y).save_model(sys.argv[1] + "/model.ubj")
"""
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True)


def predict_one(target: Target) -> list[Measurement]:
    """p50 of a scalar predict over SELECT 1, one client."""
    values = ", ".join(f"{0.05 * i:.2f}" for i in range(table_data.WIDTH))
    call = f"SELECT pgml.predict('{PROJECT}', ARRAY[{values}]::real[]);"
    with _prepared(target):
        target.pgbench(call, seconds=1)
        rounds = [
            (target.pgbench("SELECT 1;", seconds=2)[0], target.pgbench(call, seconds=3)[0]) for _ in range(5)
        ]
    extra = median([percentile(call_, 0.5) - percentile(base, 0.5) for base, call_ in rounds])
    note = f"predict {median([percentile(r[1], 0.5) for r in rounds]):.0f} µs"
    return [Measurement("predict of one row over SELECT 1, one client", extra, "µs", "at most", 150.0, note)]


def microservice(target: Target) -> list[Measurement]:
    """Throughput of predict over FastAPI with features from Redis, 16 clients."""
    query = f"SELECT pgml.predict('{PROJECT}', features) FROM bench_served WHERE id = $1"
    with _prepared(target) as folder, _rival(folder) as address:
        load = _load_generator(folder)
        rounds = []
        for _ in range(3):
            ours = _ask(load, "pg", target.dsn, query)
            theirs = _ask(load, "http", address, "/predict/%d")
            rounds.append((ours, theirs))
    rate, bare = median([r[0][0] for r in rounds]), median([r[1][0] for r in rounds])
    ratio = median([r[0][0] / r[1][0] for r in rounds])
    note = f"SQL {rate:.0f}/s, p99 {rounds[-1][0][2]} µs; HTTP {bare:.0f}/s, p99 {rounds[-1][1][2]} µs"
    name = f"predict over an HTTP microservice with Redis, {CLIENTS} clients"
    return [Measurement(name, ratio, "×", "at least", 3.0, note)]


def predict_rows(target: Target) -> list[Measurement]:
    """predict_rows of 1,000,000 × 20 over the library's own batch predict, and rows per second."""
    query = f"SELECT id, {table_data.FEATURES} FROM bench_rows"
    call = "SELECT count(*), count(prediction) FROM pgml.predict_rows(%s, %s)"
    project = "bench rows"
    with _prepared(target) as folder, target.connect() as db:
        db.execute(
            f"CREATE OR REPLACE VIEW bench_rows_10k AS SELECT {table_data.FEATURES}, y"
            " FROM bench_rows LIMIT 10000".encode()
        )
        db.execute(
            "SELECT pgml.train(%s, 'regression', 'bench_rows_10k', 'y', algorithm => 'xgboost',"
            """ hyperparams => '{"n_estimators": 100}')""",
            (project,),
        )
        db.execute(call, (project, f"{query} LIMIT 1000"))
        ratios, rates, library = [], [], []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", _PREDICT_ALL, str(folder / "model.ubj"), str(folder)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            bare = table_data.ROWS / float(json.loads(done.stdout))
            start = time.perf_counter()
            row = db.execute(call, (project, query)).fetchone()
            seconds = time.perf_counter() - start
            assert row == (table_data.ROWS, table_data.ROWS), f"predict_rows lost rows: {row}"
            rates.append(table_data.ROWS / seconds)
            library.append(bare)
            ratios.append(rates[-1] / bare)
    note = f"{median(rates):.0f} rows/s; the library {median(library):.0f} rows/s"
    return [
        Measurement(
            "predict_rows over the library's batch predict", median(ratios), "×", "at least", 0.3, note
        ),
        Measurement("predict_rows, 1,000,000 × 20", median(rates), "rows/s", "at least", 300_000.0),
    ]


@contextlib.contextmanager
def _rival(folder: Path) -> Iterator[str]:
    """Redis with the rows and the microservice, two processes of it; yields HOST:PORT."""
    redis = shutil.which("redis-server")
    if redis is None:
        raise RuntimeError("the rival needs redis-server: apt-get install redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = folder / "redis.sock"
    store = subprocess.Popen(
        [redis, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    web: subprocess.Popen[bytes] | None = None
    try:
        _fill_redis(folder, path)
        environment = os.environ | {
            "BENCH_REDIS": str(path),
            "BENCH_MODEL": str(folder / "model.ubj"),
            "OMP_NUM_THREADS": "1",
        }
        words = [
            sys.executable,
            "-m",
            "uvicorn",
            "bench.microservice:app",
            "--port",
            str(port),
            "--workers",
            "2",
        ]
        web = subprocess.Popen([*words, "--log-level", "warning", "--no-access-log"], env=environment)
        _wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        for process in (web, store):
            if process is not None:
                process.terminate()
                process.wait(30)


def _fill_redis(folder: Path, path: Path) -> None:
    import redis

    x = np.load(folder / "x.npy", mmap_mode="r")
    store = redis.Redis(unix_socket_path=str(path))
    for _ in range(200):
        with contextlib.suppress(redis.exceptions.ConnectionError):
            store.ping()
            break
        time.sleep(0.05)
    pipe = store.pipeline()
    for i in range(SERVED):
        pipe.set(f"features:{i + 1}", json.dumps([float(cell) for cell in x[i]]))
    pipe.execute()


def _wait_for(port: int) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            time.sleep(1)
            return
        time.sleep(0.05)
    raise RuntimeError("the microservice did not start within 30 s")


def _load_generator(folder: Path) -> Path:
    """bench/load/load.c, compiled."""
    source, program = Path(__file__).parents[1] / "load" / "load.c", folder / "load"
    flags = []
    for word, option in (("--includedir", "-I"), ("--libdir", "-L")):
        pg_config = shutil.which("pg_config")
        if pg_config is None:
            raise RuntimeError("the load generator needs libpq's header: apt-get install libpq-dev")
        where = subprocess.run([pg_config, word], capture_output=True, text=True, check=True).stdout.strip()
        flags.append(option + where)
    subprocess.run(["cc", "-O2", str(source), *flags, "-o", str(program), "-lpq", "-lpthread"], check=True)
    return program


def _ask(load: Path, kind: str, where: str, what: str) -> tuple[float, int, int]:
    """(requests per second, p50 µs, p99 µs) of CLIENTS clients over five seconds."""
    done = subprocess.run(
        [str(load), kind, where, what, str(CLIENTS), "5", str(SERVED)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed: {done.stderr.strip()[-500:]}")
    total, seconds, p50, p99 = (int(word) for word in done.stdout.split())
    return total / seconds, p50, p99
