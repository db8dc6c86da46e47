"""pgannex.toml as frozen dataclasses: what may be configured, its default, its meaning.

Each field carries its own documentation (`describe()` gives the table for the docs), and an
unknown key is an error that lists the known ones. Nothing here opens sockets, resolves
models or imports an engine; whether a model's files exist is the registry's question.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pgannex_server.engines.base import Option
from pgannex_server.errors import ConfigError

DEFAULT_PATH = Path("/etc/pgannex/pgannex.toml")
ENVIRONMENT = "PGANNEX_CONFIG"
DEFAULT_STATE = Path("/var/lib/pgannex")
STATE_ENVIRONMENT = "STATE_DIRECTORY"

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "kib": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mib": 1 << 20,
          "mb": 1 << 20, "g": 1 << 30, "gib": 1 << 30, "gb": 1 << 30}  # fmt: skip


def _opt(default: object, doc: str) -> Any:
    if isinstance(default, dict):
        return field(default_factory=dict, metadata={"doc": doc, "default": default})
    return field(default=default, metadata={"doc": doc, "default": default})


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`[server]`: the frames socket, who is a database, and the process itself."""

    socket: str = _opt("/run/pgannex/pgannex.sock", "path of the frames socket")
    socket_group: str = _opt("", "group that owns the sockets; empty leaves the process's own")
    socket_mode: int = _opt(0o660, 'mode of the sockets, as a string of octal digits: "0660"')
    database_users: tuple[str, ...] = _opt(
        ("postgres",), "names or uids of the users that Postgres runs as: only they may name a role"
    )
    test_models: bool = _opt(False, "offer the model `echo`, which needs no files")
    offline: bool = _opt(False, "never fetch a model from a hub: only what is on this machine")
    model_cache: str = _opt("", "folder of the Hugging Face cache; empty: HF_HOME or its default")
    drain_s: float = _opt(30.0, "how long a stopping server lets running requests finish")
    log_level: str = _opt("info", "debug, info, warning or error")
    state_dir: str = _opt(
        "",
        "where the server keeps its key; empty: $STATE_DIRECTORY (a service manager), else /var/lib/pgannex",
    )
    key_file: str = _opt("", "the key that artifacts are signed with; empty: artifact.key in state_dir")

    @property
    def state_path(self) -> Path:
        """The folder of what the server keeps."""
        given = self.state_dir or os.environ.get(STATE_ENVIRONMENT, "").split(":")[0]
        return Path(given) if given else DEFAULT_STATE

    @property
    def key_path(self) -> Path:
        """The file of the key for artifacts."""
        return Path(self.key_file) if self.key_file else self.state_path / "artifact.key"


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """`[http]`: the HTTP door. `keys` maps the sha256 (hex) of an API key to a role's name."""

    socket: str = _opt("/run/pgannex/http.sock", "path of the HTTP socket; empty: none")
    listen: str = _opt("", 'address and port, such as "127.0.0.1:8811"; needs [http.keys]')
    keys: Mapping[str, str] = _opt({}, "sha256 of an API key in hex = the role it stands for")
    allow_remote: bool = _opt(False, "let `listen` name an address that is not this machine's loopback")
    max_body_bytes: int = _opt(32 << 20, "largest body of a request")
    max_inputs: int = _opt(20_000, "most texts in one request")
    max_connections: int = _opt(500, "open connections of the HTTP door; 0: no limit")
    timeout_s: float = _opt(60.0, "time limit of a request that names none; 0: none")


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """`[limits]`: what keeps one caller from taking everything."""

    queue: int = _opt(512, "requests that may wait for one model; one more is refused as overloaded")
    queue_bytes: int = _opt(512 << 20, "bytes of text that may wait for one model")
    max_text_bytes: int = _opt(8 << 20, "longest single text")
    partial_bytes: int = _opt(
        512 << 20, "bytes of frames that are not whole yet; peers that are no database get a half of it"
    )
    max_connections: int = _opt(
        1000, "connections on the frames socket; a quarter of them, at least 16, is for databases alone"
    )
    window: int = _opt(16, "unanswered batches that one connection may have")
    batch_ms: int = _opt(40, "compute time that a batch aims at, so that an interactive request is next")
    start_s: float = _opt(600.0, "how long a model may take to load before its worker is killed")
    hang_s: float = _opt(60.0, "how long one batch may take before its worker counts as hung")
    idle_unload_s: float = _opt(0.0, "unload a model that was idle this long and is not pinned; 0: never")
    artifact_bytes: int = _opt(256 << 20, "memory for artifacts that databases have sent")
    memory: Mapping[str, int] = _opt(
        {}, 'budget per device, such as { cpu = "8GiB", "cuda:0" = "20GiB" }; unlisted: none'
    )


@dataclass(frozen=True, slots=True)
class TabularConfig:
    """`[tabular]`: models of tables, trained here and kept in the database."""

    predictors: int = _opt(1, "processes that predict")
    predictor_memory: int = _opt(
        1 << 30, "memory of one predictor for loaded models; those used longest ago make room"
    )
    predictor_threads: int = _opt(0, "threads of one predictor; 0: one for every four processors")
    interpreter: str = _opt("", "python of the predictors and the fits; empty: the server's own")
    preload: bool = _opt(True, "import the libraries that fit when the server starts, not at the first fit")
    fits: int = _opt(0, "fits that run at the same time; 0: one per two processors")
    fit_queue: int = _opt(16, "fits that may wait for their turn; one more is refused as overloaded")
    fit_memory: int = _opt(0, "memory that one fit may take; 0: half of the machine's")
    fit_threads: int = _opt(0, "threads of one fit; 0: the processors divided by `fits`")
    fit_time_s: float = _opt(
        0.0, "seconds that one fit may take, from its turn on, before it is ended with an error; 0: no limit"
    )
    job_keep_s: float = _opt(604_800.0, "how long a finished background job is kept")
    job_bytes: int = _opt(
        8 << 30, "artifacts of finished background jobs: when they take more, none is started"
    )
    job_spool_bytes: int = _opt(
        8 << 30, "rows, in files of state_dir, of background jobs that wait for their turn"
    )


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """`[models."name"]`: one model that may be used. What is not listed cannot be asked for."""

    name: str = _opt("", "set from the table's key")
    source: str = _opt("", "a local folder or a hub id; empty: the name")
    engine: str = _opt("auto", "auto, or an engine of the catalogue: echo, torch, openvino")
    revision: str = _opt("", "commit or tag of a hub model; empty: the newest that is in the cache")
    device: str = _opt("auto", "auto, cpu, cuda or cuda:N")
    dtype: str = _opt("auto", "auto, float32 or bfloat16")
    threads: int = _opt(0, "threads of the worker; 0 leaves the choice to the engine")
    instances: int = _opt(1, "worker processes behind the model's queue")
    pin: bool = _opt(False, "load at start, never evict")
    aliases: tuple[str, ...] = _opt((), "other names of the model")
    trust_remote_code: bool = _opt(False, "let the model's repository run its own Python code")
    interpreter: str = _opt("", "python of the worker; empty: the server's own")
    options: Mapping[str, Option] = _opt({}, "options of the engine")


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file. `path` is where it came from, None for the defaults."""

    server: ServerConfig = ServerConfig()
    http: HttpConfig = HttpConfig()
    limits: LimitsConfig = LimitsConfig()
    tabular: TabularConfig = TabularConfig()
    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    path: Path | None = None

    def find(self, name: str) -> ModelConfig | None:
        """The model called `name`, by its own name or an alias."""
        model = self.models.get(name)
        if model is not None:
            return model
        return next((m for m in self.models.values() if name in m.aliases), None)


_SECTIONS: dict[str, type] = {
    "server": ServerConfig,
    "http": HttpConfig,
    "limits": LimitsConfig,
    "tabular": TabularConfig,
}
ECHO = ModelConfig(name="echo", engine="echo")


def load(path: Path | str | None = None) -> Config:
    """Read `path`, else $PGANNEX_CONFIG, else the default path, else the defaults alone.

    A path that was named and is not there is an error; the default path may be missing.
    """
    named = path or os.environ.get(ENVIRONMENT)
    file = Path(named) if named else DEFAULT_PATH
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        if named:
            raise ConfigError(f"no configuration file {file}") from err
        return parse({})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise ConfigError(f"cannot read {file}: {err}") from err
    try:
        return replace(parse(data), path=file)
    except ConfigError as err:
        raise ConfigError(f"{file}: {err}") from err


def parse(data: Mapping[str, Any]) -> Config:
    """A Config from parsed TOML. Raises ConfigError for an unknown key or a wrong value."""
    _refuse_unknown(data, (*_SECTIONS, "models"), "section")
    parts: dict[str, Any] = {n: _section(n, cls, data.get(n, {})) for n, cls in _SECTIONS.items()}
    models = _models(data.get("models", {}), parts["server"].test_models)
    config = Config(**parts, models=MappingProxyType(models))
    _check(config)
    return config


def describe() -> Iterator[tuple[str, str, str, str]]:
    """(section, key, default, meaning) of every option, for the docs and for `doctor`."""
    for name, cls in (*_SECTIONS.items(), ('models."name"', ModelConfig)):
        for f in fields(cls):
            if not (cls is ModelConfig and f.name == "name"):
                yield name, f.name, _shown(f.name, f.metadata["default"]), f.metadata["doc"]


def _shown(key: str, value: object) -> str:
    if key == "socket_mode":
        return f'"{value:04o}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{v}"' for v in value) + "]"
    if isinstance(value, Mapping):
        return "{}"
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f'"{value}"'
        if isinstance(value, str)
        else str(value)
    )


def _models(tables: object, with_echo: bool) -> dict[str, ModelConfig]:
    models = {"echo": ECHO} if with_echo else {}
    if not isinstance(tables, Mapping):
        raise ConfigError("[models] holds one table per model")
    for name, table in tables.items():
        models[name] = replace(_section(f'models."{name}"', ModelConfig, table, skip="name"), name=name)
    return models


def _section(where: str, cls: type, table: object, skip: str = "") -> Any:
    if not isinstance(table, Mapping):
        raise ConfigError(f"[{where}] is not a table")
    known = {f.name: f for f in fields(cls) if f.name != skip}
    _refuse_unknown(table, known, f"option of [{where}]")
    return cls(
        **{key: _value(f"[{where}] {key}", known[key].metadata["default"], raw) for key, raw in table.items()}
    )


def _refuse_unknown(table: Mapping[str, Any], known: Any, what: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f'unknown {what} "{key}"; known: {", ".join(known)}')


def _value(where: str, default: object, raw: Any) -> Any:
    if where.endswith("socket_mode"):
        return _mode(where, raw)
    if isinstance(default, bool):
        return _typed(where, raw, bool, "true or false")
    if isinstance(default, int):
        return size_of(where, raw)
    if isinstance(default, float):
        return float(_typed(where, raw, (int, float), "a number"))
    if isinstance(default, str):
        return _typed(where, raw, str, "a string")
    if isinstance(default, tuple):
        return tuple(str(item) for item in _typed(where, raw, list, "a list"))
    table = _typed(where, raw, Mapping, "a table")
    if where.endswith(" memory"):
        return MappingProxyType({str(k): size_of(f"{where}.{k}", v) for k, v in table.items()})
    return MappingProxyType(dict(table))


def _typed(where: str, raw: Any, kind: Any, words: str) -> Any:
    if not isinstance(raw, kind) or (isinstance(raw, bool) and kind is not bool):
        raise ConfigError(f"{where} = {raw!r} is not {words}")
    return raw


def size_of(where: str, raw: object) -> int:
    """A count or a size: an integer, or a string such as "8GiB"."""
    if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
        return raw
    match = re.fullmatch(r"\s*(\d+)\s*([a-z]*)\s*", raw.lower()) if isinstance(raw, str) else None
    if match is None or match[2] not in _UNITS:
        raise ConfigError(f'{where} = {raw!r} is not a whole number or a size such as "8GiB"')
    return int(match[1]) * _UNITS[match[2]]


def _mode(where: str, raw: object) -> int:
    if isinstance(raw, str) and re.fullmatch(r"0?[0-7]{3}", raw):
        return int(raw, 8)
    raise ConfigError(f'{where} = {raw!r} is not a mode such as "0660"')


def _check(config: Config) -> None:
    seen: dict[str, str] = {}
    for model in config.models.values():
        for name in (model.name, *model.aliases):
            if name in seen:
                raise ConfigError(f'"{name}" names two models: {seen[name]} and {model.name}')
            seen[name] = model.name
        if model.instances < 1:
            raise ConfigError(f'[models."{model.name}"] instances = {model.instances} is less than 1')
    for digest, role in config.http.keys.items():
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or not isinstance(role, str) or not role:
            raise ConfigError(
                '[http.keys] maps the sha256 of a key (64 hex digits) to a role: "ab12…" = "app"'
            )
    _check_listen(config.http)
    if config.tabular.predictors < 1:
        raise ConfigError(f"[tabular] predictors = {config.tabular.predictors} is less than 1")
    if config.limits.window < 2:
        raise ConfigError(f"[limits] window = {config.limits.window} is less than 2")


def _check_listen(http: HttpConfig) -> None:
    if not http.listen:
        return
    address, port = address_of(http.listen)
    where = f'[http] listen = "{http.listen}"'
    if not http.keys:
        raise ConfigError(f"{where} needs at least one key in [http.keys]")
    try:
        loopback = address == "localhost" or ip_address(address).is_loopback
    except ValueError as err:
        raise ConfigError(f'{where} is not an address and a port such as "127.0.0.1:8811"') from err
    if not 0 <= port < 65536:
        raise ConfigError(f"{where} has port {port}")
    if not loopback and not http.allow_remote:
        raise ConfigError(f"{where} is reachable from other machines: that needs allow_remote = true")


def address_of(listen: str) -> tuple[str, int]:
    """("127.0.0.1", 8811) of "127.0.0.1:8811", ("::1", 8811) of "[::1]:8811"."""
    address, _, port = listen.rpartition(":")
    return address.removeprefix("[").removesuffix("]"), int(port) if port.isdigit() else -1
