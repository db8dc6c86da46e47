"""The script of the Multicorn host runs, and says what it cannot do, without Multicorn2.

On a machine that has Multicorn2 the whole suite goes through it. Everywhere else this keeps
the script whole: in a database of its own, with a wrapper that has no handler, so that all but
reading a foreign table works.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]
TOOL = Path(__file__).resolve().parents[2] / "tools" / "assemble_sql.py"
HANDLER = "HANDLER multicorn_handler VALIDATOR multicorn_validator"


@pytest.fixture(scope="module")
def script(stack: Any) -> Iterator[Database]:
    """A database in which the script has run as CREATE EXTENSION would run it."""
    text = subprocess.run(
        [sys.executable, str(TOOL), "--host", "multicorn"], capture_output=True, text=True, check=True
    ).stdout
    assert HANDLER in text
    body = "\n".join(line for line in text.splitlines() if not line.startswith("\\"))
    # Only an extension's script may mark tables for dumps.
    body = body.replace(HANDLER, "").replace("pg_extension_config_dump(", "concat(")
    with stack.connect() as admin:
        admin.execute("DROP DATABASE IF EXISTS test_multicorn_script")
        admin.execute("CREATE DATABASE test_multicorn_script")
        with stack.connect(dbname="test_multicorn_script") as db:
            db.execute("CREATE SCHEMA pgml; SET search_path = pgml, pg_temp")
            db.execute(body)
            db.execute("RESET search_path")
            yield db
        admin.execute("DROP DATABASE test_multicorn_script WITH (FORCE)")


REFUSED = (
    "SELECT pgml.predict('p', ARRAY[1.0, 2.0])",
    "SELECT pgml.predict('p', (1, 2))",
    "SELECT pgml.predict(1, ARRAY[1, 2]::real[])",
    "SELECT pgml.predict_proba('p', ARRAY[1, 2]::real[])",
    "SELECT pgml.predict_joint(1, ARRAY[1, 2]::real[])",
    "SELECT pgml.predict_batch('p', ARRAY[1, 2]::real[])",
    "SELECT pgml.decompose('p', ARRAY[1, 2]::real[])",
    "SELECT * FROM pgml.train('p', 'regression', 'public.some_rows', 'y')",
)


@pytest.mark.parametrize("statement", REFUSED)
def test_what_needs_the_native_host_says_so(script: Database, statement: str) -> None:
    script.execute("CREATE TABLE IF NOT EXISTS public.some_rows AS SELECT 1.0 AS x, 2.0 AS y")
    with pytest.raises(psycopg.errors.FeatureNotSupported) as caught:
        script.execute(statement)
    assert "native" in (caught.value.diag.message_primary or "") + (caught.value.diag.message_hint or "")


def test_the_registry_is_there(script: Database) -> None:
    assert script.execute("SELECT count(*) FROM pgml.overview").fetchone() == (0,)
    assert script.execute("SELECT pgml.add(ARRAY[1, 2], 1)").fetchone() == ([2.0, 3.0],)
