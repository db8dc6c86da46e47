"""The bytes between server and worker, and what the worker makes of a bad text."""

from __future__ import annotations

import pytest
from pgannex_server.engines.base import EmbedOptions, EngineError, ModelInfo, ModelSpec
from pgannex_server.engines.echo import EchoEngine
from pgannex_server.workers import pipe, process


def payload(frame: bytes, type_: int) -> bytes:
    found, length = pipe.header_of(frame)
    assert found == type_
    assert len(frame) == pipe.HEADER_SIZE + length
    return frame[pipe.HEADER_SIZE :]


@pytest.mark.parametrize("texts", [[b"a"], [b""], [b"a", b"", "ü".encode() * 100], []])
def test_texts_and_options_arrive_as_they_were_sent(texts: list[bytes]) -> None:
    options = EmbedOptions("p", None, True, 7, (("sleep_ms", 1),))
    raw, got = pipe.unpack_embed(payload(pipe.pack_embed(pipe.pack_options(options), texts), pipe.EMBED))
    assert (pipe.unpack_options(raw), got) == (options, texts)


def test_spec_info_and_errors_arrive_as_they_were_sent() -> None:
    spec = ModelSpec("m", "echo", "/x", options={"dimensions": 3})
    assert pipe.unpack_load(payload(pipe.pack_load(spec), pipe.LOAD)) == spec
    info = ModelInfo("echo", "cpu", "float32", 3, 9, prompts=("query",))
    assert pipe.unpack_ready(payload(pipe.pack_ready(info), pipe.READY)) == info
    error = EngineError("load_failed", "no", detail="d", hint="h")
    got = pipe.unpack_error(payload(pipe.pack_error(pipe.LOAD_FAILED, error), pipe.LOAD_FAILED))
    assert (got.code, got.message, got.detail, got.hint) == ("load_failed", "no", "d", "h")


def test_a_result_of_the_wrong_size_is_noticed() -> None:
    good = payload(pipe.pack_result(2, 5, [3, 4], bytes(16), [(1, "internal", "m", "", "")]), pipe.RESULT)
    result = pipe.unpack_result(good)
    assert (result.dimensions, list(result.tokens), len(result.vectors)) == (2, [3, 4], 16)
    assert [tuple(f) for f in result.failures] == [(1, "internal", "m", "", "")]
    with pytest.raises(ValueError, match="bytes"):
        pipe.unpack_result(good + b"x")


def embed(texts: list[bytes], **extra: str | int) -> tuple[int, bytes]:
    engine = EchoEngine()
    engine.load(ModelSpec("m", "echo", options={"dimensions": 8}))
    options = pipe.pack_options(EmbedOptions(extra=tuple(extra.items())))
    request = payload(pipe.pack_embed(options, texts), pipe.EMBED)
    frame = process._embed(engine, {}, request)
    return pipe.header_of(frame)[0], frame[pipe.HEADER_SIZE :]


def test_one_bad_text_does_not_lose_the_others() -> None:
    type_, raw = embed([b"good", b"\xff", b"also good", b"nul\0"])
    result = pipe.unpack_result(raw)
    assert type_ == pipe.RESULT
    assert [(f[0], f[1]) for f in result.failures] == [(1, "invalid_text"), (3, "invalid_text")]
    alone = pipe.unpack_result(embed([b"also good"])[1])
    assert result.vectors[64:96] == alone.vectors


def test_a_text_that_the_engine_fails_on_does_not_lose_the_others() -> None:
    _type, raw = embed([b"good", b"poison"], fail="poison")
    assert [(f[0], f[1]) for f in pipe.unpack_result(raw).failures] == [(1, "internal")]


def test_a_failure_of_the_only_text_is_that_text_s() -> None:
    type_, raw = embed([b"poison"], fail="poison")
    assert type_ == pipe.RESULT
    assert [(f[0], f[1]) for f in pipe.unpack_result(raw).failures] == [(0, "internal")]


def test_options_that_no_text_can_have_fail_the_batch() -> None:
    request = payload(
        pipe.pack_embed(pipe.pack_options(EmbedOptions(dimensions=9)), [b"a", b"b"]), pipe.EMBED
    )
    engine = EchoEngine()
    engine.load(ModelSpec("m", "echo", options={"dimensions": 8}))
    frame = process._embed(engine, {}, request)
    assert pipe.header_of(frame)[0] == pipe.BATCH_FAILED
    assert pipe.unpack_error(frame[pipe.HEADER_SIZE :]).code == "bad_argument"
