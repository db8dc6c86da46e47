"""Does the extension compile, warnings being errors, by each compiler and for each Postgres there is?

What a compiler made is also run: a stack is started on it and asked for an embedding.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from pgannex_server.host import build, place, postgres
from teststack import Leg, TestStack

ZIG = importlib.util.find_spec("ziglang") is not None
NO_ZIG = "the compiler zig is not installed (PGANNEX_ZIG=1 make dev)"


@pytest.fixture
def zig(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine without a C compiler of its own."""
    if not ZIG:
        pytest.skip(NO_ZIG)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PGANNEX_ZIG", "1")
    yield


@pytest.mark.parametrize("major", [18, 16, 15])
def test_without_a_warning(major: int) -> None:
    found = postgres.wheel(major) or postgres.system(major)
    if found is None:
        pytest.skip(f"PostgreSQL {major} with headers is not installed")
    library = build.native(found, place.source_root(), place.find(create=True).build, werror=True)
    log = (library.parent.parent / "make.log").read_text()
    for flag in ("-fno-strict-aliasing", "-fwrapv", "-fexcess-precision=standard", "-Werror"):
        assert flag in log


def test_a_second_build_compiles_nothing() -> None:
    here, found = place.find(create=True), postgres.find(18)
    first = build.native(found, place.source_root(), here.build)
    made = first.stat().st_mtime_ns
    assert build.native(found, place.source_root(), here.build) == first
    assert first.stat().st_mtime_ns == made


def test_what_does_not_compile_is_told(tmp_path: Path) -> None:
    native = tmp_path / "fdw" / "native"
    native.mkdir(parents=True)
    (native / "Makefile").write_text("pgml.so: pgml.c\n\t$(CC) -shared -o $@ $<\n")
    (native / "pgml.c").write_text("this is no C\n")
    with pytest.raises(Exception, match="does not compile") as failed:
        build.native(postgres.find(18), tmp_path, tmp_path / "build")
    assert "make.log" in failed.value.hint  # type: ignore[attr-defined]


def test_zig_builds_an_extension_that_works(zig: None) -> None:
    started = TestStack.start(Leg(18))
    try:
        with started.connect() as db:
            row = db.execute("SELECT pgml.embed('echo', 'hello') = pgml.embed('echo', 'hello')").fetchone()
            assert row == (True,)
        logs = sorted((started.stack.state.place.build).glob("*/make.log"), key=lambda p: p.stat().st_mtime)
        assert any("ziglang cc" in log.read_text() for log in logs)
    finally:
        started.remove()
