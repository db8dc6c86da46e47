"""What SQL tells of the server's Python, and the functions that have lost their meaning."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

import psycopg
import pytest

Database = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def db(db: Database, host: str) -> Database:
    if host != "native":
        pytest.skip("the environment of trained models needs the native host")
    return db


def _one(db: Database, sql: str) -> Any:
    row = db.execute(sql).fetchone()
    assert row is not None
    return row[0]


def test_python_and_its_packages(db: Database) -> None:
    assert _one(db, "SELECT pgml.python_version()").startswith(sys.version.split()[0])
    assert _one(db, "SELECT pgml.python_package_version('scikit-learn')") == version("scikit-learn")
    assert _one(db, "SELECT pgml.xgboost_version()").split(".")[0].isdigit()
    frozen = [str(row[0]) for row in db.execute("SELECT package FROM pgml.python_pip_freeze()")]
    assert f"numpy=={version('numpy')}" in frozen


def test_a_package_that_is_not_there(db: Database) -> None:
    with pytest.raises(psycopg.Error, match="no-such-package"):
        db.execute("SELECT pgml.python_package_version('no-such-package')")


def test_dependencies_and_library(db: Database) -> None:
    said: list[str] = []
    db.add_notice_handler(lambda d: said.append(f"{d.severity}: {d.message_primary}"))
    assert _one(db, "SELECT pgml.validate_python_dependencies()") is True
    wanted = ["python", "numpy", "sklearn", "xgboost", "lightgbm"]
    assert [line.split()[:2] for line in said] == [["INFO:", name] for name in wanted]
    assert _one(db, "SELECT pgml.validate_shared_library()") == ""


@pytest.mark.parametrize("call", ["activate_venv('somewhere')", "clear_gpu_cache()", "clear_gpu_cache(0.5)"])
def test_what_has_no_meaning_any_more_says_so(call: str, db: Database) -> None:
    said: list[str] = []
    db.add_notice_handler(lambda d: said.append(f"{d.severity}: {d.message_primary}"))
    assert _one(db, f"SELECT pgml.{call}") is False
    assert said
    assert said[0].startswith(f"NOTICE: pgml.{call.split('(')[0]} does nothing")
