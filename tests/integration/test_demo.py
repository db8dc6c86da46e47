"""Does the demo keep its promise? Both acts, on the tests' own stack."""

from __future__ import annotations

import pytest
from pgannex_server.host import demo, demo_kill
from teststack import TestStack


@pytest.mark.timeout(300)
def test_real_text_is_found_by_meaning(stack: TestStack, capsys: pytest.CaptureFixture[str]) -> None:
    with stack.connect() as db:
        result = demo.act_one(db)
        assert result.texts > 4000
        row = db.execute("SELECT count(*) FROM pgannex_demo.embedding").fetchone()
        assert row == (result.texts,)
    assert result.hits >= demo.ENOUGH, capsys.readouterr().out


@pytest.mark.timeout(300)
def test_what_is_killed_is_only_an_error(stack: TestStack, capsys: pytest.CaptureFixture[str]) -> None:
    with stack.connect() as db, stack.connect() as other:
        if db.execute("SELECT to_regclass('pgannex_demo.text')").fetchone() == (None,):
            demo.act_one(db)
        fine = demo_kill.act_two(db, other, stack.stack.daemon)
        db.execute("DROP SCHEMA pgannex_demo CASCADE")
    assert fine, capsys.readouterr().out
    stack.wait_idle()
