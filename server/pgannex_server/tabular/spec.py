"""What a call of train asks for, checked: `TrainSpec.parse`.

Which question it answers: is this specification one that can be fitted, as far as can be said
without the rows and the libraries. Standard library only: the server parses it before it takes
a row. Whether a class takes a hyperparameter is `estimators.py`'s question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pgannex_wire import WireError

from pgannex_server.tabular.algorithms import ALGORITHMS, DEFAULTS, SUPERVISED, TASKS, Algorithm, for_task

SEED: Final = 42
"""Where the call names none."""

SAMPLINGS: Final = ("random", "last", "stratified", "first")
SEARCHES: Final = ("grid", "random")
RUNTIMES: Final = ("python", "rust")
ENCODINGS: Final = ("native", "target", "one_hot")
IMPUTATIONS: Final = ("error", "mean", "median", "mode", "min", "max", "zero")
SCALINGS: Final = ("preserve", "standard", "min_max", "max_abs", "robust")
_MAX_SEED: Final = 1 << 31
_MAX_NUMBER: Final = 1 << 53
_MAX_COMBINATIONS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the query. `pg_type` is the table's type, before any cast."""

    name: str
    pg_type: str
    nullable: bool = True
    label: bool = False
    position: int = 0
    array: bool = False

    @classmethod
    def of(cls, found: Mapping[str, Any] | Column) -> Column:
        """From JSON, or as it is."""
        if isinstance(found, Column):
            return found
        name = found.get("name")
        if not isinstance(name, str):
            raise _bad("a column has no name", "each of columns is {name, pg_type, label, array, …}")
        pg_type = str(found.get("pg_type") or "float8")
        return cls(
            name,
            pg_type,
            nullable=bool(found.get("nullable", True)),
            label=bool(found.get("label", False)),
            position=_position(name, found.get("position")),
            array=bool(found.get("array", False)) or pg_type.startswith("_") or pg_type.endswith("[]"),
        )


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """What is done to one column: encode, then impute, then scale. `ordinal`: the values in order."""

    encode: str = "native"
    impute: str = "error"
    scale: str = "preserve"
    ordinal: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        encode: Any = {"ordinal": list(self.ordinal)} if self.encode == "ordinal" else self.encode
        return {"encode": encode, "impute": self.impute, "scale": self.scale}

    @classmethod
    def of(cls, column: str, found: object) -> Preprocessor:
        if not isinstance(found, Mapping):
            raise _bad(
                f'preprocess of column "{column}" is {json.dumps(found)}',
                'an object, such as {"impute": "mean", "scale": "standard"}',
            )
        encode = found.get("encode") or "native"
        ordinal: tuple[str, ...] = ()
        if isinstance(encode, Mapping) and isinstance(encode.get("ordinal"), list):
            ordinal = tuple(str(value) for value in encode["ordinal"])
            encode = "ordinal"
        else:
            encode = {"none": "native", "label": "native"}.get(str(encode), encode)
            _one_of(encode, ENCODINGS, f'encode of column "{column}"', ' or {"ordinal": ["a", "b"]}')
        impute, scale = found.get("impute") or "error", found.get("scale") or "preserve"
        _one_of(impute, IMPUTATIONS, f'impute of column "{column}"')
        _one_of(scale, SCALINGS, f'scale of column "{column}"')
        return cls(str(encode), str(impute), str(scale), ordinal)


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """A call of train. `seed` is never missing: `SEED` where the call names none."""

    project: str
    task: str
    algorithm: str
    columns: tuple[Column, ...]
    runtime: str | None = None
    hyperparams: Mapping[str, Any] = field(default_factory=dict)
    search: str | None = None
    search_params: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    search_args: Mapping[str, int] = field(default_factory=dict)
    test_size: float = 0.25
    test_sampling: str = "stratified"
    preprocess: Mapping[str, Preprocessor] = field(default_factory=dict)
    seed: int = SEED
    joint: bool = False
    background: bool = False
    limits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def features(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if not column.label)

    @property
    def labels(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.label)

    @property
    def row(self) -> Algorithm:
        return ALGORITHMS[self.algorithm]

    @classmethod
    def parse(cls, text: str) -> TrainSpec:
        """Raises WireError(bad_argument), in the words that users of PostgresML know."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as err:
            raise _bad(f"the spec is no JSON: {err}", "call pgml.train") from err
        if not isinstance(found, dict):
            raise _bad("the spec is no JSON object", "call pgml.train")
        task = _task(found.get("task"))
        spec = cls(
            project=_text(found, "project"),
            task=task,
            algorithm=_algorithm(found.get("algorithm"), task),
            columns=_columns(found.get("columns")),
            runtime=_runtime(found.get("runtime")),
            hyperparams=_object(found, "hyperparams"),
            search=_search(found.get("search")),
            search_params=_search_params(_object(found, "search_params")),
            search_args=_search_args(_object(found, "search_args")),
            test_size=_test_size(found.get("test_size")),
            test_sampling=_sampling(found.get("test_sampling")),
            preprocess={
                name: Preprocessor.of(name, how) for name, how in _object(found, "preprocess").items()
            },
            seed=_seed(found.get("seed")),
            joint=bool(found.get("joint")),
            background=bool(found.get("background")),
            limits=_object(found, "limits"),
        )
        spec._check()
        return spec

    def _check(self) -> None:
        both = sorted(set(self.hyperparams) & set(self.search_params))
        if both:
            raise _bad(
                f"`{both[0]}` is in both hyperparams and search_params",
                "a hyperparameter is either fixed or searched for",
            )
        if self.task in SUPERVISED and not self.labels:
            raise _bad(
                "You must pass a `y_column_name` when you pass a `relation_name` for a supervised task.",
                "y_column_name => the column to predict",
            )
        if not self.features and self.task != "forecasting":
            raise _bad(
                "the rows have no column to learn from",
                f"{len(self.labels)} columns are labels, no other column is left",
            )
        if len(self.labels) > 1 and self.task in ("classification", "forecasting"):
            raise _bad(
                f"{self.task} of {len(self.labels)} columns at once is not supported",
                "train_joint is for regression; train a project for each column",
            )


def _bad(message: str, hint: str) -> WireError:
    return WireError("bad_argument", message, hint=hint)


def _one_of(value: object, known: Sequence[str], what: str, more: str = "") -> None:
    if value not in known:
        raise _bad(f"{what} is {json.dumps(value)}", f"one of: {', '.join(known)}{more}")


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value:
        raise _bad(f"the spec has no {key}", "call pgml.train")
    return value


def _object(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = found.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _bad(f"{key} is {json.dumps(value)}", f'{key} is a JSON object, such as {{"name": 1}}')
    return value


def _task(value: object) -> str:
    name = str(value or "").replace("-", "_")
    name = {"cluster": "clustering", "anomaly_detection": "anomaly"}.get(name, name)
    if name not in TASKS:
        raise _bad(f'there is no task "{value}" for tables', f"one of: {', '.join(TASKS)}")
    return name


def _algorithm(value: object, task: str) -> str:
    name = str(value or "linear")
    if name == "linear":
        name = DEFAULTS.get(task, name)
    row = ALGORITHMS.get(name)
    if row is None:
        raise _bad(f'there is no algorithm "{name}"', f"for {task}: {', '.join(for_task(task))}")
    if task not in row.classes:
        raise _bad(
            f"{name} does not support {task}",
            f"{name} is for {' and '.join(row.tasks)}; for {task}: {', '.join(for_task(task))}",
        )
    return name


def _runtime(value: object) -> str | None:
    if value is None:
        return None
    if value == "openai":
        raise _bad("OpenAI runtime is not supported for training or inference", "leave runtime out")
    _one_of(value, RUNTIMES, "runtime")
    return str(value)


def _search(value: object) -> str | None:
    if value is None:
        return None
    _one_of(value, SEARCHES, "search")
    return str(value)


def _search_params(found: Mapping[str, Any]) -> dict[str, list[Any]]:
    combinations = 1
    for name, values in found.items():
        if not isinstance(values, list) or not values:
            raise _bad(
                f"search_params `{name}` is {json.dumps(values)}",
                f'an array of the values to try, such as {{"{name}": [1, 2]}}',
            )
        combinations *= len(values)
    if combinations > _MAX_COMBINATIONS:
        raise _bad(
            f"search_params has {combinations} combinations, over {_MAX_COMBINATIONS}",
            "give fewer values to try",
        )
    return dict(found)


def _search_args(found: Mapping[str, Any]) -> dict[str, int]:
    for name, value in found.items():
        if name not in ("n_iter", "cv"):
            raise _bad(f"Unknown search_args => {name}: {json.dumps(value)}", "known: n_iter, cv")
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_count(value):
            raise _bad(f"search_args {name} is {json.dumps(value)}", f"{name} is a whole number")
    return {name: int(value) for name, value in found.items()}


def _is_count(value: float) -> bool:
    return 0 <= value < _MAX_NUMBER and value == int(value)


def _test_size(value: object) -> float:
    if value is None:
        return 0.25
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _MAX_NUMBER:
        raise _bad(
            f"test_size = {json.dumps(value)} leaves no rows to measure the model on",
            "a fraction of the rows such as 0.25, or a number of rows above 1",
        )
    return float(value)


def _sampling(value: object) -> str:
    if value is None:
        return "stratified"
    _one_of(value, SAMPLINGS, "test_sampling")
    return str(value)


def _seed(value: object) -> int:
    if value is None:
        return SEED
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_SEED:
        raise _bad(f"seed is {json.dumps(value)}", f"a whole number from 0 to {_MAX_SEED - 1}")
    return value


def _position(column: str, value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise _bad(f'position of column "{column}" is {json.dumps(value)}', "a whole number, counted from 1")
    return value


def _columns(found: object) -> tuple[Column, ...]:
    if not isinstance(found, list) or not found:
        raise _bad("the spec describes no columns", "call pgml.train")
    columns = tuple(Column.of(item if isinstance(item, dict) else {}) for item in found)
    names = [column.name for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _bad(f'the rows have two columns "{twice[0]}"', "give each column a name of its own")
    return columns
