"""`make demo`, act one: real sentences, one SQL statement, twelve questions in plain English.

The text is what every Postgres has: the descriptions of its own functions, operators and
types. Nothing but the descriptions is embedded, so a question finds its function by meaning
alone. psycopg is imported by whoever passes the connection in.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

    Database = psycopg.Connection[tuple[object, ...]]

MODEL = "all-MiniLM-L6-v2"
ENOUGH = 10

QUESTIONS = (
    ("which function removes trailing blanks from a string?", "rtrim"),
    ("how do I turn text into upper case?", "upper"),
    ("how can I cancel a query that another session is running?", "pg_cancel_backend"),
    ("how do I join the values of a group into one string with a separator?", "string_agg"),
    ("generate a universally unique identifier", "gen_random_uuid"),
    ("how do I wait for a few seconds?", "pg_sleep"),
    ("what is the natural logarithm of a number?", "ln"),
    ("how do I find the length of an array?", "array_length"),
    ("how do I know the difference between two dates as an age in years?", "age"),
    ("how do I check whether the server is running as a hot standby?", "pg_is_in_recovery"),
    ("which function replaces every occurrence of a substring?", "replace"),
    ("which function computes an MD5 checksum?", "md5"),
)

_PREPARE = """
DROP SCHEMA IF EXISTS pgannex_demo CASCADE;
CREATE SCHEMA pgannex_demo;
CREATE TABLE pgannex_demo.text AS
    SELECT pg_catalog.row_number() OVER (ORDER BY d.classoid, d.objoid, d.objsubid)::int AS id,
           d.description, p.proname AS function
    FROM pg_catalog.pg_description AS d
    LEFT JOIN pg_catalog.pg_proc AS p ON p.oid = d.objoid AND d.classoid = 'pg_catalog.pg_proc'::regclass;
ALTER TABLE pgannex_demo.text ADD PRIMARY KEY (id);
CREATE TABLE pgannex_demo.embedding (id int PRIMARY KEY, vector vector(384) NOT NULL);
"""

EMBED_ALL = (
    "SELECT pgml.embed_into(%s, 'SELECT id, description FROM pgannex_demo.text', "
    "'pgannex_demo.embedding', 'id', 'vector')"
)

_INDEX = "CREATE INDEX ON pgannex_demo.embedding USING hnsw (vector vector_cosine_ops)"

# The index gives more rows than are wanted, because one description belongs to many functions.
_ASK = """
WITH near AS MATERIALIZED (
    SELECT id, vector <=> pgml.embed(%(model)s, %(question)s)::vector AS distance
    FROM pgannex_demo.embedding
    ORDER BY vector <=> pgml.embed(%(model)s, %(question)s)::vector LIMIT 40
)
SELECT t.description,
       array_agg(DISTINCT t.function::text) FILTER (WHERE t.function IS NOT NULL),
       min(n.distance)
FROM near AS n JOIN pgannex_demo.text AS t USING (id)
GROUP BY t.description ORDER BY 3 LIMIT 5
"""


@dataclass(frozen=True, slots=True)
class Result:
    """How many of the questions found their function among the first five descriptions."""

    hits: int
    texts: int
    seconds: float


def act_one(db: Database) -> Result:
    """Embed, index, ask. Prints as it goes."""
    db.execute(_PREPARE)
    db.execute("SELECT pgml.embed(%s, 'warm')", [MODEL])
    print("\nact one: every text of pg_description, in one statement\n")
    began = time.monotonic()
    row = db.execute(EMBED_ALL, [MODEL]).fetchone()
    seconds = time.monotonic() - began
    texts = int(str(row[0])) if row else 0
    print(f"  {texts} texts embedded in {seconds:.1f} s: {texts / seconds:.0f} a second")
    began = time.monotonic()
    db.execute("SET maintenance_work_mem = '64MB'")
    db.execute(_INDEX)
    print(f"  HNSW index built in {time.monotonic() - began:.1f} s\n")
    db.execute("SET hnsw.ef_search = 100")
    hits = sum(_ask(db, question, function) for question, function in QUESTIONS)
    print(f"\n  hit@5: {hits} of {len(QUESTIONS)}")
    return Result(hits, texts, seconds)


def _ask(db: Database, question: str, function: str) -> bool:
    began = time.monotonic()
    rows = db.execute(_ASK, {"model": MODEL, "question": question}).fetchall()
    took = (time.monotonic() - began) * 1000
    places = [n for n, row in enumerate(rows, 1) if isinstance(row[1], list) and function in row[1]]
    print(f"  {'ok  ' if places else 'MISS'} {question}  ({took:.0f} ms)")
    for n, (description, functions, distance) in enumerate(rows[: max(1, *places, 0)], 1):
        known = sorted(functions, key=lambda f: f != function) if isinstance(functions, list) else []
        names = ", ".join(known[:3]) or "no function"
        mark = "→" if n in places else " "
        print(f"       {mark} {1 - float(str(distance)):.2f}  {description}  [{names}]")
    return bool(places)
