"""The server as its administrator meets it: start, sockets, reload, service manager, stop."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from frames_process import _START, ROOT, FramesServer, bulk, embed_open, serving, until
from pgannex_wire.frame import FrameType


def start(config: Path) -> subprocess.CompletedProcess[str]:
    """A server that is expected not to start."""
    path = os.pathsep.join(str(ROOT / part) for part in ("wire", "server"))
    return subprocess.run(
        [sys.executable, "-c", _START, str(config)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_socket_has_its_mode_from_the_first_moment() -> None:
    with serving(server='socket_mode = "0600"') as server:
        assert stat.S_IMODE(os.stat(server.socket).st_mode) == 0o600
    with serving() as server:
        assert stat.S_IMODE(os.stat(server.socket).st_mode) == 0o660


def test_a_live_server_s_socket_is_not_taken() -> None:
    with serving() as server:
        second = start(server.config)
        assert second.returncode == 1
        assert f"another server is alive on {server.socket}" in second.stderr
        with server.client() as client:
            client.embed("still there")


def test_a_dead_server_s_socket_is_replaced() -> None:
    with serving() as server:
        server.process.kill()
        server.process.wait()
        assert os.path.exists(server.socket)
        server.process = server.launch()
        server.wait_ready()
        with server.client() as client:
            client.embed("x")


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "s"
    file.write_text("precious")
    config = tmp_path / "c.toml"
    config.write_text(f'[server]\nsocket = "{file}"\n[http]\nsocket = ""')
    got = start(config)
    assert got.returncode == 1 and "is no socket" in got.stderr
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ('socket = "/nowhere/at/all"', "folder /nowhere/at does not exist"),
        ('socket_group = "no-such-group"', "no group no-such-group"),
        ('database_users = ["no-such-user"]', "none of them exists"),
    ],
)
def test_a_wrong_configuration_stops_the_start(tmp_path: Path, server: str, says: str) -> None:
    config = tmp_path / "c.toml"
    path = "" if server.startswith("socket =") else f'socket = "{tmp_path}/s"\n'
    config.write_text(f'[server]\n{path}{server}\n[http]\nsocket = ""')
    got = start(config)
    assert got.returncode == 1, got.stderr
    assert says in got.stderr and "Traceback" not in got.stderr
    assert not (tmp_path / "s").exists()


def test_sigterm_lets_running_requests_finish() -> None:
    with serving() as server, server.client() as running, server.client() as idle:
        idle.embed("x")
        running.send(embed_open("x", kwargs={"sleep_ms": 1500}))
        until("it runs", lambda: server.in_flight() == 1)
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(EOFError):
            idle.next()
        until("nobody may come in", lambda: not os.path.exists(server.socket))
        running.expect(FrameType.ROWS)
        running.expect(FrameType.END)
        with pytest.raises(EOFError):
            running.next()
        assert server.process.wait(30) == 0


def test_a_bulk_request_finishes_while_draining() -> None:
    with serving() as server, server.client() as client:
        client.embed("x")
        answers = []
        texts = [f"text {i}" for i in range(300)]
        thread = threading.Thread(
            target=lambda: answers.append(bulk(client, texts, 10, kwargs={"sleep_ms": 20}))
        )
        thread.start()
        until("it runs", lambda: server.in_flight() == 1)
        assert server.stop() == 0
        thread.join(30)
        assert [len(a.keys) for a in answers] == [300]


def test_what_does_not_finish_in_time_is_told_so() -> None:
    with serving(server="drain_s = 0.3") as server, server.client() as client:
        client.send(embed_open("x", kwargs={"sleep_ms": 600_000}))
        until("it runs", lambda: server.in_flight() == 1)
        server.process.send_signal(signal.SIGTERM)
        failure = client.failure()
        assert (failure.code, failure.sqlstate) == ("not_ready", "57P03")
        assert server.process.wait(30) == 0


def test_sighup_reads_the_models_again() -> None:
    with serving() as server, server.client() as client:
        client.embed("x")
        (pid,) = server.workers()
        server.write('[models.new]\nengine = "echo"\naliases = ["alias"]')
        server.process.send_signal(signal.SIGHUP)
        until("the new model is there", lambda: _has_model(server, "new"))
        assert len(client.embed("x", model="alias")) == 384
        assert server.workers() == [pid], "an unchanged model was restarted"
        server.write("[limits]\nqueue = 'many'")
        server.process.send_signal(signal.SIGHUP)
        until("the mistake is logged", lambda: "stays as it was" in server.log.read_text())
        assert len(client.embed("x", model="new")) == 384
        server.write("")
        server.process.send_signal(signal.SIGHUP)
        until("the model is gone", lambda: not _has_model(server, "new"))
        client.send(embed_open("x", model="new"))
        assert client.failure().code == "unknown_model"


def _has_model(server: FramesServer, name: str) -> bool:
    return any(row["model"] == name for row in server.rows("stat_models", "model"))


def test_a_request_of_a_changed_model_ends_with_the_old_one() -> None:
    with serving('[models.m]\nengine = "echo"') as server, server.client() as client:
        client.send(embed_open("x", model="m", kwargs={"sleep_ms": 1000}))
        until("it runs", lambda: server.in_flight() == 1)
        server.write('[models.m]\nengine = "echo"\noptions = { dimensions = 8 }')
        server.process.send_signal(signal.SIGHUP)
        with server.client() as other:
            until("the change is seen", lambda: len(other.embed("x", model="m")) == 8)
        assert len(client.expect(FrameType.ROWS).payload) > 1536
        client.expect(FrameType.END)
        assert len(client.embed("y", model="m")) == 8


def test_the_service_manager_hears_how_we_are() -> None:
    with tempfile.TemporaryDirectory(prefix="pgannex-") as folder:
        path = str(Path(folder) / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(30)
            heard: list[str] = []

            def hears(word: str) -> None:
                while not any(word in line for line in heard):
                    heard.append(manager.recv(4096).decode())

            with serving(environ={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}) as server:
                hears("READY=1")
                with server.client() as client:
                    client.embed("ready means that it answers")
                hears("WATCHDOG=1")
                heard.clear()
                server.process.send_signal(signal.SIGHUP)
                hears("RELOADING=1")
                assert any("MONOTONIC_USEC=" in line for line in heard)
                hears("READY=1")
                server.process.send_signal(signal.SIGTERM)
                hears("STOPPING=1")
                assert server.process.wait(30) == 0


def test_the_parent_never_imports_an_engine_s_library() -> None:
    with serving() as server, server.client() as client:
        client.embed("x")
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        assert "libtorch" not in maps and "openvino" not in maps and "numpy" not in maps
