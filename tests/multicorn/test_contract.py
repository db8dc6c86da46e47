"""The scans of the SQL contract through the wrapper's class, with the stand-in as its host."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign_tables import tables
from stand_in import FakeBackend, PostgresError, Session, quals_of

sys.path.append(str(Path(__file__).resolve().parents[1] / "sql"))
from casefile import Case, differences, read_cases

CASES = [case for case in read_cases() if case.scan is not None and "multicorn" in case.hosts]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case, session: Session) -> None:
    assert case.scan is not None
    table = tables()[case.scan.table]
    quals = quals_of(table, case.scan.quals)
    if case.error is None:
        assert differences(case, session.read(table, case.scan.columns, quals)) == ""
        return
    with pytest.raises(PostgresError) as caught:
        session.read(table, case.scan.columns, quals)
    error = caught.value
    assert case.error.explain("multicorn", "XX000", error.message, error.detail, error.hint) == ""


def test_there_are_cases() -> None:
    assert len(CASES) > 20


def test_output_says_which_host_ran(session: Session, record_property: Callable[[str, object], None]) -> None:
    record_property("host", "multicorn stand-in")
    assert type(session).__module__ == "stand_in"


def test_every_table_of_the_extension_is_understood(session: Session) -> None:
    for table in tables().values():
        assert session.instance(table) is not None


def test_a_role_without_rights_is_refused_before_anything_is_sent(
    session: Session, backend: FakeBackend
) -> None:
    backend.roles = set()
    backend.path = "/nowhere/at.all"
    table = tables()["embedding"]
    with pytest.raises(PostgresError, match="role tester may not use verb embed") as caught:
        session.read(table, ["tokens"], quals_of(table, {"model": "echo", "input": "a"}))
    assert "sqlstate: 42501" in caught.value.detail


def test_explain_runs_nothing_and_shows_costs_only_while_a_scan_has_run(
    session: Session, backend: FakeBackend
) -> None:
    table = tables()["embedding"]
    instance = session.instance(table)
    quals = quals_of(table, {"model": "echo", "input": {"any": ["a", "b"]}})
    lines = ["Verb: embed", "Model: echo", "Batch: input (2 elements)"]
    assert instance.explain(quals, {"tokens"}, verbose=False) == lines
    assert len(list(instance.execute(quals, {"tokens"}))) == 2
    analyzed = instance.explain(quals, {"tokens"}, verbose=False)
    assert analyzed[:3] == lines
    assert "Batches: 1  Tokens: 6" in analyzed
    instance.end_scan()
    backend.path = "/nowhere/at.all"
    assert instance.explain(quals[:1], {"tokens"}, verbose=True) == [*lines[:2], "Missing: input"]


def test_a_backend_has_one_connection_for_scans_one_after_the_other(session: Session) -> None:
    embedding, activity = tables()["embedding"], tables()["stat_activity"]
    server = tables()["stat_server"]
    before = session.read(server, ["connections"], [])
    for _ in range(3):
        assert session.read(embedding, ["tokens"], quals_of(embedding, {"model": "echo", "input": "a"})) == [
            [3]
        ]
        session.read(activity, ["verb"], [])
    assert session.read(server, ["connections"], []) == before
