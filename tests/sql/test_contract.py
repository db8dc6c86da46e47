"""Does this host answer the SQL contract? Runs every case of cases/ on real Postgres.

Each case runs as a plain statement and as a prepared one under force_generic_plan; those
that join run again with each way of joining switched off. What differs is the assertion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from casefile import Case, differences, read_cases

CASES = list(read_cases())
JOIN_SETTINGS = (
    "enable_nestloop = off",
    "enable_hashjoin = off",
    "enable_mergejoin = off",
    "enable_memoize = off",
    "enable_material = off",
    "enable_hashjoin = off; SET LOCAL enable_mergejoin = off",
)
Database = psycopg.Connection[tuple[object, ...]]


def _variants(case: Case) -> Iterator[object]:
    """(case, how) for each way in which a case is run."""
    ways = ["plain"]
    if (case.scan and case.scan.quals) or case.params:
        ways.append("generic")
    if case.joins:
        ways += JOIN_SETTINGS
    for way in ways:
        yield pytest.param(case, way, id=f"{case.id} [{way}]")


def _statement(case: Case, way: str, db: Database) -> str:
    """Prepare what must be prepared; the statement to run."""
    if case.params:
        text = case.sql
        types = [p.split("=", 1)[0] for p in case.params]
        values = [p.split("=", 1)[1] for p in case.params]
    elif way == "generic" and case.scan:
        text, types, values = case.scan.prepared()
    else:
        return case.statement()
    db.execute(f"SET LOCAL plan_cache_mode = {'force_generic_plan' if way == 'generic' else 'auto'}")
    db.execute(f"PREPARE the_case ({', '.join(types)}) AS {text}")
    return f"EXECUTE the_case ({', '.join(v + '::' + t for v, t in zip(values, types, strict=True))})"


def _run(case: Case, way: str, db: Database) -> str:
    """What differs, or the empty string."""
    for statement in case.setup:
        db.execute(statement)
    if way in JOIN_SETTINGS:
        db.execute(f"SET LOCAL {way}")
    rows = db.execute(_statement(case, way, db)).fetchall()
    if case.rows is not None:
        return differences(case, rows)
    text = "\n".join(str(row[0]) for row in rows)
    return "; ".join(f"no {p!r} in\n{text}" for p in case.match if not re.search(p, text))


@pytest.mark.parametrize(("case", "way"), [v for case in CASES for v in _variants(case)])
def test_case(case: Case, way: str, db: Database, host: str) -> None:
    if host not in case.hosts:
        pytest.skip(f"not promised by host {host}")
    try:
        different = _run(case, way, db)
    except psycopg.Error as err:
        d = err.diag
        if host == "multicorn" and way == "enable_nestloop = off" and "OFFSET 0" in (d.message_hint or ""):
            return  # its paths cannot be dearer than a disabled nested loop: the error says what to write
        if case.error is None:
            raise
        different = case.error.explain(
            host, d.sqlstate or "", d.message_primary or "", d.message_detail or "", d.message_hint or ""
        )
    else:
        if case.error is not None:
            different = f"no error, but {case.error.sqlstate} was promised"
    finally:
        db.rollback()
        db.execute("DEALLOCATE ALL")
        db.commit()
    assert not different, different


def test_the_runner_sees_a_difference(db: Database) -> None:
    case = next(c for c in CASES if c.rows and c.scan)
    assert _run(replace(case, rows=[[None] * len(case.rows[0])]), "plain", db)  # type: ignore[index]
    db.rollback()
