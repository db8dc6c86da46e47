"""The kwargs of embed: honoured, ignored, refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pgannex_server.config import ModelConfig
from pgannex_server.engines.base import EmbedOptions
from pgannex_server.verbs import kwargs as kw
from pgannex_wire import WireError

MODEL = ModelConfig(name="m", revision="v1")


def options(model: ModelConfig = MODEL, engine: str = "torch", **kwargs: Any) -> EmbedOptions:
    return kw.options_of(kw.parse(json.dumps(kwargs)), model, engine)


def test_what_changes_the_vectors_is_honoured() -> None:
    got = options(prompt="p: ", normalize_embeddings=True, truncate_dim=64)
    assert got == EmbedOptions(prompt="p: ", normalize=True, dimensions=64)
    assert options(normalize=False, dimensions=8) == EmbedOptions(normalize=False, dimensions=8)
    assert options(prompt_name="query") == EmbedOptions(prompt_name="query")


def test_where_and_how_to_compute_is_the_server_s_business() -> None:
    ignored: dict[str, Any] = dict.fromkeys(kw.IGNORED, "x")
    assert options(**ignored, revision="v1", precision="float32") == EmbedOptions()


def test_an_instruction_is_a_prompt_for_instructor_models_only() -> None:
    instructor = ModelConfig(name="hkunlp/instructor-xl")
    with pytest.raises(WireError):
        options(instruction="represent: ")
    assert options(instructor, instruction="represent: ").prompt == "represent: "


@pytest.mark.parametrize(
    ("kwargs", "code", "says"),
    [
        ({"promt": "x"}, "bad_argument", 'no kwarg "promt"'),
        ({"prompt": 5}, "bad_argument", "prompt = 5 is not a string"),
        ({"normalize": 1}, "bad_argument", "is not true or false"),
        ({"dimensions": True}, "bad_argument", "is not a whole number"),
        ({"dimensions": 0}, "bad_argument", "less than 1"),
        ({"dimensions": 4, "truncate_dim": 5}, "bad_argument", "contradict"),
        ({"revision": "v2"}, "bad_argument", '"v1", not "v2"'),
        ({"trust_remote_code": True}, "not_permitted", "may not run remote code"),
        ({"precision": "int8"}, "bad_argument", "is not served"),
        ({"crash": True}, "bad_argument", 'no kwarg "crash"'),
    ],
)
def test_the_rest_is_refused(kwargs: dict[str, Any], code: str, says: str) -> None:
    with pytest.raises(WireError) as caught:
        options(**kwargs)
    assert caught.value.code == code
    assert says in caught.value.message


def test_remote_code_is_allowed_where_the_configuration_says_so() -> None:
    assert options(ModelConfig(name="m", trust_remote_code=True), trust_remote_code=True) == EmbedOptions()


@pytest.mark.parametrize("text", ["", "null", "{}"])
def test_no_kwargs_has_several_spellings(text: str) -> None:
    assert kw.parse(text) == {}


@pytest.mark.parametrize("text", ["[1]", "5", "{"])
def test_kwargs_must_be_an_object(text: str) -> None:
    with pytest.raises(WireError):
        kw.parse(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}", "bad_argument"),
        ('{"prompt": "\\ud800"}', "invalid_text"),
        ('{"\\ud800": 1}', "invalid_text"),
        ("[1", "bad_argument"),
    ],
)
def test_hostile_json_is_an_error_with_a_code(text: str, code: str) -> None:
    with pytest.raises(WireError) as caught:
        kw.parse(text)
    assert caught.value.code == code


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert kw.parse('{"prompt": "\\ud83d\\ude00"}') == {"prompt": "\U0001f600"}
