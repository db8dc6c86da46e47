"""From the name of a model to a folder on this machine.

A `source` is one of

    hub:org/name             a model of the Hugging Face hub (also plain org/name)
    package:module/sub       a folder inside an installed Python package, for models that
                             are installed like libraries; the package is not imported
    /path, ./path, ~/path    a local folder

Hub models are looked up in the local cache first, which takes no network and no library; a
revision that is there is used as it is, so that one name keeps giving one vector. Only a
model that is missing is fetched, and only its safetensors, its JSON and its vocabulary.
Whether a folder holds a model that an engine can serve is the engine's question.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path

from pgannex_wire import WireError

from pgannex_server.config import ModelConfig, ServerConfig
from pgannex_server.engines.base import ModelSpec

FETCHED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""Never *.bin, *.pt or *.pkl: those are pickles, and reading one can run code."""
FETCHED_CODE = ("*.py",)
"""Only for a model whose own code the configuration trusts."""
LEFT_OUT = ("onnx/*", "openvino/*", "coreml/*", "original/*")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve(config: ModelConfig, server: ServerConfig) -> ModelSpec:
    """What the worker is told to load. May fetch, so it may block for minutes.

    Raises WireError(load_failed) with a hint that says what to do.
    """
    folder, revision = locate(config, server)
    return ModelSpec(
        name=config.name,
        engine=config.engine,
        source=str(folder),
        revision=revision,
        device=config.device,
        dtype=config.dtype,
        threads=config.threads,
        trust_remote_code=config.trust_remote_code,
        options=dict(config.options),
    )


def locate(config: ModelConfig, server: ServerConfig) -> tuple[Path, str]:
    """(folder, revision) of the model; the revision of a local folder is what was configured."""
    source = config.source or config.name
    kind, _, rest = source.partition(":")
    if kind == "package" and rest:
        return _in_package(rest), config.revision
    if kind != "hub" and source.startswith(("/", "./", "../", "~")):
        return _local(Path(source).expanduser()), config.revision
    name = rest if kind == "hub" else source
    if not _HUB_ID.fullmatch(name):
        raise WireError(
            "load_failed",
            f'source "{source}" of model "{config.name}" is neither a hub id nor a folder',
            hint="write hub:org/name, package:module/folder, or a path that begins with / . or ~",
        )
    return _on_hub(name, config, server)


def is_source(text: str) -> bool:
    """Whether `text` has the form of a source; nothing is looked up."""
    kind, _, rest = text.partition(":")
    if kind == "package":
        return bool(rest) and rest.isprintable()
    if kind != "hub" and text.startswith(("/", "./", "../", "~")):
        return text.isprintable()
    return _HUB_ID.fullmatch(rest if kind == "hub" else text) is not None


def cached(name: str, revision: str, cache: Path) -> Path | None:
    """The folder of a hub model in the local cache, if it is there and whole.

    Without a revision: what `main` pointed to when it was fetched, else the newest there.
    """
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshots = repository / "snapshots"
    commit = revision if _COMMIT.fullmatch(revision) else _reference(repository, revision or "main")
    if commit:
        candidates = [snapshots / commit]
    elif revision or not snapshots.is_dir():
        return None
    else:
        candidates = sorted(snapshots.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    return next((path for path in candidates if _is_whole(path)), None)


def cache_folder(server: ServerConfig) -> Path:
    """The Hugging Face cache that this server uses."""
    if server.model_cache:
        return Path(server.model_cache).expanduser()
    for variable, below in (("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser() / below
    return Path("~/.cache/huggingface/hub").expanduser()


def _in_package(source: str) -> Path:
    module, _, below = source.partition("/")
    try:
        found = importlib.util.find_spec(module) if module.isidentifier() else None
    except (ImportError, ValueError):
        found = None
    places = list(found.submodule_search_locations or ()) if found else []
    if not places:
        raise WireError(
            "load_failed",
            f'no Python package "{module}" is installed',
            hint="install it into the server's own environment, or give another source",
        )
    root = Path(places[0]).resolve()
    folder = (root / below).resolve()
    if not folder.is_relative_to(root):
        raise WireError("load_failed", f'"{below}" leads out of the package "{module}"')
    return _local(folder)


def _local(folder: Path) -> Path:
    try:
        if (folder / "config.json").exists() or (folder / "modules.json").exists():
            return folder.resolve()
        there = folder.is_dir()
    except PermissionError as err:
        raise WireError(
            "load_failed",
            f"the server may not read {folder}",
            hint=f"let the user with uid {os.getuid()} read it and enter the folders above it",
        ) from err
    what = "has neither config.json nor modules.json" if there else "is no folder"
    raise WireError("load_failed", f"{folder} {what}", hint="give the folder that holds the model's files")


def _on_hub(name: str, config: ModelConfig, server: ServerConfig) -> tuple[Path, str]:
    cache = cache_folder(server)
    folder = cached(name, config.revision, cache)
    if folder is None:
        if server.offline or os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
            raise _not_cached(name, config.revision, cache)
        folder = _fetch(name, config, cache)
    return folder, folder.name


def _not_cached(name: str, revision: str, cache: Path) -> WireError:
    which = f'model "{name}"' + (f' at revision "{revision}"' if revision else "")
    return WireError(
        "load_failed",
        f"{which} is not in {cache}, and the server is offline",
        hint=f"copy it into that cache from a machine with a network (hf download {name}), set "
        "[server] offline = false, or give a local folder as its source",
    )


def _fetch(name: str, config: ModelConfig, cache: Path) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as err:
        raise WireError(
            "engine_missing",
            f'model "{name}" is not in {cache}, and huggingface_hub, which would fetch it, is not installed',
            hint='install the extra: pip install "pgannex[torch]"',
        ) from err
    patterns = [*FETCHED, *(FETCHED_CODE if config.trust_remote_code else ())]
    try:
        found = snapshot_download(
            name,
            revision=config.revision or None,
            cache_dir=str(cache),
            allow_patterns=patterns,
            ignore_patterns=list(LEFT_OUT),
        )
    except Exception as err:
        raise WireError(
            "load_failed",
            f'model "{name}" could not be fetched: {_first_line(err)}',
            detail=type(err).__name__,
            hint="check its name, its revision and the network; a gated model needs HF_TOKEN in the "
            "server's environment",
        ) from err
    return Path(found)


def _first_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]


def _reference(repository: Path, revision: str) -> str:
    """The commit that a branch or tag pointed to when it was fetched, or ""."""
    file = (repository / "refs" / revision).resolve()
    if not file.is_relative_to((repository / "refs").resolve()):
        return ""
    try:
        commit = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return commit if _COMMIT.fullmatch(commit) else ""


def _is_whole(snapshot: Path) -> bool:
    """Not the remains of an interrupted download: configuration and every part of the weights.

    A folder with weights of another kind counts as whole: the engine says what is wrong.
    """
    if not (snapshot / "config.json").exists():
        return False
    index = snapshot / "model.safetensors.index.json"
    if not index.exists():
        return any(path.exists() for pattern in ("*.safetensors", "*.bin") for path in snapshot.glob(pattern))
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all((snapshot / str(shard)).exists() for shard in shards)
