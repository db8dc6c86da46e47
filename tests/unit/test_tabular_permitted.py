"""What a call may set is about the model: no files, no ports, no processes, no threads beyond the limit."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from pgannex_server.tabular import estimators, permitted
from pgannex_server.tabular.algorithms import ALGORITHMS
from pgannex_server.tabular.spec import TrainSpec
from pgannex_wire import WireError
from tabular_rows import spec_of

MACHINE = {
    "agglomerative": ("memory",),
    "feature_agglomeration": ("memory", "pooling_func"),
    "optics": ("memory",),
    "xgboost": ("callbacks", "cache_prefix", "extmem_single_page", "nthreads"),
    "ransac": ("estimator", "is_data_valid"),
    "lightgbm": (
        "machines", "workers", "nodes", "num_machines", "local_listen_port", "local_port", "port",
        "machine_list_filename", "machine_list_file", "machine_list", "mlist", "time_out",
        "forcedsplits_filename", "fs", "forced_splits", "forcedbins_filename", "data", "train", "valid",
        "input_model", "model_input", "model_in", "output_model", "model_output", "model_out", "config",
        "config_file", "convert_model", "parser_config_file", "save_binary", "is_save_binary", "task",
        "snapshot_freq", "tree_learner", "two_round", "output_result",
    ),
    "catboost": (
        "train_dir", "snapshot_file", "save_snapshot", "allow_writing_files", "input_borders",
        "output_borders",
    ),
}  # fmt: skip


def spec(algorithm: str, hyperparams: dict[str, Any], **more: Any) -> TrainSpec:
    task = ALGORITHMS[algorithm].tasks[0]
    columns = {"x": [1.0, 2.0], "y": [1.0, 2.0]}
    return spec_of(
        columns, ["y"] if task == "regression" else [], task, algorithm, hyperparams=hyperparams, **more
    )


@pytest.mark.parametrize(
    ("algorithm", "name"), [(algorithm, name) for algorithm, names in MACHINE.items() for name in names]
)
def test_what_is_about_the_machine_does_not_exist(algorithm: str, name: str) -> None:
    if algorithm == "catboost" and importlib.util.find_spec("catboost") is None:
        assert name not in permitted.CATBOOST
        return
    for given in (
        {"hyperparams": {name: "x"}},
        {"hyperparams": {}, "search": "grid", "search_params": {name: ["x"]}},
    ):
        with pytest.raises(WireError, match=f"has no hyperparameter `{name}`"):
            estimators.check(spec(algorithm, **given))


@pytest.mark.parametrize(
    "value",
    [
        "gbdt machines=127.0.0.1:1",
        "gbdt\tmachines=127.0.0.1:1",
        "a=b",
        "gbdt#",
        "/etc/passwd",
        "..\\x",
        ["a b"],
        "x" * 1001,
    ],
)
def test_a_value_is_one_word_to_lightgbm(value: object) -> None:
    with pytest.raises(WireError, match="is no value of lightgbm's hyperparameter"):
        estimators.check(spec("lightgbm", {"boosting_type": value}))
    with pytest.raises(WireError, match="is no value of lightgbm's hyperparameter"):
        estimators.check(
            spec("lightgbm", {}, search="grid", search_params={"boosting_type": ["gbdt", value]})
        )


def test_the_last_look_is_at_what_the_library_gets() -> None:
    with pytest.raises(WireError, match="takes no hyperparameter `memory`"):
        estimators.create(spec("agglomerative", {"memory": "/tmp"}), {"memory": "/tmp"})


@pytest.mark.parametrize(
    ("algorithm", "name", "asked"),
    [("xgboost", "nthread", 5000), ("xgboost", "n_jobs", -1), ("lightgbm", "num_threads", 5000),
     ("lightgbm", "num_thread", 7), ("random_forest", "n_jobs", 100_000)],
)  # fmt: skip
def test_threads_are_those_of_a_fit(algorithm: str, name: str, asked: int) -> None:
    made = estimators.create(spec(algorithm, {name: asked}), {name: asked}, threads=2)
    assert made.get_params()["n_jobs"] == 2


def test_no_processes_are_started_for_many_models() -> None:
    made = estimators.create(spec("bagging", {"n_jobs": 12}), {"n_jobs": 12}, threads=2)
    assert made.get_params()["n_jobs"] is None


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in ("catboost", "ets")])
def test_the_lists_name_what_the_libraries_have(algorithm: str) -> None:
    """A name that is listed and in no library is a mistake of ours, or the library's news."""
    row = ALGORITHMS[algorithm]
    for task in row.tasks:
        assert estimators.names_of(row, task)
        left_out = estimators.arguments_of(estimators.class_of(row, task)) - permitted.listed(row)
        assert left_out <= {"memory", "callbacks", "estimator", "pooling_func", "is_data_valid",
                            "is_model_valid", "n_targets", "kwargs"}, left_out  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [{"hyperparams": {"n_estimators": -1}}, {"hyperparams": {"boost_rounds": 0}},
     {"hyperparams": {}, "search": "grid", "search_params": {"n_estimators": [5, 0]}}],
)  # fmt: skip
def test_there_is_at_least_one_tree(given: dict[str, Any]) -> None:
    with pytest.raises(WireError, match="is less than 1"):
        estimators.check(spec("xgboost", **given))
