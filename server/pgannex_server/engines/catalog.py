"""Which engines there are: strings only, so that asking costs no import.

A name in the configuration leads to a module, a class and the extra that installs what it
needs. `candidates` answers "auto": the engines to try for a model, best first. The classes
are imported by the worker process alone.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pgannex_server.engines.base import EngineError, ModelSpec


@dataclass(frozen=True, slots=True)
class Entry:
    """`requires` are importable modules, `devices` the kinds that the engine runs on,
    `call_options` what it takes per call beyond EmbedOptions' own fields."""

    name: str
    module: str
    cls: str
    extra: str = ""
    requires: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    call_options: tuple[str, ...] = ()


ENGINES: dict[str, Entry] = {
    e.name: e
    for e in (
        Entry(
            "echo",
            "pgannex_server.engines.echo",
            "EchoEngine",
            call_options=("artifact", "crash", "fail", "hang", "oom", "sleep_ms"),
        ),
        Entry(
            "openvino",
            "pgannex_server.engines.openvino",
            "OpenVinoEngine",
            "openvino",
            ("openvino", "torch", "transformers"),
        ),
        Entry(
            "torch",
            "pgannex_server.engines.torch",
            "TorchEngine",
            "torch",
            ("torch", "transformers"),
            ("cpu", "cuda"),
        ),
    )
}

AUTO = ("openvino", "torch")
"""Best first. An engine that is not installed, does not run on the device, or cannot load
the model gives way to the next."""


def is_installed(module: str) -> bool:
    """Whether `module` could be imported here, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def has_cuda_device() -> bool:
    """Whether an NVIDIA driver is there, as its device node tells."""
    return Path("/dev/nvidiactl").exists()


def entry(name: str) -> Entry:
    """The engine called `name`; an unknown name's hint lists the known ones."""
    found = ENGINES.get(name)
    if found is None:
        raise EngineError(
            "bad_argument", f'no engine is called "{name}"', hint=f"known: auto, {', '.join(ENGINES)}"
        )
    return found


def call_options(name: str) -> tuple[str, ...]:
    """What the engine takes per call beyond the common options; "auto" takes nothing more."""
    found = ENGINES.get(name)
    return found.call_options if found is not None else ()


def missing(entry: Entry, installed: Callable[[str], bool] = is_installed) -> tuple[str, ...]:
    """The modules that the engine needs and that are not there."""
    return tuple(module for module in entry.requires if not installed(module))


def candidates(
    spec: ModelSpec,
    installed: Callable[[str], bool] = is_installed,
    cuda: Callable[[], bool] = has_cuda_device,
) -> tuple[Entry, ...]:
    """The engines to try for `spec`, best first. Raises EngineError(engine_missing) if none."""
    if spec.engine != "auto":
        chosen = entry(spec.engine)
        lacking = missing(chosen, installed)
        if lacking:
            raise _not_installed(chosen, lacking)
        return (chosen,)
    on_cuda = spec.device.startswith("cuda") or (spec.device == "auto" and cuda())
    kind = "cuda" if on_cuda else "cpu"
    fitting = tuple(e for e in map(entry, AUTO) if kind in e.devices and not missing(e, installed))
    if not fitting:
        fallback = entry(AUTO[-1])
        raise _not_installed(fallback, missing(fallback, installed))
    return fitting


def _not_installed(chosen: Entry, lacking: tuple[str, ...]) -> EngineError:
    return EngineError(
        "engine_missing",
        f'engine "{chosen.name}" needs {", ".join(lacking)}, which is not installed',
        hint=f'install the extra: pip install "pgannex[{chosen.extra}]"',
    )
