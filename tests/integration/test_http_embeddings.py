"""POST /v1/embeddings against a real server process and the echo engine, on both sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from http_process import KEY, HttpServer

MODELS = """
[models."alias/target"]
engine = "echo"
options = { dimensions = 16 }
aliases = ["text-embedding-ada-002"]

[models.slow]
engine = "echo"
options = { sleep_ms = 400, dimensions = 8 }
"""


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with HttpServer(MODELS) as running:
        yield running


@pytest.fixture(params=["unix", "tcp"])
def client(request: Any, server: HttpServer) -> Iterator[httpx.Client]:
    with server.unix() if request.param == "unix" else server.tcp() as opened:
        yield opened


@pytest.fixture
def openai_client(request: Any, server: HttpServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0)


def _post(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/v1/embeddings", json={"model": "echo", **fields})


def _vector(item: dict[str, Any]) -> list[float]:
    value = item["embedding"]
    if isinstance(value, str):
        return array("f", base64.b64decode(value)).tolist()
    return array("f", value).tolist()


def test_answer_has_openais_shape(client: httpx.Client) -> None:
    answer = _post(client, input="a plain sentence").json()
    assert answer["object"] == "list"
    assert answer["model"] == "echo"
    assert answer["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    (item,) = answer["data"]
    assert item["object"] == "embedding"
    assert item["index"] == 0
    assert len(item["embedding"]) == 384


def test_base64_and_float_are_the_same_vectors(client: httpx.Client) -> None:
    texts = ["one", "two", "zwölf Boxkämpfer", "四"]
    floats = _post(client, input=texts, encoding_format="float").json()["data"]
    packed = _post(client, input=texts, encoding_format="base64").json()["data"]
    assert all(isinstance(item["embedding"], list) for item in floats)
    assert all(isinstance(item["embedding"], str) for item in packed)
    assert [_vector(item) for item in floats] == [_vector(item) for item in packed]


def test_a_list_is_answered_in_order_duplicates_included(client: httpx.Client) -> None:
    texts = [f"text {i % 7}" for i in range(100)]
    items = _post(client, input=texts).json()["data"]
    assert [item["index"] for item in items] == list(range(100))
    singles = [_vector(_post(client, input=text).json()["data"][0]) for text in texts[:7]]
    assert [_vector(item) for item in items] == [singles[i % 7] for i in range(100)]


def test_ten_thousand_texts(client: httpx.Client) -> None:
    texts = [f"{i} " + "x" * (i % 300) for i in range(10_000)]
    items = _post(client, input=texts, encoding_format="base64").json()["data"]
    assert [item["index"] for item in items] == list(range(10_000))
    for i in (0, 1, 4_999, 9_999):
        assert _vector(items[i]) == _vector(_post(client, input=texts[i]).json()["data"][0])


def test_dimensions(client: httpx.Client) -> None:
    assert len(_post(client, input="a", dimensions=12).json()["data"][0]["embedding"]) == 12
    refused = _post(client, input="a", dimensions=100_000)
    assert refused.status_code == 400
    assert "100000" in refused.json()["error"]["message"]


def test_kwargs_reach_the_engine(client: httpx.Client) -> None:
    plain = _vector(_post(client, input="query: a").json()["data"][0])
    prompted = _vector(_post(client, input="a", kwargs={"prompt_name": "query"}).json()["data"][0])
    assert plain == prompted


def test_empty_text_and_large_text(client: httpx.Client) -> None:
    assert len(_post(client, input=["", "x" * 1_000_000]).json()["data"]) == 2


def test_official_client_unchanged(openai_client: openai.OpenAI) -> None:
    default = openai_client.embeddings.create(model="echo", input=["a", "b"])
    floats = openai_client.embeddings.create(model="echo", input=["a", "b"], encoding_format="float")
    assert [array("f", d.embedding) for d in default.data] == [array("f", d.embedding) for d in floats.data]
    assert default.usage.prompt_tokens == 6
    assert default._request_id


def test_official_client_with_an_alias(openai_client: openai.OpenAI) -> None:
    answer = openai_client.embeddings.create(model="text-embedding-ada-002", input="a", user="someone")
    assert answer.model == "alias/target"
    assert len(answer.data[0].embedding) == 16


def test_official_asynchronous_client(server: HttpServer) -> None:
    async def all_at_once() -> list[openai.types.CreateEmbeddingResponse]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
            calls = [client.embeddings.create(model="echo", input=f"text {i}") for i in range(50)]
            return await asyncio.gather(*calls)

    answers = asyncio.run(all_at_once())
    assert len({tuple(a.data[0].embedding) for a in answers}) == 50


def test_official_client_raises_its_own_errors(server: HttpServer, openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        openai_client.embeddings.create(model="no-such-model", input="a")
    assert unknown.value.code == "unknown_model"
    assert unknown.value.param == "model"
    assert "alias/target" in str(unknown.value)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="sk-wrong").embeddings.create(
            model="echo", input="a"
        )


def test_fifty_at_once(server: HttpServer) -> None:
    def one(i: int) -> list[float]:
        with server.unix() as client:
            return _vector(_post(client, input=f"text {i % 10}").json()["data"][0])

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(one, range(200)))
    assert answers == answers[:10] * 20
    assert len({tuple(a) for a in answers}) == 10


BAD = [
    ({}, "input", "bad_argument"),
    ({"input": []}, "input", "bad_argument"),
    ({"input": 7}, "input", "bad_argument"),
    ({"input": {"a": 1}}, "input", "bad_argument"),
    ({"input": [1, 2, 3]}, "input", "bad_argument"),
    ({"input": [[1, 2], [3]]}, "input", "bad_argument"),
    ({"input": ["a", None]}, "input", "null_input"),
    ({"input": ["a", 1.5]}, "input", "bad_argument"),
    ({"input": "a\x00b"}, "input", "invalid_text"),
    ({"input": "a", "model": ""}, "model", "bad_argument"),
    ({"input": "a", "model": 3}, "model", "bad_argument"),
    ({"input": "a", "dimensions": 0}, "dimensions", "bad_argument"),
    ({"input": "a", "dimensions": True}, "dimensions", "bad_argument"),
    ({"input": "a", "dimensions": "8"}, "dimensions", "bad_argument"),
    ({"input": "a", "encoding_format": "hex"}, "encoding_format", "bad_argument"),
    ({"input": "a", "kwargs": []}, "kwargs", "bad_argument"),
    ({"input": "a", "temperature": 1}, "temperature", "bad_argument"),
    ({"input": "a", "kwargs": {"no_such_option": {"x": 1}}}, None, "bad_argument"),
]


@pytest.mark.parametrize(("fields", "param", "code"), BAD, ids=lambda v: json.dumps(v)[:40])
def test_bad_fields_are_named(client: httpx.Client, fields: Any, param: str | None, code: str) -> None:
    answer = _post(client, **fields)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert error["message"] == error["message"].strip() != ""


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"a"', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/embeddings", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_argument"


def test_a_lone_surrogate_is_no_text(client: httpx.Client) -> None:
    bodies = (
        b'{"model": "echo", "input": "\\ud800"}',
        b'{"model": "\\ud800", "input": "x"}',
        b'{"model": "echo", "input": "x", "kwargs": {"prompt": "\\ud800"}}',
    )
    for body in bodies:
        assert client.post("/v1/embeddings", content=body).json()["error"]["code"] == "invalid_text"


def test_more_texts_than_one_request_may_have(client: httpx.Client) -> None:
    answer = _post(client, input=["a"] * 20_001)
    assert answer.status_code == 413
    assert "20000" in answer.json()["error"]["message"]


def test_deadline_in_a_header(client: httpx.Client) -> None:
    late = client.post(
        "/v1/embeddings", json={"model": "slow", "input": "a"}, headers={"X-Request-Timeout": "0.05"}
    )
    assert late.status_code == 504
    assert late.json()["error"]["code"] == "deadline"
    for wrong in ("soon", "-1", "nan", "inf"):
        refused = client.post(
            "/v1/embeddings", json={"model": "echo", "input": "a"}, headers={"X-Request-Timeout": wrong}
        )
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "X-Request-Timeout"


@pytest.mark.parametrize("texts", ["one", ["many"] * 2000])
def test_a_client_that_goes_away_is_forgotten(server: HttpServer, texts: Any) -> None:
    body = json.dumps({"model": "echo", "input": texts, "kwargs": {"sleep_ms": 2000}}).encode()
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(server.socket)
        raw.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        server.await_metric("pgannex_requests_in_flight", 1)
        left = time.monotonic()
    server.await_metric("pgannex_requests_in_flight", 0)
    assert time.monotonic() - left < 30


def test_a_client_that_leaves_in_the_middle_of_its_body(server: HttpServer) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(server.socket)
        raw.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    with server.unix() as client:
        assert _post(client, input="still there").status_code == 200
