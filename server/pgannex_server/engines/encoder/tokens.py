"""Texts to token ids, exactly as the model's tokenizer does, without its Python wrapper.

The wrapper of transformers costs more than the tokenizer itself, so the Rust tokenizer
inside is used directly. Truncation is the tokenizer's own. A very long text is cut before
it is tokenized, at a space, and only believed if what is left gave clearly more tokens
than the model takes: then the tokens kept are those of the whole text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from pgannex_server.engines.base import EngineError
from pgannex_server.engines.encoder.recipe import Recipe, refusal

CHARS_PER_TOKEN = 16
"""A first cut at this many characters per token that the model takes; English has about 4."""
SURPLUS = 1.25
"""A cut text must give this many times the tokens that are kept."""
_HUGE = 1 << 24
_OFFSET_POSITIONS = ("roberta", "camembert", "xlm-roberta", "mpnet", "longformer", "ibert", "data2vec-text")


class Codec(Protocol):
    """What is needed of a `tokenizers.Tokenizer`."""

    def encode(self, text: str) -> Any: ...
    def encode_batch_fast(self, texts: list[str]) -> Sequence[Any]: ...


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What an engine must know beside the tokenizer itself."""

    max_tokens: int
    pad_id: int
    special_ids: tuple[int, ...]
    cuts_left: bool = False


class Tokens:
    """A tokenizer with the model's own limits."""

    def __init__(self, codec: Codec, facts: TokenFacts) -> None:
        self._codec, self.facts = codec, facts
        self._first_cut = facts.max_tokens * CHARS_PER_TOKEN

    def of(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, special tokens included, at most `max_tokens`."""
        try:
            if len(texts) == 1:
                return [self._one(texts[0])]
            if self.facts.cuts_left or max(map(len, texts), default=0) <= self._first_cut:
                return [e.ids for e in self._codec.encode_batch_fast(list(texts))]
            return self._some_long(texts)
        except TypeError as err:  # the tokenizer's answer to a lone surrogate
            raise EngineError(
                "invalid_text", "a text is not valid unicode", hint="it holds a surrogate without its partner"
            ) from err

    def of_prompt(self, prompt: str) -> int:
        """Tokens that `prompt` puts before a text: a special token at its end is not one."""
        ids = self._one(prompt)
        return len(ids) - 1 if ids and ids[-1] in self.facts.special_ids else len(ids)

    def _some_long(self, texts: Sequence[str]) -> list[list[int]]:
        short = [text for text in texts if len(text) <= self._first_cut]
        done = iter(self._codec.encode_batch_fast(short))
        return [next(done).ids if len(text) <= self._first_cut else self._one(text) for text in texts]

    def _one(self, text: str) -> list[int]:
        cut = self._first_cut
        while cut < len(text) and not self.facts.cuts_left:
            encoded = self._codec.encode(text[: _cut_at_space(text, cut)])
            if _length(encoded) >= self.facts.max_tokens * SURPLUS:
                return list(encoded.ids)
            cut *= 4
        return list(self._codec.encode(text).ids)


def _cut_at_space(text: str, cut: int) -> int:
    """The last space before `cut`, if one is near; a word is cut only if it is that long."""
    space = text.rfind(" ", cut // 2, cut)
    return space if space > 0 else cut


def _length(encoded: Any) -> int:
    return len(encoded.ids) + sum(len(rest.ids) for rest in encoded.overflowing)


class SlowCodec:
    """The few tokenizers that are written in Python, in the shape of the fast ones."""

    def __init__(self, wrapper: Any, max_tokens: int) -> None:
        self._wrapper, self._max_tokens = wrapper, max_tokens

    def encode(self, text: str) -> Any:
        return self.encode_batch_fast([text])[0]

    def encode_batch_fast(self, texts: list[str]) -> Sequence[Any]:
        found = self._wrapper(texts, truncation=True, max_length=self._max_tokens)
        return [_Encoded(list(ids)) for ids in found["input_ids"]]


@dataclass(frozen=True, slots=True)
class _Encoded:
    ids: list[int]
    overflowing: tuple[Any, ...] = ()


def load(recipe: Recipe, config: Any, trust_remote_code: bool) -> Tokens:
    """The tokenizer in the recipe's folder. `config` is the transformers configuration."""
    from transformers import AutoTokenizer

    try:
        wrapper = AutoTokenizer.from_pretrained(
            str(recipe.transformer), trust_remote_code=trust_remote_code, local_files_only=True
        )
    except (OSError, ValueError, ImportError, KeyError) as err:
        raise refusal(f"no tokenizer could be loaded from {recipe.transformer}: {err}") from err
    facts = _facts(recipe, config, wrapper)
    codec = getattr(wrapper, "backend_tokenizer", None)
    if codec is None:
        return Tokens(SlowCodec(wrapper, facts.max_tokens), facts)
    if recipe.lower_case:
        _lower(codec)
    codec.no_padding()
    codec.enable_truncation(facts.max_tokens, direction="left" if facts.cuts_left else "right")
    return Tokens(codec, facts)


def save(tokens: Tokens, folder: Path) -> bool:
    """Keep tokenizer and facts for `restore`; False for a tokenizer that cannot be kept."""
    to_str = getattr(tokens._codec, "to_str", None)
    if to_str is None:
        return False
    (folder / "tokenizer.json").write_text(to_str(), encoding="utf-8")
    (folder / "tokens.json").write_text(json.dumps(asdict(tokens.facts)), encoding="utf-8")
    return True


def restore(folder: Path) -> Tokens:
    """What `save` kept, without transformers."""
    from tokenizers import Tokenizer

    facts = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
    facts["special_ids"] = tuple(facts["special_ids"])
    return Tokens(Tokenizer.from_file(str(folder / "tokenizer.json")), TokenFacts(**facts))


def _facts(recipe: Recipe, config: Any, wrapper: Any) -> TokenFacts:
    pad = wrapper.pad_token_id
    if pad is None:
        pad = wrapper.eos_token_id or 0
    return TokenFacts(
        max_tokens=_limit(recipe, config, int(wrapper.model_max_length)),
        pad_id=int(pad),
        special_ids=tuple(int(i) for i in wrapper.all_special_ids),
        cuts_left=wrapper.truncation_side == "left",
    )


def _limit(recipe: Recipe, config: Any, of_tokenizer: int) -> int:
    """The model's own limit, never more than the positions that it has."""
    wanted = recipe.max_tokens or of_tokenizer
    positions = int(getattr(config, "max_position_embeddings", 0) or 0)
    if positions > 0 and config.model_type in _OFFSET_POSITIONS:
        positions -= (config.pad_token_id or 0) + 1
    limits = [limit for limit in (wanted, positions) if 0 < limit < _HUGE]
    return min(limits, default=512)


def _lower(codec: Any) -> None:
    """sentence-transformers' own do_lower_case: lower case before what the tokenizer does."""
    from tokenizers import normalizers

    before = [normalizers.Lowercase()]
    codec.normalizer = normalizers.Sequence(before + ([codec.normalizer] if codec.normalizer else []))
