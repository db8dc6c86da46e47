"""Many texts: embed_rows over the engine alone, over its rivals, and under 16 callers."""

from __future__ import annotations

import time

from bench.frames_client import embed_over_frames
from bench.measure import Measurement, median
from bench.rivals import client_loop, encode_all, http_loop
from bench.target import Target

ROWS = (
    "SELECT count(*), count(embedding) FROM pgml.embed_rows(%s,"
    " 'SELECT objoid, description FROM pg_catalog.pg_description"
    " ORDER BY objoid, classoid, objsubid')"
)


def embed_rows_rate(target: Target, model: str) -> float:
    """Texts per second of embed_rows over all of pg_description; the vectors stay in the backend."""
    with target.connect() as db:
        start = time.perf_counter()
        row = db.execute(ROWS, (model,)).fetchone()
        seconds = time.perf_counter() - start
    assert row is not None and row[0] == row[1], f"embed_rows lost vectors: {row}"
    return int(str(row[0])) / seconds


def whole_table(target: Target) -> list[Measurement]:
    """embed_rows over the same texts through the same engine and batcher, and over encode()."""
    texts = target.texts()
    rows = []
    plain = encode_all(target.folder, texts)
    for engine, model in target.models.items():
        if engine == "echo":
            continue
        embed_over_frames(target.frames_socket, model, texts[:512])
        pairs = [
            (embed_over_frames(target.frames_socket, model, texts), embed_rows_rate(target, model))
            for _ in range(3)
        ]
        direct, sql = median([p[0] for p in pairs]), median([p[1] for p in pairs])
        ratio = median([p[1] / p[0] for p in pairs])
        note = f"SQL {sql:.0f}/s, without Postgres {direct:.0f}/s, encode() {plain:.0f}/s, {len(texts)} texts"
        rows += [
            Measurement(
                f"embed_rows over the same engine without Postgres, {engine}",
                ratio,
                "×",
                "at least",
                0.95,
                note,
            ),
            Measurement(
                f"embed_rows over encode() with its defaults, {engine}", sql / plain, "×", "at least", 3.0
            ),
        ]
    return rows


def client_loops(target: Target) -> list[Measurement]:
    """embed_into over the loops people write: one text per request and an INSERT each."""
    texts = target.texts()
    model = target.models.get("openvino") or target.models["torch"]
    sample = texts[:: max(1, len(texts) // 400)]
    with target.connect() as db:
        db.execute("DROP TABLE IF EXISTS bench_client_loop, bench_embedded")
        db.execute("CREATE TABLE bench_client_loop (id bigint, embedding real[])")
        db.execute("CREATE TABLE bench_embedded (id bigint PRIMARY KEY, embedding real[])")
        start = time.perf_counter()
        query = (
            "INSERT INTO bench_embedded SELECT r.key::bigint, r.embedding FROM pgml.embed_rows(%s,"
            " 'SELECT row_number() OVER (), description FROM pg_catalog.pg_description') AS r"
        )
        count = db.execute(query, (model,)).rowcount
        ours = count / (time.perf_counter() - start)
    loop = client_loop(target.folder, target.dsn, sample)
    http = http_loop(target.http_socket, target.dsn, model, sample)
    note = f"embed_rows and INSERT {ours:.0f}/s, loop with encode() {loop:.0f}/s, loop over HTTP {http:.0f}/s"
    return [
        Measurement("embed_rows over a client loop with encode()", ours / loop, "×", "at least", 10.0, note),
        Measurement(
            "embed_rows over a client loop through our HTTP door", ours / http, "×", "at least", 3.0, note
        ),
    ]


def sixteen(target: Target) -> list[Measurement]:
    """Total throughput of 16 connections calling scalar embed, over embed_rows."""
    limits = {"openvino": 0.7, "torch": 0.55}
    with target.connect() as db:
        db.execute("DROP TABLE IF EXISTS bench_texts")
        db.execute(
            "CREATE TABLE bench_texts AS SELECT row_number() OVER () AS id, description FROM pg_description"
        )
        db.execute("CREATE UNIQUE INDEX ON bench_texts (id)")
        row = db.execute("SELECT count(*) FROM bench_texts").fetchone()
        assert row is not None
        total = int(str(row[0]))
    rows = []
    for engine, limit in limits.items():
        model = target.models.get(engine)
        if model is None:
            continue
        script = (
            f"\\set id random(1, {total})\n"
            f"SELECT cardinality(pgml.embed('{model}', description)) FROM bench_texts WHERE id = :id;\n"
        )
        target.pgbench(script, clients=16, seconds=2)
        pairs = [
            (target.pgbench(script, clients=16, seconds=5)[1], embed_rows_rate(target, model))
            for _ in range(5)
        ]
        rate, bulk = median([p[0] for p in pairs]), median([p[1] for p in pairs])
        note = f"16 connections {rate:.0f}/s, embed_rows {bulk:.0f}/s"
        name = f"16 connections calling scalar embed over embed_rows, {engine}"
        rows.append(Measurement(name, rate / bulk, "×", "at least", limit, note))
    return rows
