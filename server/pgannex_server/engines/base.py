"""The contract between a worker process and an engine.

An engine is imported only inside a worker process. It loads one model and serves verbs on
it. It knows neither sockets nor Postgres nor batching across requests: it is handed a list
of texts that fits its budget and gives back vectors. One file per engine; `catalog.py`
maps the name in the configuration to the class.

Shapes: `vectors` is float32, row-major, little-endian, n × dimensions; `tokens` counts the
tokens of each text after truncation, special tokens included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

Option = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What to load. `source` is a local folder; the registry has resolved names to folders.

    `device` is "auto", "cpu", "cuda" or "cuda:N"; `dtype` is "auto", "float32" or
    "bfloat16"; `threads` 0 leaves the choice to the engine. `trust_remote_code` comes from
    the server's configuration file and from nowhere else.
    """

    name: str
    engine: str
    source: str = ""
    revision: str = ""
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    trust_remote_code: bool = False
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What was loaded, for pgml.stat_models, EXPLAIN and admission.

    `dimensions`: length of an embedding; `max_tokens`: texts are truncated to this;
    `memory_bytes`: resident weights; `prompts`: names of the model's own prompts.
    """

    engine: str
    device: str
    dtype: str
    dimensions: int
    max_tokens: int
    memory_bytes: int = 0
    pooling: str = ""
    prompts: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ("embed",)


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """Per-call options of the verb embed, already validated (see service).

    Requests with equal options may share a batch. `normalize` None means: as the model's
    own configuration says. `dimensions` truncates (Matryoshka), then normalises again if
    the vector was normalised. `prompt` is put before each text; `prompt_name` names one of
    the model's own prompts.
    """

    prompt: str | None = None
    prompt_name: str | None = None
    normalize: bool | None = None
    dimensions: int | None = None
    extra: tuple[tuple[str, Option], ...] = ()


@dataclass(frozen=True, slots=True)
class EmbedResult:
    """`vectors`: n × dimensions float32, row-major; `tokens`: one count per text."""

    vectors: bytes
    dimensions: int
    tokens: Sequence[int]


class EngineError(Exception):
    """A failure that the caller should see. `code` is a key of the wire's error table."""

    def __init__(self, code: str, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.detail, self.hint = code, message, detail, hint


class Engine(ABC):
    """One loaded model. Called from one thread of one worker process."""

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    """Importable modules without which this engine cannot run; their extra has its name."""

    @abstractmethod
    def load(self, spec: ModelSpec) -> ModelInfo:
        """Load the model, warm it up, say what it is. Raises EngineError(load_failed)."""

    @abstractmethod
    def embed(self, texts: Sequence[str], options: EmbedOptions) -> EmbedResult:
        """One vector per text, in order. Sorts and pads inside as it sees fit.

        Raises EngineError(bad_argument) for an option that the model does not take.
        """

    def close(self) -> None:  # noqa: B027 - most engines have nothing to free
        """Free what was loaded. The process ends soon after."""
