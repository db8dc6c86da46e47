"""The echo engine keeps the engine contract: shapes, determinism, unit length, options."""

from __future__ import annotations

from array import array

import pytest
from pgannex_server.engines.base import EmbedOptions, EngineError, ModelSpec
from pgannex_server.engines.echo import EchoEngine

PLAIN = EmbedOptions()


def engine(**options: int | str) -> EchoEngine:
    made = EchoEngine()
    made.load(ModelSpec("echo", "echo", options=options))
    return made


def rows(vectors: bytes, dimensions: int) -> list[array[float]]:
    return [array("f", vectors[i : i + 4 * dimensions]) for i in range(0, len(vectors), 4 * dimensions)]


def test_vectors_are_deterministic_distinct_and_of_unit_length() -> None:
    result = engine().embed(["a", "b", "a", ""], PLAIN)
    a, b, again, empty = rows(result.vectors, result.dimensions)
    assert result.dimensions == 384 == len(a)
    assert a == again != b != empty
    for row in (a, b, empty):
        assert sum(x * x for x in row) == pytest.approx(1.0, abs=1e-6)


def test_a_text_s_vector_does_not_depend_on_its_batch() -> None:
    texts = [f"text {i}" for i in range(20)]
    together = engine().embed(texts, PLAIN).vectors
    assert together == b"".join(engine().embed([text], PLAIN).vectors for text in texts)


def test_tokens_are_words_and_two_up_to_the_limit() -> None:
    assert list(engine(max_tokens=5).embed(["", "one two", "a b c d e f"], PLAIN).tokens) == [2, 4, 5]


def test_options_of_a_call() -> None:
    e = engine(dimensions=20)
    assert e.embed(["x"], EmbedOptions(prompt="p ")).vectors == e.embed(["p x"], PLAIN).vectors
    assert e.embed(["x"], EmbedOptions(prompt_name="query")).vectors == e.embed(["query: x"], PLAIN).vectors
    short = rows(e.embed(["x"], EmbedOptions(dimensions=5)).vectors, 5)[0]
    assert sum(x * x for x in short) == pytest.approx(1.0, abs=1e-6)
    raw = rows(e.embed(["x"], EmbedOptions(normalize=False)).vectors, 20)[0]
    assert {abs(x) for x in raw} == {1.0}


@pytest.mark.parametrize("options", [EmbedOptions(dimensions=400), EmbedOptions(prompt_name="nope")])
def test_what_it_does_not_take_is_refused(options: EmbedOptions) -> None:
    with pytest.raises(EngineError) as caught:
        engine().embed(["x"], options)
    assert caught.value.code == "bad_argument"


def test_it_can_be_told_not_to_load() -> None:
    with pytest.raises(EngineError) as caught:
        engine(fail_load="on purpose")
    assert caught.value.code == "load_failed"
