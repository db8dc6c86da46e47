"""Small random encoders of every architecture that is served, built on the spot.

Weights are random, tokenizers are trained on the sentences below, everything is saved as a
sentence-transformers folder with safetensors. The vectors mean nothing; that an engine
computes the same ones as sentence-transformers does is what the tests ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = (
    "which function removes trailing blanks from a string?",
    "the quick brown fox jumps over the lazy dog",
    "convert timestamp with time zone to time with time zone",
    "regular expression match, case insensitive; larger of two values",
    "number of rows and 12345 bytes, in hexadecimal notation: 0xdeadbeef",
    "statistics: number of scans done for table or index",
    "Größe, naïveté, 東京, привет",
)
HIDDEN = 64
WIDTHS: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "initializer_range": 0.1,
}


@dataclass(frozen=True)
class Tiny:
    """One model to build. `heads` are made when it is built, after the seed is set."""

    name: str
    family: str
    pooling: str | tuple[str, ...] = "mean"
    heads: Callable[[], list[Any]] = list
    max_tokens: int | None = 48
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    include_prompt: bool = True


def _dense() -> list[Any]:
    return [Dense(HIDDEN, 32), Normalize()]


def _odd_dense() -> list[Any]:
    return [
        LayerNorm(HIDDEN),
        Normalize(),
        Dense(HIDDEN, HIDDEN, bias=False, activation_function=torch.nn.GELU(), use_residual=True),
    ]


def _normalize() -> list[Any]:
    return [Normalize()]


PROMPTS = {"query": "find documents about: ", "document": ""}
TINY = (
    Tiny("bert-mean", "bert", "mean", _normalize),
    Tiny("bert-cls", "bert", "cls"),
    Tiny("bert-max", "bert", "max"),
    Tiny("bert-sqrt", "bert", "mean_sqrt_len_tokens", _normalize),
    Tiny("bert-weighted", "bert", "weightedmean"),
    Tiny("bert-mean-and-max", "bert", ("max", "mean"), _normalize),
    Tiny("bert-dense", "bert", "mean", _dense),
    Tiny("bert-odd-heads", "bert", "mean", _odd_dense),
    Tiny("bert-prompts", "bert", "mean", _normalize, prompts=PROMPTS, default_prompt="query"),
    Tiny("bert-prompt-left-out", "bert", "mean", _normalize, prompts=PROMPTS, include_prompt=False),
    Tiny("bert-no-limit", "bert", "mean", max_tokens=None),
    Tiny("roberta", "roberta", "mean", _normalize),
    Tiny("xlm-roberta", "xlm-roberta", "cls", _normalize),
    Tiny("mpnet", "mpnet", "mean", _normalize),
    Tiny("distilbert", "distilbert", "mean", _normalize),
    Tiny("modernbert", "modernbert", "cls", _normalize),
    Tiny("electra", "electra", "mean"),
    Tiny("t5", "t5", "mean", _normalize),
    Tiny("qwen3-last", "qwen3", "lasttoken", _normalize, prompts=PROMPTS),
    Tiny("qwen3-prompt-left-out", "qwen3", "mean", prompts=PROMPTS, include_prompt=False),
    Tiny("llama-last", "llama", "lasttoken"),
    Tiny("gpt2-weighted", "gpt2", "weightedmean"),
)


def build(tiny: Tiny, folder: Path) -> Path:
    """Write `tiny` into `folder` as sentence-transformers does, and say where."""
    torch.manual_seed(7)
    body = folder / "body"
    tokenizer = _tokenizer(tiny.family)
    _model(tiny.family, tokenizer).eval().save_pretrained(body, safe_serialization=True)
    tokenizer.save_pretrained(body)
    limit = {} if tiny.max_tokens is None else {"max_seq_length": tiny.max_tokens}
    transformer = Transformer(str(body), model_kwargs={"dtype": torch.float32}, **limit)
    pooling = Pooling(HIDDEN, tiny.pooling, include_prompt=tiny.include_prompt)
    whole = SentenceTransformer(
        modules=[transformer, pooling, *tiny.heads()],
        prompts=tiny.prompts or None,
        default_prompt_name=tiny.default_prompt,
        device="cpu",
    )
    target = folder / "model"
    whole.save_pretrained(str(target), create_model_card=False)
    return target


def build_plain(folder: Path) -> Path:
    """A BERT as transformers saves it, without any file of sentence-transformers."""
    torch.manual_seed(7)
    tokenizer = _tokenizer("bert")
    _model("bert", tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _model(family: str, tokenizer: PreTrainedTokenizerFast) -> Any:
    ids: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    if family in ("roberta", "xlm-roberta", "mpnet"):
        ids["max_position_embeddings"] = 130
    if family in ("qwen3", "llama"):
        ids |= {"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128}
    small = {
        "t5": {"d_model": HIDDEN, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
        "distilbert": {"dim": HIDDEN, "hidden_dim": 128, "n_layers": 2, "n_heads": 4},
        "gpt2": {"n_embd": HIDDEN, "n_layer": 2, "n_head": 4, "n_positions": 128},
        "electra": {**WIDTHS, "embedding_size": 32},
    }.get(family, WIDTHS)
    if family == "t5":
        ids["decoder_start_token_id"] = 0
    name = {"xlm-roberta": "xlm-roberta"}.get(family, family)
    return transformers.AutoModel.from_config(transformers.AutoConfig.for_model(name, **small, **ids))


def _tokenizer(family: str) -> PreTrainedTokenizerFast:
    if family in ("roberta", "modernbert", "qwen3", "llama", "gpt2"):
        return _byte_level(family)
    if family in ("xlm-roberta", "t5"):
        return _unigram(family)
    return _word_piece()


def _word_piece() -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    raw.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special))
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=raw, mask_token="[MASK]", model_max_length=128, **names)


def _byte_level(family: str) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, initial_alphabet=alphabet)
    raw.train_from_iterator(CORPUS, trainer)
    ends = [("<s>", 0), ("</s>", 2)]
    template = {"qwen3": "$A </s>", "llama": "<s> $A", "gpt2": "$A"}.get(family, "<s> $A </s>")
    raw.post_processor = processors.TemplateProcessing(single=template, special_tokens=ends)
    side = "left" if family in ("qwen3", "llama") else "right"
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", padding_side=side, model_max_length=128
    )


def _unigram(family: str) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.Unigram())
    raw.normalizer = normalizers.NFKC()
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    raw.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>")
    )
    template = "$A </s>" if family == "t5" else "<s> $A </s>"
    ends = [("<s>", 0), ("</s>", 2)]
    raw.post_processor = processors.TemplateProcessing(single=template, special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=128
    )
