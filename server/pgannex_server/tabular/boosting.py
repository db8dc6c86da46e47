"""What is peculiar to xgboost, lightgbm and catboost: names, old values, devices, progress.

Which question it answers: how hyperparameters that PostgresML took become those of the
libraries' own classes, and how a fit is heard of while it runs. Every function is the identity
for other algorithms.
"""

from __future__ import annotations

import ctypes
import importlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from pgannex_wire import WireError

from pgannex_server.tabular.algorithms import Algorithm
from pgannex_server.tabular.spec import TrainSpec

Progress = Callable[[int, int], None]

_XGBOOST_MORE: Final = (
    "updater", "refresh_leaf", "process_type", "sketch_eps", "predictor", "rate_drop", "one_drop",
    "skip_drop", "sample_type", "normalize_type", "feature_selector", "top_k", "tweedie_variance_power",
    "huber_slope", "quantile_alpha", "max_cached_hist_node", "seed_per_iteration", "aft_loss_distribution",
    "aft_loss_distribution_scale", "lambdarank_num_pair_per_sample", "lambdarank_pair_method",
    "lambdarank_unbiased", "lambdarank_bias_norm", "ndcg_exp_gain", "disable_default_eval_metric",
    "max_bin", "extmem_single_page",
)  # fmt: skip
"""Parameters of the booster that the class passes on."""
_XGBOOST_GONE: Final = frozenset({"sketch_eps", "predictor"})
"""Without effect in today's xgboost."""
_OBJECTIVES: Final = {"reg:linear": "reg:squarederror"}
_BOOSTERS: Final = {"linear": "gblinear", "tree": "gbtree"}


def _is_xgboost(row: Algorithm) -> bool:
    return row.format == "xgboost-ubj"


# -- names and values ----------------------------------------------------------------------------


def more_names(row: Algorithm) -> tuple[str, ...]:
    """Hyperparameters that are not in the class's signature."""
    if _is_xgboost(row):
        return _XGBOOST_MORE
    if row.name == "lightgbm":
        return tuple(_lightgbm_names())
    if row.name == "catboost":
        return ("device",)
    return ()


def _lightgbm_names() -> Mapping[str, list[str]]:
    """LightGBM's parameters, each with its other names."""
    names: Mapping[str, list[str]] = importlib.import_module(
        "lightgbm.basic"
    )._ConfigAliases._get_all_param_aliases()
    return names


def aliases_of(row: Algorithm, names: Collection[str]) -> set[str]:
    """Other names that lightgbm has for these."""
    if row.name != "lightgbm":
        return set()
    return {alias for main, others in _lightgbm_names().items() if main in names for alias in others}


def without_aliases(row: Algorithm, names: list[str]) -> list[str]:
    """Names worth showing: of lightgbm's 300, one for each parameter."""
    if row.name != "lightgbm":
        return names
    aliases = {alias for main, others in _lightgbm_names().items() for alias in others if alias != main}
    return [name for name in names if name not in aliases]


def translated(row: Algorithm, settings: dict[str, Any]) -> dict[str, Any]:
    """Old names and values in today's words. Raises engine_missing for a GPU that is not there."""
    if row.name == "lightgbm":
        settings = _of_lightgbm(settings)
    if _is_xgboost(row):
        settings = _of_xgboost(settings)
        if str(settings.get("device", "cpu")).partition(":")[0] in ("cuda", "gpu"):
            _need_cuda_xgboost()
    elif row.name == "catboost" and str(settings.pop("device", "cpu")).startswith(("cuda", "gpu")):
        settings["task_type"] = "GPU"
    if row.name == "catboost" and settings.get("task_type") == "GPU":
        _need_gpu(row.name)
    return settings


_LIGHTGBM_OWN: Final = {
    "num_iterations": "n_estimators",
    "num_threads": "n_jobs",
    "seed": "random_state",
    "boosting": "boosting_type",
    "lambda_l1": "reg_alpha",
    "lambda_l2": "reg_lambda",
    "bagging_fraction": "subsample",
    "bagging_freq": "subsample_freq",
    "feature_fraction": "colsample_bytree",
    "min_data_in_leaf": "min_child_samples",
    "min_sum_hessian_in_leaf": "min_child_weight",
    "min_gain_to_split": "min_split_gain",
    "bin_construct_sample_cnt": "subsample_for_bin",
}
"""LightGBM's parameters that its class has under another name."""


def _of_lightgbm(settings: dict[str, Any]) -> dict[str, Any]:
    """Each parameter under one name: the class's own, else the main one. Raises where one comes twice."""
    main_of = {alias: main for main, others in _lightgbm_names().items() for alias in others}
    found: dict[str, Any] = {}
    for name, value in settings.items():
        main = main_of.get(name, name)
        own = _LIGHTGBM_OWN.get(main, main)
        if own in found:
            raise WireError(
                "bad_argument",
                f"`{name}` and another hyperparameter are the same: {own}",
                hint="give one of them",
            )
        found[own] = value
    return found


def _of_xgboost(settings: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in settings.items() if name not in _XGBOOST_GONE}
    on_gpu = settings.get("predictor") in ("gpu", "gpu_predictor")
    method = found.get("tree_method")
    if isinstance(method, str) and method.startswith("gpu_"):
        found["tree_method"], on_gpu = "hist", True
    objective = found.get("objective")
    if isinstance(objective, str):
        on_gpu = on_gpu or objective.startswith("gpu:")
        objective = objective.removeprefix("gpu:")
        found["objective"] = _OBJECTIVES.get(objective, objective)
    if found.get("grow_policy") == "loss_guide":
        found["grow_policy"] = "lossguide"
    if found.get("booster") in _BOOSTERS:
        found["booster"] = _BOOSTERS[found["booster"]]
    if isinstance(found.get("updater"), list):
        found["updater"] = ",".join(found["updater"])
    if on_gpu:
        found.setdefault("device", "cuda")
    return found


def for_classes(row: Algorithm, settings: dict[str, Any], classes: int) -> dict[str, Any]:
    """An objective for many classes, given for two, is the one for two."""
    if _is_xgboost(row) and classes == 2 and str(settings.get("objective", "")).startswith("multi:"):
        return {**settings, "objective": "binary:logistic"}
    return settings


def settled(row: Algorithm, settings: Mapping[str, Any], spec: TrainSpec, threads: int) -> dict[str, Any]:
    """Seed, threads and silence, where the call says nothing of them."""
    found = dict(settings)
    if _is_xgboost(row):
        found.setdefault("n_jobs", threads)
        found.setdefault("verbosity", 0)
    elif row.name == "lightgbm":
        known = _lightgbm_names()
        if not any(name in found for name in ("num_threads", *known.get("num_threads", ()))):
            found["n_jobs"] = threads
        if not any(name in found for name in ("verbosity", *known.get("verbosity", ()))):
            found["verbosity"] = -1
        if not any(name in found for name in ("deterministic", "force_row_wise", "force_col_wise")):
            found |= {"deterministic": True, "force_col_wise": True}
    elif row.name == "catboost":
        if not {"random_seed", "random_state"} & set(found):
            found["random_seed"] = spec.seed
        found.setdefault("thread_count", threads)
        if not {"verbose", "verbose_eval", "logging_level", "silent", "metric_period"} & set(found):
            found["verbose"] = False
        found.setdefault("allow_writing_files", False)
        if len(spec.labels) > 1:
            found.setdefault("loss_function", "MultiRMSE")
    return found


# -- devices ---------------------------------------------------------------------------------------


def _need_cuda_xgboost() -> None:
    if not importlib.import_module("xgboost").build_info().get("USE_CUDA"):
        raise WireError(
            "engine_missing",
            "this server's xgboost was built without CUDA: it cannot train on a GPU",
            hint="pip install xgboost in place of xgboost-cpu, or leave device out",
        )
    _need_gpu("xgboost")


def _need_gpu(name: str) -> None:
    """Raises where the driver knows no GPU: the libraries would compute on the CPU and say nothing."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int(0)
        failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    except OSError:
        failed, count = 1, ctypes.c_int(0)
    if failed or not count.value:
        raise WireError(
            "engine_missing",
            f"{name} was asked to train on a GPU, and this machine shows none",
            hint="leave device out, or give the server a machine with a GPU and its driver",
        )


# -- progress --------------------------------------------------------------------------------------


@contextmanager
def told(row: Algorithm, estimator: Any, progress: Progress | None) -> Iterator[dict[str, Any]]:
    """Further arguments of `fit`, so that each iteration is heard of."""
    if progress is None or hasattr(estimator, "estimator"):
        yield {}
    elif row.name == "xgboost":
        estimator.set_params(callbacks=[_xgboost_callback(progress, _rounds(estimator))])
        try:
            yield {}
        finally:
            estimator.set_params(callbacks=None)
    elif row.name == "lightgbm":
        yield {"callbacks": [lambda env: progress(env.iteration + 1, env.end_iteration)]}
    elif row.name == "gradient_boosting_trees":
        total = int(estimator.n_estimators)

        def monitor(done: int, _estimator: object, _locals: object) -> bool:
            progress(done + 1, total)
            return False

        yield {"monitor": monitor}
    else:
        yield {}


def _rounds(estimator: Any) -> int:
    return int(estimator.get_num_boosting_rounds())


def _xgboost_callback(progress: Progress, total: int) -> Any:
    base = importlib.import_module("xgboost").callback.TrainingCallback

    class Callback(base):  # type: ignore[misc, valid-type]
        """Passes each round on."""

        def after_iteration(self, _model: Any, epoch: int, _evals: Any) -> bool:
            progress(epoch + 1, total)
            return False

    return Callback()


_XGBOOST_PREFIX: Final = re.compile(r"^\[\d\d:\d\d:\d\d\] (\S+: )?")


def plain(message: str) -> str:
    """A library's message without its time and source file."""
    return _XGBOOST_PREFIX.sub("", message)
