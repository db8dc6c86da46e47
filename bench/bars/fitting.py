"""Training through SQL over the same fit and metrics on arrays that are in memory already.

The rival is a process of its own that has loaded its arrays before the clock starts, splits,
fits and computes the same metrics. Memory is the proportional set size (PSS) over what it was
before: of the rival alone, and of the backend with the server and all its processes.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from bench.bars import table_data
from bench.measure import Measurement, median
from bench.target import Target

_RIVAL = """
import json, sys, time
import numpy as np
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
import xgboost, lightgbm
name, folder = sys.argv[1], sys.argv[2]
def line(word):
    print(word, flush=True); sys.stdin.readline()
line("imported")
x, y = np.load(folder + "/x.npy"), np.load(folder + "/y.npy")
line("loaded")
start = time.perf_counter()
cut = len(x) * 3 // 4
made = {"xgboost": xgboost.XGBRegressor, "lightgbm": lightgbm.LGBMRegressor}[name]
more = {"verbose": -1} if name == "lightgbm" else {}
model = made(n_estimators=100, n_jobs=2, **more).fit(x[:cut], y[:cut])
hat = model.predict(x[cut:])
r2 = r2_score(y[cut:], hat)
mean_absolute_error(y[cut:], hat), mean_squared_error(y[cut:], hat)
print(json.dumps([time.perf_counter() - start, r2]), flush=True)
"""

LIMITS = {"xgboost": 1.15, "lightgbm": 1.20}


def fitting(target: Target) -> list[Measurement]:
    """pgml.train of 1,000,000 × 20, 100 trees."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="pgannex-bench-") as scratch:
        folder = Path(scratch)
        table_data.make_files(folder)
        table_data.fill(target, folder)
        for name, limit in LIMITS.items():
            rounds = [(_ours(target, name), _theirs(name, folder)) for _ in range(3)]
            ratio = median([ours[0] / theirs[0] for ours, theirs in rounds])
            memory = median([ours[1] / theirs[1] for ours, theirs in rounds])
            (seconds, peak, r2), (bare, bare_peak, bare_r2) = rounds[-1]
            assert abs(r2 - bare_r2) < 0.02, f"{name}: r2 {r2} and {bare_r2}"
            note = f"train {seconds:.1f} s, in memory {bare:.1f} s, r2 {r2:.3f} and {bare_r2:.3f}"
            rows.append(
                Measurement(
                    f"train of {name} over fit and metrics in memory", ratio, "×", "at most", limit, note
                )
            )
            note = f"{peak / 1024:.0f} MiB and {bare_peak / 1024:.0f} MiB of PSS over idle"
            rows.append(
                Measurement(
                    f"memory of train, {name}, over the fit in memory", memory, "×", "at most", 1.6, note
                )
            )
    return rows


def cancelled_fit(target: Target) -> list[Measurement]:
    """Time from pg_cancel_backend to the error, and the server's memory afterwards."""
    times, left = [], []
    with tempfile.TemporaryDirectory(prefix="pgannex-bench-") as scratch:
        folder = Path(scratch)
        table_data.make_files(folder)
        table_data.fill(target, folder)
    with target.connect() as db:
        db.execute(_VIEW.encode())
    for _ in range(3):
        before = _tree_pss(target.server_pid)
        with target.connect() as db, target.connect() as other:
            pid, done = db.info.backend_pid, threading.Event()
            thread = threading.Thread(target=_train_until_cancelled, args=(db, done), daemon=True)
            thread.start()
            _wait_for_fit(other, pid)
            start = time.perf_counter()
            other.execute("SELECT pg_cancel_backend(%s)", (pid,))
            if not done.wait(60):
                raise RuntimeError("a cancelled fit did not end within 60 s")
            times.append((time.perf_counter() - start) * 1e3)
            time.sleep(0.5)
            left.append((_tree_pss(target.server_pid) - before) / 1024)
    return [
        Measurement(
            "cancel of a running fit, until the client has its error", max(times), "ms", "at most", 1000.0
        ),
        Measurement(
            "server's memory half a second after the cancel, over before",
            median(left),
            "MiB",
            "at most",
            16.0,
        ),
    ]


def _train(algorithm: str, trees: int) -> tuple[str, tuple[object, ...]]:
    call = (
        "SELECT * FROM pgml.train('bench fit', 'regression', 'bench_fit_rows', 'y',"
        " algorithm => %s::pgml.algorithm, hyperparams => %s::jsonb,"
        " test_size => 0.25, test_sampling => 'last')"
    )
    return call, (algorithm, json.dumps({"n_estimators": trees}))


_VIEW = f"CREATE OR REPLACE VIEW bench_fit_rows AS SELECT {table_data.FEATURES}, y FROM bench_rows"


def _ours(target: Target, name: str) -> tuple[float, float, float]:
    """(seconds, peak PSS over idle in KiB, r2)."""
    with target.connect() as db:
        db.execute(_VIEW.encode())
        db.execute("SELECT count(*) FROM bench_rows")
        call, values = _train(name, 2)
        db.execute(call.encode(), values)  # the processes are up, the code is loaded
        call, values = _train(name, 100)
        with _peak(target.server_pid, db.info.backend_pid) as peak:
            start = time.perf_counter()
            db.execute(call.encode(), values)
            seconds = time.perf_counter() - start
        row = db.execute("SELECT metrics->>'r2' FROM pgml.models ORDER BY id DESC LIMIT 1").fetchone()
        assert row is not None
        return seconds, peak[0], float(str(row[0]))


def _theirs(name: str, folder: Path) -> tuple[float, float, float]:
    with subprocess.Popen(
        [sys.executable, "-c", _RIVAL, name, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as rival:
        assert rival.stdin is not None and rival.stdout is not None
        rival.stdout.readline()
        with _peak(rival.pid) as peak:
            for _ in range(2):
                rival.stdin.write("\n")
                rival.stdin.flush()
                answer = rival.stdout.readline()
                if answer.startswith("["):
                    break
            else:
                answer = rival.stdout.readline()
        seconds, r2 = json.loads(answer)
        rival.wait(30)
    return float(seconds), peak[0], float(r2)


def _train_until_cancelled(db: psycopg.Connection[tuple[object, ...]], done: threading.Event) -> None:
    call, values = _train("xgboost", 5000)
    with contextlib.suppress(psycopg.errors.QueryCanceled):
        db.execute(call.encode(), values)
    done.set()


def _wait_for_fit(db: psycopg.Connection[tuple[object, ...]], pid: int) -> None:
    """Until stat_activity says that the fit itself runs."""
    for _ in range(1200):
        row = db.execute(
            "SELECT state FROM pgml.stat_activity WHERE pid = %s AND verb = 'train'", (pid,)
        ).fetchone()
        if row is not None and row[0] == "fitting":
            time.sleep(0.5)
            return
        time.sleep(0.05)
    raise RuntimeError("no fit began within 60 s")


@contextlib.contextmanager
def _peak(*pids: int) -> Iterator[list[float]]:
    """The highest PSS (KiB) of the processes and their descendants while it is open, over the first."""
    idle = sum(_tree_pss(pid) for pid in pids)
    result = [0.0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            result[0] = max(result[0], sum(_tree_pss(pid) for pid in pids) - idle)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield result
    finally:
        stop.set()
        thread.join()


def _tree_pss(pid: int) -> float:
    """PSS in KiB of a process and its descendants. Needs root or the same user."""
    total = 0.0
    todo = [pid]
    while todo:
        one = todo.pop()
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
                    break
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
    return total
