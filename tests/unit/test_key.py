"""The key for artifacts: made once, kept secret, exported, imported, never overwritten by accident."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest
from pgannex_server import cli, config, key
from pgannex_server.errors import ConfigError
from pgannex_wire import WireError


def configured(folder: Path, name: str = "one") -> tuple[Path, Path]:
    """(pgannex.toml, its key file), the folder of the key made."""
    state = folder / name
    state.mkdir()
    file = folder / f"{name}.toml"
    file.write_text(f'[server]\nstate_dir = "{state}"\n')
    return file, config.load(file).server.key_path


def test_a_key_is_made_once_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "artifact.key"
    made = key.obtain(path)
    assert len(made) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.obtain(path) == made
    assert [p.name for p in path.parent.iterdir()] == ["artifact.key"]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "artifact.key"
    key.obtain(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"open to others \(mode 0644\): chmod 600"):
        key.obtain(path)


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "a" * 65])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "artifact.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="64 hex digits"):
        key.obtain(path)


def test_two_that_make_a_key_at_once_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "artifact.key"
    key.write(path, b"a" * 32)
    with pytest.raises(FileExistsError):
        key.write(path, b"b" * 32)
    assert key.obtain(path) == b"a" * 32


def test_a_server_without_a_place_for_its_key_says_so_at_the_first_use(tmp_path: Path) -> None:
    signer = key.Signer(tmp_path / "no" / "such" / "artifact.key")
    with pytest.raises(WireError, match="no key for artifacts: cannot make the key"):
        signer.sign(b"body")


def test_the_default_place_is_the_service_managers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert config.ServerConfig().key_path == Path("/var/lib/pgannex/artifact.key")
    monkeypatch.setenv("STATE_DIRECTORY", "/a/b:/c")
    assert config.ServerConfig().key_path == Path("/a/b/artifact.key")
    assert config.ServerConfig(state_dir="/d").key_path == Path("/d/artifact.key")
    assert config.ServerConfig(state_dir="/d", key_file="/e").key_path == Path("/e")


def test_export_and_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, first_key = configured(tmp_path, "one")
    second, second_key = configured(tmp_path, "two")
    wanted = key.obtain(first_key)
    out = tmp_path / "exported"
    assert cli.main(["key", "export", str(out), "--config", str(first)]) == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert cli.main(["key", "export", str(out), "--config", str(first)]) == 1
    assert "there already" in capsys.readouterr().err
    assert cli.main(["key", "import", str(out), "--config", str(second)]) == 0
    assert key.read(second_key) == wanted
    assert cli.main(["key", "import", str(out), "--config", str(second)]) == 0
    assert "already" in capsys.readouterr().out


def test_import_does_not_overwrite_another_key_without_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, path = configured(tmp_path)
    old = key.obtain(path)
    text = key.text_of(b"x" * 32)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert cli.main(["key", "import", "--config", str(file)]) == 1
    assert "another key" in capsys.readouterr().err
    assert key.read(path) == old
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert cli.main(["key", "import", "--force", "--config", str(file)]) == 0
    assert key.read(path) == b"x" * 32
    assert cli.main(["key", "export", "--config", str(file)]) == 0
    assert capsys.readouterr().out.endswith(text)


def test_what_is_no_key_is_not_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, path = configured(tmp_path)
    bad = tmp_path / "bad"
    bad.write_text("hello")
    assert cli.main(["key", "import", str(bad), "--config", str(file)]) == 1
    assert "64 hex digits" in capsys.readouterr().err
    assert not path.exists()
