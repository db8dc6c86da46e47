"""The worker: `python -m pgannex_server.workers.process`, a socket as standard input.

One process, one model, one thread: it reads a frame, blocking, works, answers. The engine
is imported here and nowhere else. It ends when the server closes the socket, says STOP, or
dies. What it cannot survive (a crash, a hang, no memory) its parent notices.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
import time
import traceback
from collections.abc import Sequence

from pgannex_server.engines import catalog
from pgannex_server.engines.base import EmbedOptions, Engine, EngineError, ModelInfo, ModelSpec
from pgannex_server.workers import pipe
from pgannex_server.workers.child import Closed, Pipe, settle, take_socket

_WHOLE_BATCH = frozenset({"bad_argument", "unknown_verb", "out_of_memory", "engine_missing"})
"""Codes that would come for every text of the batch: no use in trying them one by one."""


def main() -> None:
    """Serve until the server is done with us."""
    settle()
    conn = Pipe(take_socket())
    with contextlib.suppress(Closed, BrokenPipeError, ConnectionResetError):
        _serve(conn)


def _serve(conn: Pipe) -> None:
    engine: Engine | None = None
    options: dict[bytes, EmbedOptions] = {}
    while True:
        type_, payload = conn.read()
        if type_ == pipe.EMBED and engine is not None:
            conn.write(_embed(engine, options, payload))
        elif type_ == pipe.LOAD:
            engine = _load(conn, pipe.unpack_load(payload))
        elif type_ == pipe.STOP:
            break
    if engine is not None:
        engine.close()


def _load(conn: Pipe, spec: ModelSpec) -> Engine | None:
    try:
        engine, info = load_best(spec)
    except EngineError as err:
        conn.write(pipe.pack_error(pipe.LOAD_FAILED, err))
        return None
    gc.freeze()
    conn.write(pipe.pack_ready(info))
    return engine


def load_best(spec: ModelSpec) -> tuple[Engine, ModelInfo]:
    """The first candidate engine that loads. Raises the last one's EngineError."""
    candidates = catalog.candidates(spec)
    for entry in candidates[:-1]:
        try:
            return _load_with(entry, spec)
        except EngineError as err:
            print(f"engine {entry.name} gives way for {spec.name}: {err.message}", file=sys.stderr)
    return _load_with(candidates[-1], spec)


def _load_with(entry: catalog.Entry, spec: ModelSpec) -> tuple[Engine, ModelInfo]:
    try:
        engine: Engine = getattr(importlib.import_module(entry.module), entry.cls)()
        return engine, engine.load(spec)
    except EngineError:
        raise
    except MemoryError as err:
        raise EngineError("out_of_memory", f'no memory to load model "{spec.name}"') from err
    except Exception as err:
        traceback.print_exc()
        raise EngineError(
            "load_failed",
            f'engine "{entry.name}" cannot load model "{spec.name}": {first_line(err)}',
            detail=f"{type(err).__name__} from {spec.source or spec.name}",
        ) from err


def first_line(err: BaseException) -> str:
    """The error's first line, or its class where it has no words."""
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:500]


def _embed(engine: Engine, known: dict[bytes, EmbedOptions], payload: bytes) -> bytes:
    raw_options, raw_texts = pipe.unpack_embed(payload)
    options = known.get(raw_options)
    if options is None:
        if len(known) >= 1000:
            known.clear()
        options = known[raw_options] = pipe.unpack_options(raw_options)
    started = time.perf_counter_ns()
    try:
        texts = [raw.decode() for raw in raw_texts]
        if "\0" not in "".join(texts):
            result = engine.embed(texts, options)
            elapsed = time.perf_counter_ns() - started
            return pipe.pack_result(result.dimensions, elapsed, result.tokens, result.vectors, ())
    except UnicodeDecodeError:
        pass  # answered text by text below
    except Exception as err:  # noqa: BLE001 - an engine may raise anything, and one text must not lose the rest
        failure = _failure(err)
        if failure.code in _WHOLE_BATCH:
            return pipe.pack_error(pipe.BATCH_FAILED, failure)
        if len(raw_texts) == 1:
            elapsed = time.perf_counter_ns() - started
            return pipe.pack_result(0, elapsed, (0,), b"", (_as_tuple(0, failure),))
    return _one_by_one(engine, options, raw_texts, started)


def _failure(err: Exception) -> EngineError:
    if isinstance(err, EngineError):
        return err
    if isinstance(err, MemoryError):
        return EngineError("out_of_memory", "no memory is left for the batch")
    traceback.print_exc()
    return EngineError("internal", f"the engine failed: {first_line(err)}", detail=type(err).__name__)


def _one_by_one(engine: Engine, options: EmbedOptions, raw_texts: Sequence[bytes], started: int) -> bytes:
    """Each text alone: the good ones get their vectors, the others say why not."""
    vectors: list[bytes | None] = []
    tokens: list[int] = []
    failures: list[pipe.Failure] = []
    dimensions = 0
    for i, raw in enumerate(raw_texts):
        try:
            result = engine.embed([_decode(raw)], options)
            dimensions = result.dimensions
            vectors.append(result.vectors)
            tokens.append(result.tokens[0])
        except Exception as err:  # noqa: BLE001 - as in _embed
            failures.append(_as_tuple(i, _failure(err)))
            vectors.append(None)
            tokens.append(0)
    void = bytes(4 * dimensions)
    flat = b"".join(void if v is None else v for v in vectors)
    return pipe.pack_result(dimensions, time.perf_counter_ns() - started, tokens, flat, failures)


def _as_tuple(index: int, error: EngineError) -> pipe.Failure:
    return index, error.code, error.message, error.detail, error.hint


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as err:
        raise EngineError("invalid_text", f"a text is not valid UTF-8 at byte {err.start}") from err
    if "\0" in text:
        raise EngineError("invalid_text", f"a text holds a NUL character at position {text.index(chr(0))}")
    return text


if __name__ == "__main__":
    main()
