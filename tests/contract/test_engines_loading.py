"""What an encoder engine refuses to load, and what it leaves behind when it has loaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pgannex_server.engines.base import EmbedOptions, Engine, EngineError, ModelInfo, ModelSpec

pytest.importorskip("torch", reason="torch is not installed: no encoder engine can be tested")
pytest.importorskip(
    "sentence_transformers", reason="sentence-transformers is not installed: it builds the models"
)

import tiny_encoders

ENGINES = ("torch", "openvino")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoders.build(tiny_encoders.TINY[6], tmp_path_factory.mktemp("loading"))


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    shutil.copytree(model, tmp_path / "copy")
    return tmp_path / "copy"


def engine_of(name: str) -> Engine:
    if name == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed: its engine is not tested")
        from pgannex_server.engines.openvino import OpenVinoEngine

        return OpenVinoEngine()
    from pgannex_server.engines.torch import TorchEngine

    return TorchEngine()


def load(name: str, folder: Path, **values: Any) -> tuple[Engine, ModelInfo]:
    values.setdefault("options", {"cache": ""})
    engine = engine_of(name)
    return engine, engine.load(ModelSpec("m", name, str(folder), threads=1, **values))


def refused(name: str, folder: Path, **values: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        load(name, folder, **values)
    assert caught.value.code == "load_failed"
    return caught.value


def edit(file: Path, change: Any) -> None:
    content = json.loads(file.read_text())
    file.write_text(json.dumps(change(content)))


@pytest.mark.parametrize("name", ENGINES)
def test_pickled_weights_are_refused_with_a_hint(name: str, copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    error = refused(name, copy)
    assert "no weights in safetensors" in error.message
    assert "pytorch_model.bin" in error.detail
    assert "save_pretrained" in error.hint


def test_pickled_heads_are_refused(copy: Path) -> None:
    dense = copy / "2_Dense" / "model.safetensors"
    dense.rename(dense.with_name("pytorch_model.bin"))
    assert "2_Dense has no model.safetensors" in refused("torch", copy).message


def test_what_the_files_say_wrongly_is_named(copy: Path) -> None:
    modules = json.loads((copy / "modules.json").read_text())
    cases = (
        ([*modules[:1], {**modules[1], "type": "sentence_transformers.models.LSTM"}], '"LSTM"'),
        ([*modules[:1], {**modules[1], "path": "../../elsewhere"}], "outside of the folder"),
        (modules[1:], "module 0"),
        ([modules[0], modules[2], modules[1]], "pools after Dense"),
    )
    for changed, words in cases:
        (copy / "modules.json").write_text(json.dumps(changed))
        assert words in refused("torch", copy).message
    (copy / "modules.json").write_text("{ not json")
    assert "cannot read" in refused("torch", copy).message


def test_an_unknown_pooling_is_refused(copy: Path) -> None:
    edit(copy / "1_Pooling" / "config.json", lambda c: {**c, "pooling_mode": "median"})
    error = refused("torch", copy)
    assert '"median"' in error.message
    assert "lasttoken" in error.hint


def test_an_activation_is_not_imported_from_anywhere(copy: Path) -> None:
    edit(copy / "2_Dense" / "config.json", lambda c: {**c, "activation_function": "os.system"})
    assert '"os.system"' in refused("torch", copy).message


def test_old_pooling_keys_are_read(copy: Path) -> None:
    old = {"word_embedding_dimension": 64, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    (copy / "1_Pooling" / "config.json").write_text(json.dumps(old))
    from pgannex_server.engines.encoder import recipe

    assert recipe.read(copy).pooling == ("cls", "mean")


def test_a_truncation_of_the_model_itself(copy: Path) -> None:
    edit(copy / "config_sentence_transformers.json", lambda c: {**c, "truncate_dim": 8})
    engine, info = load("torch", copy, dtype="float32")
    result = engine.embed(["a"], EmbedOptions())
    assert (info.dimensions, result.dimensions, len(result.vectors)) == (8, 8, 32)
    assert np.linalg.norm(np.frombuffer(result.vectors, "<f4")) == pytest.approx(1, abs=1e-5)
    assert engine.embed(["a"], EmbedOptions(dimensions=16)).dimensions == 16


@pytest.mark.parametrize("name", ENGINES)
def test_its_own_code_runs_only_if_the_configuration_says_so(name: str, copy: Path) -> None:
    ran = copy / "ran"
    (copy / "configuration_own.py").write_text(
        f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n"
        "from transformers import BertConfig\n\nclass OwnConfig(BertConfig):\n    model_type = 'own'\n"
    )
    changes = {"model_type": "own", "auto_map": {"AutoConfig": "configuration_own.OwnConfig"}}
    edit(copy / "config.json", lambda c: {**c, **changes})
    refused(name, copy)
    assert not ran.exists()


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    ("values", "words"),
    [({"dtype": "int3"}, '"int3"'), ({"device": "tpu"}, '"tpu"'), ({"device": "cuda:99"}, '"cuda:99"')],
)
def test_a_device_or_dtype_that_is_not_there(
    name: str, values: dict[str, str], words: str, model: Path, tmp_path: Path
) -> None:
    assert words in refused(name, model, **values, options={"cache": str(tmp_path / "cache")}).message


def test_no_folder() -> None:
    assert "no model folder" in refused("torch", Path("/nowhere/at/all")).message


@pytest.mark.parametrize("name", ENGINES)
def test_auto_settles_on_a_precision_and_remembers_it(name: str, model: Path, tmp_path: Path) -> None:
    options = {"cache": str(tmp_path / "cache")}
    first = load(name, model, options=options)[1]
    assert first.dtype in ("float32", "bfloat16")
    assert load(name, model, options=options)[1] == first
    assert list((tmp_path / "cache").rglob("probe.json")) or name == "openvino"


def test_a_converted_model_is_served_without_torch(model: Path, tmp_path: Path) -> None:
    """A process that finds the graph in the cache never imports torch or transformers."""
    pytest.importorskip("openvino", reason="openvino is not installed: its engine is not tested")
    cache = tmp_path / "cache"
    load("openvino", model, options={"cache": str(cache)})
    program = (
        "import sys\n"
        "from pgannex_server.engines.base import EmbedOptions, ModelSpec\n"
        "from pgannex_server.engines.openvino import OpenVinoEngine\n"
        "engine = OpenVinoEngine()\n"
        f"engine.load(ModelSpec('m', 'openvino', {str(model)!r}, options={{'cache': {str(cache)!r}}}))\n"
        "assert len(engine.embed(['a', 'b'], EmbedOptions()).tokens) == 2\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_changed_weights_are_converted_again(copy: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed: its engine is not tested")
    from pgannex_server.engines.encoder import graphs

    before = graphs.fingerprint(ModelSpec("m", "openvino", str(copy)))
    assert graphs.fingerprint(ModelSpec("m", "openvino", str(copy))) == before
    os.utime(copy / "model.safetensors", ns=(1, 1))
    assert graphs.fingerprint(ModelSpec("m", "openvino", str(copy))) != before


def test_two_workers_convert_once(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed: its engine is not tested")
    from concurrent.futures import ThreadPoolExecutor

    from pgannex_server.engines.encoder import graphs

    runs: list[str] = []

    def converter(request: str, source: str) -> None:
        runs.append(source)
        Path(json.loads(request)["target"], "facts.json").write_text("{}")

    monkeypatch.setattr(graphs, "run_converter", converter)
    spec = ModelSpec("m", "openvino", str(model))
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: graphs.graph_folder(spec, tmp_path), range(4)))
    assert (len(runs), len(folders)) == (1, 1)


def test_a_failed_conversion_leaves_nothing_and_names_torch(copy: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed: its engine is not tested")
    (copy / "model.safetensors").write_bytes(b"no weights at all")
    error = refused("openvino", copy, options={"cache": str(tmp_path / "cache")})
    assert "cannot load the weights" in error.message
    assert not [p for p in (tmp_path / "cache" / "openvino").iterdir() if p.is_dir()]


@pytest.mark.parametrize("given", [0, -1, "many", True])
def test_a_wrong_batch_size_is_refused(given: object, model: Path) -> None:
    assert "batch_tokens" in refused("torch", model, options={"cache": "", "batch_tokens": given}).message


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")],
)
def test_torch_s_threads_do_not_spin_for_long_unless_told_to(chosen: dict[str, str], expected: str) -> None:
    """As libgomp itself says it: the setting must be there before torch is."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", "import pgannex_server.engines.torch"],
        env={**plain, **chosen, "OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("this torch does not use libgomp for its threads")
    assert f"GOMP_SPINCOUNT = '{expected}'" in done.stderr
