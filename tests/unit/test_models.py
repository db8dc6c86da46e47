"""A source leads to a folder: local, in a package, in the hub's cache, or fetched."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pgannex_server import models
from pgannex_server.config import ModelConfig, ServerConfig
from pgannex_wire import WireError

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)


def config(name: str = "m", **values: Any) -> ModelConfig:
    return ModelConfig(name=name, **values)


def snapshot(cache: Path, commit: str = COMMIT, ref: str = "main", name: str = "org/model") -> Path:
    repository = cache / f"models--{name.replace('/', '--')}"
    folder = repository / "snapshots" / commit
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    if ref:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / ref).write_text(commit)
    return folder


def offline(cache: Path) -> ServerConfig:
    return ServerConfig(offline=True, model_cache=str(cache))


def test_a_local_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    spec = models.resolve(
        config(source=str(tmp_path), revision="r", dtype="float32", options={"batch_tokens": 7}),
        ServerConfig(),
    )
    assert (spec.source, spec.revision, spec.dtype, spec.options) == (
        str(tmp_path), "r", "float32", {"batch_tokens": 7},
    )  # fmt: skip


@pytest.mark.parametrize(("made", "words"), [(False, "is no folder"), (True, "neither config.json")])
def test_a_folder_without_a_model(tmp_path: Path, made: bool, words: str) -> None:
    folder = tmp_path / "empty"
    if made:
        folder.mkdir()
    with pytest.raises(WireError, match=words) as caught:
        models.locate(config(source=str(folder)), ServerConfig())
    assert caught.value.code == "load_failed"


def test_a_package_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights_as_a_package" / "model"
    weights.mkdir(parents=True)
    (weights.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    (weights / "config.json").write_text("{}")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert models.locate(config(source="package:weights_as_a_package/model"), ServerConfig())[0] == weights
    assert "weights_as_a_package" not in sys.modules
    for wrong, words in (("weights_as_a_package/../..", "leads out of"), ("not_there/model", "not_there")):
        with pytest.raises(WireError, match=words):
            models.locate(config(source=f"package:{wrong}"), ServerConfig())


@pytest.mark.parametrize("source", ["hub:org/model", "org/model", ""])
def test_a_cached_hub_model_needs_no_network(tmp_path: Path, source: str) -> None:
    folder = snapshot(tmp_path)
    found = models.locate(config("org/model", source=source), offline(tmp_path))
    assert found == (folder, COMMIT)


def test_a_pinned_revision_is_that_revision(tmp_path: Path) -> None:
    snapshot(tmp_path)
    pinned = snapshot(tmp_path, OTHER, ref="v2")
    for revision in (OTHER, "v2"):
        assert models.locate(config("org/model", revision=revision), offline(tmp_path)) == (pinned, OTHER)
    for revision in ("c" * 40, "v3", "../../secret"):
        with pytest.raises(WireError, match="is not in"):
            models.locate(config("org/model", revision=revision), offline(tmp_path))


def test_the_newest_snapshot_serves_where_no_branch_is_known(tmp_path: Path) -> None:
    folder = snapshot(tmp_path, ref="")
    assert models.cached("org/model", "", tmp_path) == folder


def test_an_interrupted_download_does_not_count(tmp_path: Path) -> None:
    folder = snapshot(tmp_path)
    (folder / "model.safetensors").unlink()
    assert models.cached("org/model", "", tmp_path) is None
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "one.safetensors").write_bytes(b"")
    assert models.cached("org/model", "", tmp_path) is None
    (folder / "two.safetensors").write_bytes(b"")
    assert models.cached("org/model", "", tmp_path) == folder


def test_offline_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WireError) as caught:
        models.locate(config("org/model"), offline(tmp_path))
    assert caught.value.code == "load_failed"
    assert "hf download org/model" in caught.value.hint
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WireError, match="offline"):
        models.locate(config("org/model"), ServerConfig(model_cache=str(tmp_path)))


@pytest.mark.parametrize("source", ["hub:../x", "a/b/c", "no such thing", "package:", "-x/y"])
def test_what_is_no_source_is_refused(source: str) -> None:
    with pytest.raises(WireError, match="neither a hub id nor a folder"):
        models.locate(config(source=source), ServerConfig(offline=True))


def test_a_missing_model_is_fetched_without_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub of our own on this machine would need its whole protocol: the call is recorded."""
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: nothing fetches")
    calls: list[tuple[str, dict[str, Any]]] = []

    def snapshot_download(name: str, **arguments: Any) -> str:
        calls.append((name, arguments))
        return str(snapshot(tmp_path, ref=""))

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    server = ServerConfig(model_cache=str(tmp_path))
    found = models.locate(config("org/model", revision=COMMIT), server)
    assert found[1] == COMMIT
    name, arguments = calls[0]
    assert (name, arguments["revision"], arguments["cache_dir"]) == ("org/model", COMMIT, str(tmp_path))
    assert not any(p.endswith((".bin", ".pt", ".pkl", ".py")) for p in arguments["allow_patterns"])
    models.locate(config("org/model", revision=COMMIT), server)
    assert len(calls) == 1, "a cached revision is not fetched again"


def test_a_network_that_is_not_there_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: nothing fetches")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WireError, match="could not be fetched") as caught:
        models._fetch("org/model", config("org/model"), tmp_path)
    assert caught.value.code == "load_failed"
    assert "HF_TOKEN" in caught.value.hint
