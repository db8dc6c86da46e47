"""The script of CREATE EXTENSION: which files go into it, in which order, for which host."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def assemble_sql() -> ModuleType:
    spec = importlib.util.spec_from_file_location("assemble_sql", ROOT / "tools" / "assemble_sql.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "pgml.control").write_text("# pgannex\ndefault_version = '1.2.3'\n")
    (tmp_path / "pgml.multicorn.control").write_text("# pgannex\ndefault_version = '1.2.3'\n")
    for name, text in {
        "20_last.sql": "SELECT '@VERSION@';",
        "10_first.sql": "SELECT 'first';",
        "15_only.native.sql": "SELECT 'native';",
        "15_only.multicorn.sql": "SELECT 'multicorn';",
    }.items():
        (tmp_path / "src" / name).write_text(text + "\n")
    return tmp_path


@pytest.mark.parametrize("host", ["native", "multicorn"])
def test_order_host_and_version(host: str, folder: Path, assemble_sql: ModuleType) -> None:
    script = assemble_sql.assemble(host, folder)
    told = [line for line in script.splitlines() if line.startswith("SELECT")]
    assert told == ["SELECT 'first';", f"SELECT '{host}';", "SELECT '1.2.3';"]
    assert script.startswith("\\echo Use")


@pytest.mark.parametrize("name", ["nonumber.sql", "30_other.oracle.sql", "30_notes.md"])
def test_a_file_that_fits_nowhere_is_an_error(name: str, folder: Path, assemble_sql: ModuleType) -> None:
    (folder / "src" / name).write_text("")
    with pytest.raises(SystemExit, match=name):
        assemble_sql.assemble("native", folder)


def test_no_c_function_without_c(folder: Path, assemble_sql: ModuleType) -> None:
    (folder / "src" / "30_c.sql").write_text("AS 'MODULE_PATHNAME'")
    assert "MODULE_PATHNAME" in assemble_sql.assemble("native", folder)
    with pytest.raises(SystemExit, match="multicorn"):
        assemble_sql.assemble("multicorn", folder)


def test_what_is_written(folder: Path, tmp_path: Path, assemble_sql: ModuleType) -> None:
    (folder / "upgrade").mkdir()
    (folder / "upgrade" / "pgml--1.2.2--1.2.3.sql").write_text("SELECT 'upgrade';\n")
    written = assemble_sql.write("multicorn", tmp_path / "out", folder)
    assert [path.name for path in written] == ["pgml.control", "pgml--1.2.3.sql", "pgml--1.2.2--1.2.3.sql"]
    assert written[0].read_text() == (folder / "pgml.multicorn.control").read_text()


@pytest.mark.parametrize("host", ["native", "multicorn"])
def test_the_projects_own(host: str, assemble_sql: ModuleType) -> None:
    """Both hosts give the same doors; what only one has is known."""
    lines = assemble_sql.assemble(host).splitlines()
    script = "\n".join(line for line in lines if not line.startswith("--"))
    assert "@VERSION@" not in script
    assert ("MODULE_PATHNAME" in script) == (host == "native")
    for door in ("embed(", "embed_rows(", "embed_table(", "embed_into(", "vector_search(", "version("):
        assert f"CREATE FUNCTION pgml.{door}" in script
    assert ("FOREIGN TABLE pgml.embedding_rows" in script) == (host == "native")
    assert "CREATE OR REPLACE" not in script
    heads = {part.split("(")[0]: part.split("AS $$")[0] for part in script.split("CREATE FUNCTION pgml.")[1:]}
    definers = {name for name, head in heads.items() if "SECURITY DEFINER" in head}
    made_for_callers = {"create_snapshot_table", "refuse_foreign_artifact"} | (
        {"create_dataset_table"} if host == "native" else set()
    )
    assert definers == made_for_callers  # each makes a table in schema pgml and gives it away
    assert all("SET search_path = pg_catalog, pg_temp" in heads[name] for name in definers)
