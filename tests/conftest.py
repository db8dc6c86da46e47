"""The fixtures that start real things: `stack` is a Postgres with the extension and its server.

    stack    the native host on PostgreSQL 18; tests in tests/sql, and those marked
             every_postgres, run on each leg: 18 and 16 of the wheel, Debian's 15, Multicorn2
    db       a superuser's connection to it, in a transaction
    host     "native" or "multicorn"

A leg that this machine cannot run is skipped with the reason. A failing test shows what both
logs got since it began. What a stack can do (restart, kill, count) is in teststack.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from teststack import Leg, TestStack, remove_leftovers

# Threads of fits and encoders in this process sleep while they wait, as in the server's processes:
# spinning beside the tests' own Postgres and servers makes them many times slower. Read by
# OpenMP when its library is loaded, so it is set before any test is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

LEGS = (Leg(18), Leg(16), Leg(15), Leg(15, "multicorn"))
_stacks: dict[Leg, TestStack | str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--legs", default="", help="only these legs, such as 18,16,15,15-multicorn")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "every_postgres: run on every leg, not on PostgreSQL 18 alone")


def _chosen(config: pytest.Config) -> tuple[Leg, ...]:
    names = [name for name in str(config.getoption("--legs")).split(",") if name]
    unknown = set(names) - {leg.name for leg in LEGS}
    if unknown:
        raise pytest.UsageError(
            f"no leg {', '.join(sorted(unknown))}; there are {', '.join(x.name for x in LEGS)}"
        )
    return tuple(leg for leg in LEGS if not names or leg.name in names)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stack" not in metafunc.fixturenames:
        return
    in_sql = Path(str(metafunc.definition.path)).parent.name == "sql"
    everywhere = in_sql or metafunc.definition.get_closest_marker("every_postgres") is not None
    legs = _chosen(metafunc.config)
    metafunc.parametrize(
        "stack", legs if everywhere else legs[:1], indirect=True, ids=lambda leg: f"pg{leg.name}"
    )


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> TestStack:
    """A running stack; started on first use, stopped at the end of the session."""
    leg: Leg = request.param
    if leg not in _stacks:
        reason = leg.missing()
        _stacks[leg] = reason or TestStack.start(leg)
    found = _stacks[leg]
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def host(stack: TestStack) -> str:
    """Which host of the foreign data wrapper the stack runs."""
    leg: Leg = stack.leg
    return leg.host


@pytest.fixture
def db(stack: TestStack) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A superuser's connection; each statement after the first is in its transaction."""
    connection = stack.connect(autocommit=False)
    try:
        yield connection
    finally:
        connection.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    running = [s for s in _stacks.values() if isinstance(s, TestStack)]
    if call.when == "setup":
        for one in running:
            one.mark_logs()
    elif report.failed:
        for one in running:
            report.sections.extend(one.logs_since_mark())
    return report


def pytest_sessionstart(session: pytest.Session) -> None:
    remove_leftovers()


def pytest_sessionfinish(session: pytest.Session) -> None:
    for one in _stacks.values():
        if isinstance(one, TestStack):
            one.remove()
    _stacks.clear()
