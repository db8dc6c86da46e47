"""The kwargs of embed: which there are, what they mean, which are taken and ignored.

Clients written for PostgresML pass what sentence-transformers takes; what would change the
vectors is honoured or refused, what only concerns where and how they are computed is the
server's business and ignored. See docs/reference for the table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pgannex_wire import WireError

from pgannex_server.config import ModelConfig
from pgannex_server.engines import catalog
from pgannex_server.engines.base import EmbedOptions

HONOURED = (
    "prompt", "prompt_name", "normalize_embeddings", "normalize", "truncate_dim", "dimensions",
    "revision", "trust_remote_code", "precision", "output_value",
)  # fmt: skip
IGNORED = frozenset(
    {
        "backend", "batch_size", "cache_folder", "chunk_size", "config_kwargs", "convert_to_numpy",
        "convert_to_tensor", "device", "local_files_only", "model_kwargs", "show_progress_bar", "token",
        "tokenizer_kwargs", "use_auth_token",
    }
)  # fmt: skip
_ONLY = {"precision": "float32", "output_value": "sentence_embedding"}


def parse(text: str) -> Mapping[str, Any]:
    """The kwargs as a mapping; NULL, "" and JSON null are no kwargs."""
    if not text:
        return {}
    try:
        kwargs = json.loads(text)
        if "\\u" in text:
            json.dumps(kwargs, ensure_ascii=False).encode()
    except UnicodeEncodeError as err:
        raise WireError("invalid_text", "kwargs holds half a surrogate pair") from err
    except (ValueError, RecursionError) as err:
        raise WireError("bad_argument", f"kwargs is not JSON: {err}", hint="pass a JSON object") from err
    if kwargs is None:
        return {}
    if not isinstance(kwargs, dict):
        raise WireError("bad_argument", f"kwargs is a JSON {type(kwargs).__name__}, not an object")
    return kwargs


def options_of(kwargs: Mapping[str, Any], model: ModelConfig, engine: str) -> EmbedOptions:
    """Validated options. Raises bad_argument, naming what there is, or not_permitted."""
    extra_names = catalog.call_options(engine)
    kwargs = _with_prompt(kwargs, model)
    for key in kwargs:
        if key not in HONOURED and key not in IGNORED and key not in extra_names:
            known = ", ".join(sorted((*HONOURED, *extra_names)))
            raise WireError("bad_argument", f'embed takes no kwarg "{key}"', hint=f"known: {known}")
    _check_model(kwargs, model)
    return EmbedOptions(
        prompt=_text(kwargs, "prompt"),
        prompt_name=_text(kwargs, "prompt_name"),
        normalize=_either(kwargs, "normalize_embeddings", "normalize", bool, "true or false"),
        dimensions=_dimensions(kwargs),
        extra=tuple(sorted((k, kwargs[k]) for k in kwargs if k in extra_names)),
    )


def _with_prompt(kwargs: Mapping[str, Any], model: ModelConfig) -> Mapping[str, Any]:
    """Models of the instructor family call their prompt an instruction."""
    if "instruction" not in kwargs or not model.name.startswith("hkunlp/instructor"):
        return kwargs
    rest = {key: value for key, value in kwargs.items() if key != "instruction"}
    return {"prompt": kwargs["instruction"], **rest}


def _check_model(kwargs: Mapping[str, Any], model: ModelConfig) -> None:
    revision = kwargs.get("revision")
    if revision is not None and revision != model.revision:
        raise WireError(
            "bad_argument",
            f'model "{model.name}" is served in revision "{model.revision}", not "{revision}"',
            hint="another revision is another model: add it to pgannex.toml under its own name",
        )
    if kwargs.get("trust_remote_code") and not model.trust_remote_code:
        raise WireError(
            "not_permitted",
            f'model "{model.name}" may not run remote code',
            hint=f'the server decides: [models."{model.name}"] trust_remote_code in pgannex.toml',
        )
    for key, only in _ONLY.items():
        if kwargs.get(key, only) not in (only, None):
            raise WireError("bad_argument", f"{key} = {kwargs[key]!r} is not served", hint=f'only "{only}"')


def _text(kwargs: Mapping[str, Any], key: str) -> str | None:
    value = kwargs.get(key)
    if value is not None and not isinstance(value, str):
        raise WireError("bad_argument", f"{key} = {json.dumps(value)} is not a string")
    return value


def _either(kwargs: Mapping[str, Any], first: str, second: str, kind: type, words: str) -> Any:
    """The value of whichever of two names was used; both must agree."""
    values = [(key, kwargs[key]) for key in (first, second) if kwargs.get(key) is not None]
    for key, value in values:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise WireError("bad_argument", f"{key} = {json.dumps(value)} is not {words}")
    if len(values) == 2 and values[0][1] != values[1][1]:
        raise WireError(
            "bad_argument", f"{first} and {second} contradict each other", hint="pass one of them"
        )
    return values[0][1] if values else None


def _dimensions(kwargs: Mapping[str, Any]) -> int | None:
    value: int | None = _either(kwargs, "truncate_dim", "dimensions", int, "a whole number")
    if value is not None and value < 1:
        raise WireError("bad_argument", f"dimensions = {value} is less than 1")
    return value
