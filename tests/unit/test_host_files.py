"""The parts of setting up that need no process: pins, layers, model sections, sockets, marks."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from pgannex_server.host import (
    compiler,
    examine,
    install,
    layers,
    model_file,
    place,
    processes,
    snapshot,
    state,
)
from pgannex_server.host.errors import HostError
from pgannex_server.host.owner import current
from pgannex_server.host.postgres import Installation

LOCKS = Path(__file__).resolve().parents[2] / "locks"


def test_every_lock_file_has_exact_pins_with_sizes() -> None:
    for file in LOCKS.glob("*.txt"):
        pins = layers.pins(file)
        lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
        assert len(pins) == len(lines) > 0, file
        assert all(pin.size >= 0 for pin in pins)


def test_layers_pin_nothing_twice() -> None:
    for kind in ("run", "dev"):
        names = [
            pin.name for layer in layers.wanted(kind, LOCKS) for pin in layers.pins(LOCKS / f"{layer}.txt")
        ]
        assert sorted(names) == sorted(set(names))


def test_every_requirement_of_an_extra_has_a_pin_that_meets_it() -> None:
    project = tomllib.loads((LOCKS.parent / "pyproject.toml").read_text())["project"]
    pinned = {pin.name: pin.version for file in LOCKS.glob("*.txt") for pin in layers.pins(file)}
    for extra, wanted in project["optional-dependencies"].items():
        for text in wanted:
            requirement = Requirement(text)
            version = pinned.get(layers.normal(requirement.name))
            assert version is not None, f"{extra}: {text} has no pin: python tools/lock.py"
            assert requirement.specifier.contains(version), f"{extra}: {text}, but {version} is pinned"


def test_a_probe_chooses_the_build_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "has_nvidia_driver", lambda: True)
    assert "torch-cuda" in layers.wanted("run", LOCKS)
    monkeypatch.setattr(layers, "has_nvidia_driver", lambda: False)
    assert "torch-cpu" in layers.wanted("run", LOCKS)


def test_without_a_cpu_build_on_the_index_the_other_is_taken_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_such_version(*_: object, **__: object) -> None:
        raise HostError("no matching distribution")

    monkeypatch.setattr(layers, "pip", no_such_version)
    found = layers.available(Path("python"), LOCKS, ["server", "torch-cpu"])
    assert found == ["server", "torch-cuda"]
    assert "MB" in capsys.readouterr().out
    monkeypatch.setattr(layers, "pip", lambda *_, **__: None)
    assert layers.available(Path("python"), LOCKS, ["server", "torch-cpu"]) == ["server", "torch-cpu"]


def test_without_a_compiler_zig_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "zig" in layers.wanted("run", LOCKS)


FILE = """# mine
[server]
drain_s = 5

[models."a"]  # the first
source = "/a"
[models."a".options]
x = 1

# about b
[models.b]
source = "/b"
"""


def test_adding_a_model_keeps_the_file() -> None:
    text = model_file.added(FILE, 'c"d', {"source": "/c", "pin": True, "aliases": ["x", "y"], "instances": 2})
    assert text.startswith(FILE.rstrip("\n"))
    assert tomllib.loads(text)["models"]['c"d'] == {
        "source": "/c",
        "pin": True,
        "aliases": ["x", "y"],
        "instances": 2,
    }


def test_removing_a_model_keeps_the_rest() -> None:
    text = model_file.removed(FILE, "a")
    assert tomllib.loads(text) == {"server": {"drain_s": 5}, "models": {"b": {"source": "/b"}}}
    assert "# mine" in text


@pytest.mark.parametrize(("change", "words"), [
    (lambda: model_file.added(FILE, "a", {}), "configured already"),
    (lambda: model_file.removed(FILE, "z"), 'no model "z"'),
    (lambda: model_file.removed("models = { a = {} }\n", "a"), "section of its own"),
    (lambda: model_file.added("[", "a", {}), "no TOML"),
])  # fmt: skip
def test_wrong_changes_are_refused(change: object, words: str) -> None:
    with pytest.raises(HostError, match=words):
        change()  # type: ignore[operator]


def test_writing_keeps_the_mode(tmp_path: Path) -> None:
    file = tmp_path / "pgannex.toml"
    file.write_text("")
    file.chmod(0o640)
    model_file.write(file, "[server]\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_deep_folder_gets_a_short_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    near = state.State(place.Place(Path("/srv/x"), current()))
    deep = state.State(place.Place(Path("/srv/" + "x" * 90), current()))
    assert near.run.is_relative_to("/srv/x")
    assert not deep.run.is_relative_to("/srv")
    assert len(os.fsencode(deep.http_socket)) <= state.LONGEST_SOCKET


def test_a_folder_of_somebody_else_is_no_place_for_sockets(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    state.private_folder(folder, current())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    state.private_folder(folder, current())
    folder.chmod(0o777)
    with pytest.raises(HostError, match="others cannot write"):
        state.private_folder(folder, current())
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(HostError, match="not a folder"):
        state.private_folder(folder, current())


def test_folders_that_are_there_keep_their_mode(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    place.make_folder(closed / "a" / "b", 0o750)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert stat.S_IMODE((closed / "a").stat().st_mode) == 0o755
    assert stat.S_IMODE((closed / "a" / "b").stat().st_mode) == 0o750


def test_a_pid_of_another_process_is_not_taken_for_ours(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    file.write_text(f"{os.getpid()} {processes.start_time(os.getpid())}\n")
    assert processes.recall(file) == os.getpid()
    file.write_text(f"{os.getpid()} 1\n")
    assert processes.recall(file) == 0
    file.write_text("garbage\n")
    assert processes.recall(file) == 0


def test_postgres_flags_are_filtered_and_never_lost(tmp_path: Path) -> None:
    try:
        found = compiler.find()
    except HostError as err:
        pytest.skip(err.message)
    env = compiler.scratch(compiler.environment(), tmp_path)
    flags = ["-Wall", "-Wno-such-thing-at-all", "-Wsuch-thing", "--no-such-flag", *compiler.NEEDED, "-O2"]
    kept = compiler.filtered(flags, found, env)
    assert [f for f in kept if f != "-Wno-such-thing-at-all"] == ["-Wall", *compiler.NEEDED, "-O2"]


def test_a_compiler_that_lacks_what_postgres_needs_is_refused(tmp_path: Path) -> None:
    picky = tmp_path / "cc"
    picky.write_text('#!/bin/sh\ncase "$*" in *-fwrapv*) exit 1;; esac\nexit 0\n')
    picky.chmod(0o755)
    with pytest.raises(HostError, match="-fwrapv, which Postgres needs"):
        compiler.filtered(
            ["-O2", *compiler.NEEDED], compiler.Compiler((str(picky),), "picky"), dict(os.environ)
        )


def _installation(folder: Path) -> Installation:
    for name in ("lib", "share/extension"):
        (folder / name).mkdir(parents=True)
    pg_config = folder / "pg_config"
    pg_config.write_text(f"#!/bin/sh\necho 'VERSION = PostgreSQL 18.1'\necho 'PKGLIBDIR = {folder}/lib'\n"
                         f"echo 'SHAREDIR = {folder}/share'\n")  # fmt: skip
    pg_config.chmod(0o755)
    return Installation(pg_config)


def test_install_writes_once_and_respects_the_files_of_others(tmp_path: Path) -> None:
    target, library = _installation(tmp_path), tmp_path / "pgml.so"
    library.write_bytes(b"code")
    first = install.install(target, place.source_root(), "native", library)
    assert {p.name for p in first.written} >= {"pgml.so", "pgml.control"}
    assert install.is_ours(target.extensions / "pgml.control")
    assert install.install(target, place.source_root(), "native", library).written == ()
    (target.extensions / "pgml.control").write_text("comment = 'PostgresML'\n")
    with pytest.raises(HostError, match="belongs to another extension") as refused:
        install.install(target, place.source_root(), "native", library)
    assert "--force" in refused.value.hint
    assert install.install(target, place.source_root(), "native", library, force=True).written


def test_the_multicorn_host_wants_multicorn(tmp_path: Path) -> None:
    target = _installation(tmp_path)
    with pytest.raises(HostError, match="Multicorn2 is not installed"):
        install.install(target, place.source_root(), "multicorn", None)
    (target.extensions / "multicorn.control").write_text("")
    done = install.install(target, place.source_root(), "multicorn", None)
    assert "requires" in (target.extensions / "pgml.control").read_text()
    assert not any(p.suffix == ".so" for p in done.written)


def test_a_snapshot_replaces_the_one_before(tmp_path: Path) -> None:
    app = snapshot.copy_sources(place.source_root(), tmp_path / "app")
    assert (app / "server" / "pgannex_server" / "cli.py").exists()
    (app / "stale").write_text("")
    snapshot.copy_sources(place.source_root(), app)
    assert not (app / "stale").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["app"]
    assert all(p.stat().st_mode & 0o444 == 0o444 for p in app.rglob("*"))


def test_doctor_sees_what_is_wrong_with_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert examine.frames_socket(path).state == "fail"
    path.write_text("")
    assert "not a socket" in examine.frames_socket(path).text
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert "nobody listens" in examine.frames_socket(path).text
        listener.listen()
        assert examine.frames_socket(path).state == "ok"


def test_doctor_finds_the_folder_that_is_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    found = examine.passable(closed / "s", "nobody")
    assert found.state == "fail"
    assert "may not pass" in found.text


def test_doctor_looks_into_a_models_folder(tmp_path: Path) -> None:
    assert examine.model_source("m", "hub/name").state == "ok"
    assert "not there" in examine.model_source("m", str(tmp_path / "no")).text
    assert "config.json" in examine.model_source("m", str(tmp_path)).text
    (tmp_path / "config.json").write_text("{}")
    assert "safetensors" in examine.model_source("m", str(tmp_path)).text
    (tmp_path / "model.safetensors").write_text("")
    assert examine.model_source("m", str(tmp_path)).state == "ok"
