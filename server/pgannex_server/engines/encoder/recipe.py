"""How does this model want to be used? Its own files say; this module reads them.

A sentence-transformers model lists its modules in modules.json: a Transformer, a Pooling,
and possibly Dense, LayerNorm and Normalize. A plain transformers encoder has no such file
and gets mean pooling without normalisation, which is what sentence-transformers does with
it too. Reads JSON only; no weights, no torch. What the tokenizer or config.json say about
lengths is joined in by `tokens`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgannex_server.engines.base import EngineError

POOLING_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")

_OLD_POOLING_KEYS = {  # in the order in which several are concatenated
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_TRANSFORMER_CONFIGS = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)
_HEADS = ("Dense", "LayerNorm", "Normalize")


@dataclass(frozen=True, slots=True)
class Head:
    """A module after the pooling: `kind` is Dense, LayerNorm or Normalize."""

    kind: str
    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a model's files say. `transformer` is the folder of weights and tokenizer.

    `max_tokens` 0: the files name no limit. `normalize`: the last module is Normalize; it
    is not in `heads`, because a call may switch it off. `truncate` is a dimension that the
    model's own configuration truncates to, 0 for none.
    """

    folder: Path
    transformer: Path
    pooling: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    heads: tuple[Head, ...] = ()
    normalize: bool = False
    max_tokens: int = 0
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str = ""
    truncate: int = 0


def read(folder: Path) -> Recipe:
    """The recipe of the model in `folder`. Raises EngineError(load_failed)."""
    if not folder.is_dir():
        raise refusal(f"there is no model folder {folder}", hint="check the model's source")
    modules = _modules(folder)
    settings = _json(folder / "config_sentence_transformers.json")
    prompts = {str(k): str(v or "") for k, v in (settings.get("prompts") or {}).items()}
    default = settings.get("default_prompt_name") or ""
    if default and default not in prompts:
        raise refusal(
            f'default prompt "{default}" of {folder} is not among its prompts: {", ".join(prompts)}'
        )
    transformer = modules[0][1]
    pooling = next((_json(path / "config.json") for kind, path in modules if kind == "Pooling"), {})
    heads = tuple(Head(kind, path, _json(path / "config.json")) for kind, path in modules if kind in _HEADS)
    normalize = bool(heads) and heads[-1].kind == "Normalize"
    body = _transformer_settings(transformer)
    return Recipe(
        folder=folder,
        transformer=transformer,
        pooling=_pooling_modes(pooling, folder),
        include_prompt=bool(pooling.get("include_prompt", True)),
        heads=heads[:-1] if normalize else heads,
        normalize=normalize,
        max_tokens=int(body.get("max_seq_length") or 0),
        lower_case=bool(body.get("do_lower_case")),
        prompts=prompts,
        default_prompt=str(default),
        truncate=int(settings.get("truncate_dim") or 0),
    )


def refusal(message: str, *, detail: str = "", hint: str = "") -> EngineError:
    """The error of a model that cannot be loaded."""
    return EngineError("load_failed", message, detail=detail, hint=hint)


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """(kind, folder) of each module in order; a plain model is one Transformer."""
    listed = _json_list(folder / "modules.json")
    if not listed:
        return [("Transformer", folder)]
    found = [
        (str(m.get("type", "")).rpartition(".")[2], _inside(folder, str(m.get("path", "")))) for m in listed
    ]
    kinds = [kind for kind, _ in found]
    served = ("Transformer", "Pooling", "Dropout", *_HEADS)
    for position, kind in enumerate(kinds):
        if kind not in served or (kind == "Transformer") != (position == 0):
            raise refusal(
                f'module {position} of {folder} is a "{kind}", which no engine serves there',
                hint=f"served: a Transformer first, then any of {', '.join(served[1:])}",
            )
    first_head = next((i for i, kind in enumerate(kinds) if kind in _HEADS), len(kinds))
    if "Pooling" in kinds[first_head:] or kinds.count("Pooling") > 1:
        raise refusal(f"{folder} pools after {kinds[first_head]}, which no engine serves")
    return found


def _inside(folder: Path, relative: str) -> Path:
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise refusal(f'modules.json of {folder} names "{relative}", which is outside of the folder')
    return folder / relative


def _pooling_modes(config: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    named = config.get("pooling_mode")
    if named is None:
        modes = tuple(mode for key, mode in _OLD_POOLING_KEYS.items() if config.get(key)) or ("mean",)
    else:
        modes = (named,) if isinstance(named, str) else tuple(named)
    unknown = [mode for mode in modes if mode not in POOLING_MODES]
    if unknown:
        raise refusal(
            f'pooling "{unknown[0]}" of {folder} is unknown', hint=f"known: {', '.join(POOLING_MODES)}"
        )
    return modes


def _transformer_settings(folder: Path) -> Mapping[str, Any]:
    for name in _TRANSFORMER_CONFIGS:
        if (folder / name).exists():
            return _json(folder / name)
    return {}


def _json(path: Path) -> Mapping[str, Any]:
    value = _parsed(path)
    return value if isinstance(value, dict) else {}


def _json_list(path: Path) -> list[Mapping[str, Any]]:
    value = _parsed(path)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _parsed(path: Path) -> object:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise refusal(f"cannot read {path}: {err}") from err
