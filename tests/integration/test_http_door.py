"""The HTTP door beside its verbs: who may call, ids, unknown routes, limits, health, metrics."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_process import KEY, OTHER_KEY, HttpServer
from prometheus_client.parser import text_string_to_metric_families

MODELS = """
[limits]
queue = 2

[models.crowded]
engine = "echo"
options = { sleep_ms = 1500, dimensions = 8 }
"""


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with HttpServer(MODELS, http="max_body_bytes = 100_000") as running:
        yield running


def _embed(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/v1/embeddings", json={"model": "echo", "input": "a", **fields})


def test_without_a_key_tcp_answers_401(server: HttpServer) -> None:
    for key in (None, "sk-wrong", f"{KEY}x", KEY[:-1]):
        with server.tcp(key) as client:
            for answer in (
                _embed(client),
                client.get("/v1/models"),
                client.get("/metrics"),
                client.get("/nothing"),
            ):
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["error"]["type"] == "authentication_error"


def test_a_key_in_another_scheme_is_no_key(server: HttpServer) -> None:
    with server.tcp(None) as client:
        answer = client.get("/v1/models", headers={"Authorization": f"Basic {KEY}"})
        assert answer.status_code == 401


def test_each_key_opens_tcp(server: HttpServer) -> None:
    for key in (KEY, OTHER_KEY):
        with server.tcp(key) as client:
            assert _embed(client).status_code == 200


def test_health_ready_and_version_need_no_key(server: HttpServer) -> None:
    with server.tcp(None) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/ready").json() == {"status": "ready"}
        assert client.get("/version").json()["version"]


def test_the_socket_has_the_configured_mode(server: HttpServer) -> None:
    assert stat.S_IMODE(os.stat(server.socket).st_mode) == 0o660


def test_models_and_one_model(server: HttpServer) -> None:
    with server.unix() as client:
        listed = client.get("/v1/models").json()
        assert listed["object"] == "list"
        assert {m["id"] for m in listed["data"]} == {"echo", "crowded"}
        one = client.get("/v1/models/echo").json()
        assert (one["id"], one["object"], one["owned_by"]) == ("echo", "model", "pgannex")
        assert _embed(client).status_code == 200
        loaded = client.get("/v1/models/echo").json()
        assert (loaded["state"], loaded["engine"], loaded["dimensions"]) == ("ready", "echo", 384)
        missing = client.get("/v1/models/org/none")
        assert missing.status_code == 404
        assert missing.json()["error"]["code"] == "unknown_model"
        assert "org/none" in missing.json()["error"]["message"]


def test_unknown_routes_and_methods_have_openais_shape(server: HttpServer) -> None:
    with server.unix() as client:
        for method, path, status in (
            ("GET", "/nothing", 404),
            ("POST", "/v1/chat/completions", 404),
            ("GET", "/v1/embeddings", 405),
            ("DELETE", "/v1/models", 405),
        ):
            answer = client.request(method, path)
            assert answer.status_code == status, path
            assert set(answer.json()["error"]) == {"message", "type", "code", "param"}
            assert answer.json()["error"]["code"] == "unknown_route"
        assert client.get("/v1/embeddings").headers["allow"] == "POST"


def test_openapi_describes_embeddings(server: HttpServer) -> None:
    with server.unix() as client:
        paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/embeddings", "/v1/models", "/health", "/ready", "/metrics", "/version"} <= set(paths)


def test_request_id_is_echoed_or_made(server: HttpServer) -> None:
    with server.unix() as client:
        assert _embed(client).headers["x-request-id"] != _embed(client).headers["x-request-id"]
        for path in ("/v1/embeddings", "/health", "/nothing"):
            answer = client.get(path, headers={"X-Request-Id": "trace-42"})
            assert answer.headers["x-request-id"] == "trace-42"
        odd = client.get("/health", headers={"X-Request-Id": "a b" + "x" * 200})
        assert odd.headers["x-request-id"].startswith("req-")


def test_too_large_with_and_without_a_length(server: HttpServer) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(200):
            yield b"x" * 1000

    with server.unix() as client:
        for content in (b"x" * 200_000, parts()):
            answer = client.post("/v1/embeddings", content=content)
            assert answer.status_code == 413
            assert answer.json()["error"]["code"] == "too_large"
        assert _embed(client).status_code == 200


def test_a_claimed_length_is_refused_before_it_is_sent(server: HttpServer) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(server.socket)
        raw.settimeout(60)
        raw.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


@pytest.fixture(scope="module", params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest) -> Iterator[HttpServer]:
    """A server that reads HTTP with one parser or with the other."""
    with HttpServer(without=("httptools",) if request.param == "h11" else ()) as running:
        yield running


@pytest.mark.parametrize(
    "claims",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    ],
)
def test_a_body_with_two_ends_is_refused_and_nothing_behind_it_is_read(
    parser: HttpServer, claims: bytes
) -> None:
    """A proxy that finds the other end would take what follows for somebody's next request."""
    hidden = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = b""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(parser.socket)
        raw.settimeout(60)
        raw.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\n" + claims + b"\r\n\r\n0\r\n\r\n" + hidden)
        with contextlib.suppress(ConnectionResetError):
            while data := raw.recv(4096):
                answer += data
    assert re.match(rb"HTTP/1\.1 (400|501) ", answer), answer
    assert b"connection: close" in answer.lower()
    assert answer.count(b"HTTP/1.1 ") == 1, "what lay behind it was answered"
    with parser.unix() as client:
        assert _embed(client).status_code == 200


def test_connections_that_ask_nothing_take_none_from_postgres() -> None:
    with HttpServer(http="max_connections = 20") as running, contextlib.ExitStack() as held:
        for _ in range(20):
            half = held.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            half.sendall(b"GET /health HTTP/1.1\r\nHo")
        answer = b""
        with socket.create_connection(("127.0.0.1", running.port), timeout=60) as one_more:
            while data := one_more.recv(4096):
                answer += data
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"max_connections" in answer
        half.sendall(b"st: x\r\n\r\n")
        half.settimeout(60)
        assert half.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_the_server_may_open_as_many_files_as_it_is_allowed(server: HttpServer) -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    soft, _hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    assert soft == resource.RLIM_INFINITY or soft >= wanted


def test_a_full_queue_answers_429(server: HttpServer) -> None:
    def one(_: int) -> httpx.Response:
        with server.unix() as client:
            return _embed(client, model="crowded")

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(one, range(12)))
    statuses = {a.status_code for a in answers}
    assert statuses == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"]["code"] == "overloaded"
            assert answer.json()["error"]["type"] == "rate_limit_error"


def test_a_dead_worker_answers_503_and_the_next_call_works(server: HttpServer) -> None:
    with server.unix() as client:
        dead = _embed(client, kwargs={"crash": True})
        assert dead.status_code == 503
        assert dead.json()["error"]["code"] == "worker_died"
        assert dead.headers["retry-after"]
        assert _embed(client).status_code == 200


def test_metrics_are_prometheus_text(server: HttpServer) -> None:
    before = server.metric("pgannex_model_texts_total", model_name="echo")
    with server.unix() as client:
        assert _embed(client, input=["a", "b", "c"]).status_code == 200
        client.get("/some/path/that/nobody/serves")
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {f.name: f for f in text_string_to_metric_families(answer.text)}
    assert server.metric("pgannex_model_texts_total", model_name="echo") == before + 3
    assert families["pgannex_model_request_duration_seconds"].type == "histogram"
    handlers = {s.labels["handler"] for s in families["pgannex_http_requests"].samples}
    assert "other" in handlers
    assert not any("nobody" in handler for handler in handlers)
    for name, family in families.items():
        assert name == name.lower()
        assert family.documentation, name
        if family.type == "counter":
            assert all(s.name.endswith("_total") for s in family.samples), name


def test_many_requests_on_one_connection(server: HttpServer) -> None:
    body = b'{"model": "echo", "input": "a"}'
    call = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(server.socket)
        raw.settimeout(60)
        raw.sendall(call * 20)  # all at once: the answers come in order
        got = b""
        while got.count(b'"total_tokens":3}}') < 20:
            part = raw.recv(1 << 16)
            assert part, got[-300:]
            got += part
    assert got.count(b"HTTP/1.1 200") == 20


def test_a_running_request_is_finished_before_the_server_stops() -> None:
    with HttpServer("[models.slow]\nengine = 'echo'\noptions = { sleep_ms = 700 }") as server:
        with server.unix() as client, ThreadPoolExecutor(1) as pool:
            assert _embed(client, model="slow").status_code == 200
            running = pool.submit(_embed, client, model="slow")
            server_is_busy(server)
            assert server.stop() == 0
            assert running.result().status_code == 200
        assert not Path(server.socket).exists()


def server_is_busy(server: HttpServer) -> None:
    server.await_metric("pgannex_requests_in_flight", 1)


def test_not_ready_until_the_pinned_model_is_loaded() -> None:
    pinned = "[models.pinned]\nengine = 'echo'\npin = true\noptions = { load_ms = 1500 }"
    with HttpServer(pinned) as server, server.unix() as client, server.tcp(None) as stranger:
        seen: list[httpx.Response] = []
        told: list[httpx.Response] = []
        while not seen or seen[-1].status_code != 200:
            seen.append(client.get("/ready"))
            told.append(stranger.get("/ready"))
            assert client.get("/health").status_code == 200
        assert seen[0].status_code == 503
        assert seen[0].headers["retry-after"]
        assert "pinned" in json.dumps(seen[0].json())
        assert told[0].status_code == 503
        assert told[0].json()["waiting_for"][0].startswith("a model is ")
        assert all("pinned" not in answer.text for answer in told)


def test_asking_often_whether_it_is_ready_costs_one_probe_a_second() -> None:
    with HttpServer("[models.pinned]\nengine = 'echo'\npin = true") as server, server.unix() as client:
        before = time.monotonic()
        while client.get("/ready").status_code != 200:
            time.sleep(0.02)
        for _ in range(300):
            assert client.get("/ready").status_code == 200
        seconds = time.monotonic() - before
        assert 1 <= server.metric("pgannex_model_requests_total", model_name="pinned") <= 3 + seconds


def test_keys_and_models_change_at_a_reload() -> None:
    with HttpServer() as server, server.tcp() as old, server.tcp("sk-new") as new:
        assert (old.get("/v1/models").status_code, new.get("/v1/models").status_code) == (200, 401)
        digest = hashlib.sha256(b"sk-new").hexdigest()
        text = re.sub(r"keys = .*", f'keys = {{ "{digest}" = "app" }}', server.config.read_text())
        server.config.write_text(text + "[models.later]\nengine = 'echo'\n")
        server.process.send_signal(signal.SIGHUP)
        while new.get("/v1/models").status_code != 200:
            assert old.get("/health").status_code == 200
        assert old.get("/v1/models").status_code == 401
        assert new.get("/v1/models/later").status_code == 200


def test_tcp_without_keys_refuses_to_start(tmp_path: Path) -> None:
    for http, word in (
        ('listen = "127.0.0.1:0"', "keys"),
        (f'listen = "0.0.0.0:0"\nkeys = {{ "{"ab" * 32}" = "app" }}', "allow_remote"),
    ):
        config = tmp_path / "pgannex.toml"
        config.write_text(f'[server]\nsocket = "{tmp_path}/f"\n[http]\nsocket = "{tmp_path}/h"\n{http}\n')
        code = (
            "import sys; from pgannex_server import app, config; sys.exit(app.run(config.load(sys.argv[1])))"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code, str(config)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode != 0
        assert word in ended.stderr
