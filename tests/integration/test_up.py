"""Does setting up leave the machine as it was, and does what it starts keep its promises?

The stack's own Postgres is looked at from outside: who runs it, what listens, who may enter,
what survives a stop, and whether any folder that was there before has changed its mode.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pgannex_server.host import owner, place, processes, snapshot
from teststack import Leg, TestStack

ROOT = Path(__file__).resolve().parents[2]
Modes = dict[Path, tuple[int, int, int]]


def modes(*paths: Path) -> Modes:
    """Mode and owner of these folders and of all above them."""
    found: Modes = {}
    for path in paths:
        for folder in (path, *path.parents):
            if folder.exists():
                status = folder.stat()
                found[folder] = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    return found


def everywhere() -> Modes:
    """The folders that setting up passes through on this machine."""
    here = place.find(create=True)
    return modes(ROOT, here.base.parent, Path(sys.prefix), Path(sys.base_prefix), Path.home(), Path("/tmp"))


@pytest.fixture(scope="module")
def fresh() -> Iterator[tuple[TestStack, Modes]]:
    """A stack of this module's own, and the modes before it was started."""
    before = everywhere()
    started = TestStack.start(Leg(18))
    try:
        yield started, before
    finally:
        started.remove()
    assert not started.stack.state.folder.exists()


def test_no_folder_of_others_changes_its_mode(fresh: tuple[TestStack, Modes]) -> None:
    _, before = fresh
    after = everywhere()
    assert {path: after[path] for path in before} == before


def test_one_user_without_rights_runs_everything(fresh: tuple[TestStack, Modes]) -> None:
    started, _ = fresh
    mine = owner.find()
    assert mine.uid != 0
    postmaster = int((started.stack.state.data / "postmaster.pid").read_text().split()[0])
    for pid in (postmaster, started.server_pid):
        fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert set(fields["Uid"].split()) == {str(mine.uid)}
        assert set(fields["Gid"].split()) == {str(mine.gid)}
        assert not set(fields["Groups"].split()) - {str(g) for g in os.getgrouplist(mine.name, mine.gid)}


def test_folders_are_closed_and_the_password_is_private(fresh: tuple[TestStack, Modes]) -> None:
    state = fresh[0].stack.state
    assert stat.S_IMODE(state.password_file.stat().st_mode) == 0o600
    assert len(state.password()) >= 20
    assert stat.S_IMODE(state.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(state.run.stat().st_mode) == 0o700
    assert not state.folder.stat().st_mode & 0o022
    assert state.config.stat().st_mode & 0o007 == 0


def test_tcp_is_local_and_wants_the_password(fresh: tuple[TestStack, Modes]) -> None:
    started, _ = fresh
    with psycopg.connect(started.url()) as db:
        row = db.execute("SHOW listen_addresses").fetchone()
        assert row == ("127.0.0.1",)
    port = started.stack.cluster.port
    for url in (
        f"postgresql://postgres@127.0.0.1:{port}/pgannex",
        f"postgresql://postgres:x@127.0.0.1:{port}/pgannex",
    ):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(url)


def test_the_socket_knows_its_users(fresh: tuple[TestStack, Modes]) -> None:
    started, _ = fresh
    with started.connect() as db:
        assert db.execute("SELECT session_user").fetchone() == ("postgres",)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(started.dsn.replace("user=postgres", "user=pgml_user"))


def test_nobody_is_trusted(fresh: tuple[TestStack, Modes]) -> None:
    with fresh[0].connect() as db:
        rows = db.execute("SELECT type, auth_method, error FROM pg_hba_file_rules").fetchall()
    assert rows
    assert all(error is None for _, _, error in rows)
    assert {method for _, method, _ in rows} == {"peer", "scram-sha-256"}


def test_data_and_port_survive_a_stop(fresh: tuple[TestStack, Modes]) -> None:
    started, _ = fresh
    with started.connect() as db:
        db.execute("CREATE TABLE kept AS SELECT 42 AS value")
    port, password = started.stack.cluster.port, started.stack.state.password()
    started.stack.down()
    assert not started.server_pid
    with pytest.raises(psycopg.OperationalError):
        started.connect()
    started.stack.up()
    assert (started.stack.cluster.port, started.stack.state.password()) == (port, password)
    with started.connect() as db:
        assert db.execute("SELECT value FROM kept").fetchone() == (42,)


def test_a_taken_port_is_replaced(fresh: tuple[TestStack, Modes]) -> None:
    started, _ = fresh
    port = started.stack.cluster.port
    started.stack.down()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        started.stack.up()
        assert started.stack.cluster.port != port
    with psycopg.connect(started.url()) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_starting_twice_starts_once(fresh: tuple[TestStack, Modes]) -> None:
    started, _ = fresh
    pid = started.server_pid
    started.stack.up()
    assert started.server_pid == pid


def test_doctor_is_content(fresh: tuple[TestStack, Modes]) -> None:
    started, _ = fresh
    command = [sys.executable, "-m", "pgannex_server", "doctor", "--json"]
    command += ["--config", str(started.stack.state.config), "-d", started.dsn]
    env = os.environ | {"PYTHONPATH": snapshot.python_path(place.source_root())}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    findings = json.loads(done.stdout)
    assert [f for f in findings if f["state"] == "fail"] == [], done.stderr
    assert "round trip" in {f["name"] for f in findings}
    assert done.returncode == 0


def test_doctor_names_a_server_that_is_down(fresh: tuple[TestStack, Modes]) -> None:
    started, _ = fresh
    started.stop_server()
    command = [sys.executable, "-m", "pgannex_server", "doctor", "--json"]
    command += ["--config", str(started.stack.state.config), "-d", started.dsn]
    env = os.environ | {"PYTHONPATH": snapshot.python_path(place.source_root())}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    started.start_server()
    failed = {f["name"]: f for f in json.loads(done.stdout) if f["state"] == "fail"}
    assert done.returncode == 1
    assert {"server", "round trip"} <= set(failed)
    assert all(f["mend"] for f in failed.values())


def test_a_model_is_added_listed_and_removed(fresh: tuple[TestStack, Modes]) -> None:
    started, _ = fresh
    config = started.stack.state.config
    before = config.read_text()
    env = os.environ | {"PYTHONPATH": snapshot.python_path(place.source_root())}

    def models(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pgannex_server", "models", *arguments, "--config", str(config)]
        return subprocess.run(command, capture_output=True, text=True, env=env)

    def offered(name: str, wanted: bool) -> None:
        end = time.monotonic() + 30
        while (name in str(started.get("/v1/models").body)) is not wanted:
            assert time.monotonic() < end, f"{name} offered is not {wanted}"
            time.sleep(0.02)

    assert models("add", "second", "--engine", "echo", "--alias", "zweitens").returncode == 0
    offered("zweitens", True)
    listed = json.loads(models("list", "--json").stdout)
    assert {"name": "second", "engine": "echo"}.items() <= next(
        m for m in listed if m["name"] == "second"
    ).items()
    again = models("add", "second")
    assert (again.returncode, "configured already" in again.stderr) == (1, True)
    wrong = models("add", "third", "--alias", "second")
    assert (wrong.returncode, '"second" names two models' in wrong.stderr) == (1, True)
    for name in ("../../etc/passwd", "/etc/passwd", "two\nlines", " ", "a b", "hub:"):
        refused = models("add", name)
        assert refused.returncode == 1, name
        assert "hint" in refused.stderr, refused.stderr
    assert models("add", "fourth", "--source", "a b").returncode == 1
    assert models("rm", "second").returncode == 0
    offered("zweitens", False)
    assert config.read_text().strip() == before.strip()


def test_install_into_a_server_by_its_connection(fresh: tuple[TestStack, Modes]) -> None:
    started, _ = fresh
    command = [sys.executable, "-m", "pgannex_server", "install", "-d", started.dsn, "--json"]
    env = os.environ | {"PYTHONPATH": snapshot.python_path(place.source_root())}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["host"] == "native"
    assert facts["unchanged"], (
        "the connection leads to the stack's own copy of Postgres, where all is installed"
    )
    control = started.stack.cluster.installation.extensions / "pgml.control"
    mine = control.read_text()
    control.write_text("comment = 'somebody else'\n")
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        assert done.returncode == 1
        assert "--force" in done.stderr
        assert control.read_text() == "comment = 'somebody else'\n"
    finally:
        control.write_text(mine)


@pytest.fixture
def closed_checkout() -> Iterator[Path]:
    """A checkout under a folder that only this user may enter, with lock files that pin nothing."""
    folder = Path.home() / f".pgannex-test-{os.getpid()}"
    folder.mkdir(mode=0o700)
    try:
        snapshot.copy_sources(ROOT, folder / "checkout")
        (folder / "checkout" / "locks").mkdir()
        for lock in (ROOT / "locks").glob("*.txt"):
            (folder / "checkout" / "locks" / lock.name).write_text("# nothing\n")
        shutil.copy(ROOT / "Makefile", folder / "checkout")
        yield folder / "checkout"
    finally:
        shutil.rmtree(folder)


def test_a_checkout_behind_a_closed_door_is_set_up_and_removed(closed_checkout: Path) -> None:
    base = place.default_base(closed_checkout)
    before = modes(closed_checkout.parent, Path(sys.base_prefix), Path("/tmp"))
    env = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", place.ENVIRONMENT}}
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}"
    command = [str(python), "tools/bootstrap.py", "run"]
    done = subprocess.run(command, cwd=closed_checkout, env=env, capture_output=True, text=True)
    try:
        assert done.returncode == 0, done.stderr
        mine = owner.find()
        pgannex = [str(base / "venv" / "bin" / "pgannex"), "--version"]
        told = subprocess.run(pgannex, cwd="/", capture_output=True, text=True, **mine.popen())
        assert told.returncode == 0, told.stderr
        assert told.stdout.startswith("pgannex ")
        assert {p: m for p, m in modes(*before).items() if p in before} == before
    finally:
        subprocess.run([str(python), "tools/clean.py"], cwd=closed_checkout, env=env, check=True)
    assert not base.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user cannot become another one")
def test_an_ordinary_user_needs_no_rights() -> None:
    mine, here = owner.find(), place.find()
    home = here.base / f"home-{os.getpid()}"
    home.mkdir(mode=0o755)
    os.chown(home, mine.uid, mine.gid)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PGANNEX_HOME": str(home / ("deep" * 22)),
        "LC_ALL": "C.UTF-8",
    }
    env["PYTHONPATH"] = snapshot.python_path(snapshot.copy_sources(ROOT, here.base / f"app-{os.getpid()}"))

    def pgannex(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(here.python), "-m", "pgannex_server", *arguments]
        return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, **mine.popen())

    try:
        up = pgannex("up", "--json")
        assert up.returncode == 0, up.stderr
        facts = json.loads(up.stdout)
        assert len(facts["frames_socket"]) <= 103
        assert processes.start_time(facts["server_pid"])
        told = pgannex("psql", "-X", "-A", "-t", "-c", "SELECT version FROM pgml.stat_server")
        assert told.returncode == 0, told.stderr
        refused = pgannex("reset")
        assert refused.returncode == 1
        assert "--yes" in refused.stderr
        assert pgannex("reset", "--yes").returncode == 0
        assert not processes.start_time(facts["server_pid"])
    finally:
        pgannex("reset", "--yes")
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(here.base / f"app-{os.getpid()}", ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs everything as themselves")
def test_the_owner_is_not_the_service_user() -> None:
    mine = owner.find()
    assert mine.name not in {"root", "postgres", "pgannex"}
    assert pwd.getpwnam(mine.name).pw_uid == mine.uid
