"""The rows that the bars of classical models train and predict on: made once, seeded.

1,000,000 rows of 20 float8 and a target that depends on some of them. The same numbers lie in
Postgres as table bench_rows (id, f1 … f20, y, features real[]) and on disk as .npy files, from
which the rivals load them. float32 in both, so that all sides compute with the same values.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from psycopg import sql

from bench.target import Target

ROWS = 1_000_000
WIDTH = 20
FEATURES = ", ".join(f"f{i}" for i in range(1, WIDTH + 1))


def make_files(folder: Path) -> None:
    """x.npy (ROWS × WIDTH float64) and y.npy (ROWS float64)."""
    random = np.random.default_rng(42)
    x = random.normal(size=(ROWS, WIDTH)).astype(np.float32).astype(np.float64)
    y = 3 * x[:, 0] + np.sin(2 * x[:, 1]) * x[:, 2] + (x[:, 3] > 0.5) * 2 + 0.1 * random.normal(size=ROWS)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)


def fill(target: Target, folder: Path) -> None:
    """Table bench_rows, unless it is there already; by binary COPY."""
    with target.connect() as db:
        row = db.execute("SELECT to_regclass('public.bench_rows') IS NOT NULL").fetchone()
        if row is not None and row[0] is True:
            return
        columns = ", ".join(f"f{i} float8" for i in range(1, WIDTH + 1))
        db.execute(f"CREATE UNLOGGED TABLE bench_rows (id int, {columns}, y float8)".encode())
        x, y = np.load(folder / "x.npy"), np.load(folder / "y.npy")
        with db.cursor().copy(sql.SQL("COPY bench_rows FROM STDIN (FORMAT binary)")) as copy:
            copy.write(b"PGCOPY\n\xff\r\n\x00" + bytes(8))
            for start in range(0, ROWS, 50_000):
                copy.write(_tuples(start, x[start : start + 50_000], y[start : start + 50_000]))
            copy.write(b"\xff\xff")
        db.execute("CREATE UNIQUE INDEX ON bench_rows (id)")
        db.execute("VACUUM ANALYZE bench_rows")


def _tuples(start: int, x: np.ndarray, y: np.ndarray) -> bytes:
    """Rows as binary COPY wants them: a count, then a length and a value per column."""
    cell = [("length", ">i4"), ("value", ">f8")]
    layout = np.dtype([("count", ">i2"), ("id_length", ">i4"), ("id", ">i4"), ("cells", cell, (WIDTH + 1,))])
    rows = np.empty(len(x), dtype=layout)
    rows["count"] = WIDTH + 2
    rows["id_length"] = 4
    rows["id"] = np.arange(start + 1, start + 1 + len(x))
    rows["cells"]["length"] = 8
    rows["cells"]["value"][:, :WIDTH] = x
    rows["cells"]["value"][:, WIDTH] = y
    return rows.tobytes()
