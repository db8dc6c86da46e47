"""A tree ensemble as flat arrays, whichever library grew it: what onnx_export.py writes down.

Which question it answers: which nodes, thresholds and leaves does an estimator have, and how do
its leaves become a prediction. Rows are float32 when these trees meet them, so a threshold of
double precision becomes the largest float32 that is not above it: `x <= t` then decides every
float32 as before. What cannot be said exactly in this form (categories, linear leaves, links
without a name in ONNX) raises `Unsayable`, and the library itself goes on serving.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Matrix = NDArray[Any]

MAX_NODES: Final = 1_000_000
"""Above, a graph is slow to make, large to keep, and a row falls through cold memory."""


class Unsayable(Exception):
    """Why an ensemble has no exact form here."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree. Child and feature of a leaf are -1; `leaf` holds its weights, leaves × targets."""

    left: Ints
    right: Ints
    feature: Ints
    threshold: Floats
    leaf: Matrix


@dataclass(frozen=True, slots=True)
class Forest:
    """`mode`: BRANCH_LT or BRANCH_LEQ to the left. `target`: the tree's only target, -1 where its
    leaves have weights for all. `link`: NONE or SOFTMAX. `output`: see onnx_runtime.py."""

    trees: list[Tree]
    target: list[int]
    targets: int
    base: list[float]
    mode: str
    link: str
    output: str

    @property
    def nodes(self) -> int:
        return sum(len(tree.left) for tree in self.trees)


def forest_of(estimator: Any, format: str) -> Forest:
    """The ensemble of a fitted estimator. Raises Unsayable."""
    if format == "xgboost-ubj":
        found = _xgboost(estimator)
    elif format == "lightgbm-text":
        found = _lightgbm(estimator)
    else:
        found = _sklearn(estimator)
    if found.nodes > MAX_NODES:
        raise Unsayable(f"it has {found.nodes} nodes, {MAX_NODES} are the most")
    return found


def not_above(thresholds: Matrix) -> Floats:
    """The largest float32 that is not above each threshold."""
    with np.errstate(over="ignore"):
        found = thresholds.astype(np.float32)
        lower = np.nextafter(found, np.float32(-np.inf), dtype=np.float32)
    result: Floats = np.where(found.astype(np.float64) > thresholds, lower, found)
    return result


# -- xgboost ----------------------------------------------------------------------------------

_IDENTITY: Final = ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:squaredlogerror")


def _xgboost(estimator: Any) -> Forest:
    booster = estimator.get_booster()
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    grown, shape = learner["gradient_booster"], learner["learner_model_param"]
    if grown["name"] != "gbtree":
        raise Unsayable(f"its booster is {grown['name']}")
    if int(shape.get("num_target", 1)) > 1:
        raise Unsayable("it has several targets")
    if "best_iteration" in booster.attributes():
        raise Unsayable("it stopped early")
    many = max(1, int(shape["num_class"]))
    objective = str(learner["objective"]["name"])
    base = np.atleast_1d(np.array(json.loads(shape["base_score"]), dtype=np.float64))
    if objective in _IDENTITY:
        link, output = "NONE", "values"
    elif objective == "binary:logistic":
        link, output = "NONE", "margin"
        base = np.log(base / (1.0 - base))
    elif objective == "multi:softprob":
        link, output = "SOFTMAX", "classes"
    else:
        raise Unsayable(f"its objective is {objective}")
    model = grown["model"]
    return Forest(
        [_xgboost_tree(tree) for tree in model["trees"]],
        [int(group) for group in model["tree_info"]],
        many,
        np.broadcast_to(base, (many,)).tolist(),
        "BRANCH_LT",
        link,
        output,
    )


def _xgboost_tree(tree: dict[str, Any]) -> Tree:
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1 or any(tree["split_type"]):
        raise Unsayable("it has categorical splits or leaves of several values")
    left = np.array(tree["left_children"], dtype=np.int64)
    threshold = np.array(tree["split_conditions"], dtype=np.float32)
    is_leaf = left < 0
    return Tree(
        left,
        np.array(tree["right_children"], dtype=np.int64),
        np.where(is_leaf, -1, np.array(tree["split_indices"], dtype=np.int64)),
        threshold,
        threshold[is_leaf].reshape(-1, 1),
    )


# -- LightGBM ---------------------------------------------------------------------------------

_CATEGORICAL, _MISSING_IS_ZERO = 1, 1 << 2
_ZERO: Final = np.float32(1e-35)
_BELOW_ZERO: Final = np.nextafter(-_ZERO, np.float32(-np.inf), dtype=np.float32)
"""LightGBM takes what is within 1e-35 of zero for zero, also at the threshold just below it."""
_LIGHTGBM_IDENTITY: Final = ("regression", "regression_l1", "huber", "quantile", "mape", "fair")


def _lightgbm(estimator: Any) -> Forest:
    head, *blocks = estimator.booster_.model_to_string().split("\n\nend of trees")[0].split("\nTree=")
    facts = _facts(head)
    many = int(facts["num_tree_per_iteration"])
    name, *settings = facts.get("objective", "regression").split(" ")
    if (
        name in ("regression", "regression_l1", "huber", "quantile", "mape", "fair")
        and "sqrt" not in settings
    ):
        link, output = "NONE", "values"
    elif name == "binary" and "sigmoid:1" in settings:
        link, output = "NONE", "margin"
    elif name == "multiclass":
        link, output = "SOFTMAX", "classes"
    else:
        raise Unsayable(f"its objective is {facts.get('objective')}")
    # A random forest's output is the average over its iterations.
    share = len(blocks) // many if "average_output" in head else 1
    return Forest(
        [_lightgbm_tree(_facts(block), share) for block in blocks],
        [at % many for at in range(len(blocks))],
        many,
        [0.0] * many,
        "BRANCH_LEQ",
        link,
        output,
    )


def _facts(block: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in block.split("\n") if "=" in line)


def _numbers(text: str | None, dtype: Any) -> Matrix:
    return np.array((text or "").split(), dtype=dtype)


def _lightgbm_tree(facts: dict[str, str], share: int) -> Tree:
    if facts.get("is_linear", "0") != "0":
        raise Unsayable("its leaves are linear")
    leaves = _numbers(facts["leaf_value"], np.float64) / share
    feature = _numbers(facts.get("split_feature"), np.int64)
    if len(leaves) == 1 or not len(feature):
        one = np.full(1, -1, dtype=np.int64)
        return Tree(one, one, one, np.zeros(1, dtype=np.float32), leaves[:1].reshape(1, 1))
    kind = _numbers(facts["decision_type"], np.int64)
    if (kind & _CATEGORICAL).any() or (kind & _MISSING_IS_ZERO).any():
        raise Unsayable("it has categorical splits, or takes zero for missing")
    inner, count = len(feature), len(feature) + len(leaves)
    children = [_numbers(facts[side], np.int64) for side in ("left_child", "right_child")]
    # A negative child is the leaf ~child; leaves come after the inner nodes.
    left, right = (np.where(child < 0, inner + ~child, child) for child in children)
    none = np.full(len(leaves), -1, dtype=np.int64)
    threshold = np.zeros(count, dtype=np.float32)
    found = not_above(_numbers(facts["threshold"], np.float64))
    threshold[:inner] = np.where((found >= -_ZERO) & (found < 0), _BELOW_ZERO, found)
    return Tree(
        np.concatenate((left, none)),
        np.concatenate((right, none)),
        np.concatenate((feature, none)),
        threshold,
        leaves.reshape(-1, 1),
    )


# -- scikit-learn -----------------------------------------------------------------------------


def _sklearn(estimator: Any) -> Forest:
    name = type(estimator).__name__
    if name in (
        "RandomForestRegressor",
        "ExtraTreesRegressor",
        "RandomForestClassifier",
        "ExtraTreesClassifier",
    ):
        return _averaged(estimator, ((one, None) for one in estimator.estimators_))
    if name in ("BaggingRegressor", "BaggingClassifier"):
        members = zip(estimator.estimators_, estimator.estimators_features_, strict=True)
        return _averaged(estimator, members)
    if name in ("GradientBoostingRegressor", "GradientBoostingClassifier"):
        return _boosted(estimator)
    raise Unsayable(f"a {name} is no ensemble of trees that is known here")


def _averaged(estimator: Any, members: Iterable[tuple[Any, Any]]) -> Forest:
    """The mean of its trees: of values, or of the shares of the classes."""
    members = list(members)
    is_classifier = hasattr(estimator, "classes_")
    if is_classifier and getattr(estimator, "n_outputs_", 1) > 1:
        raise Unsayable("it classifies several targets")
    trees = []
    for member, subset in members:
        if not hasattr(member, "tree_"):
            raise Unsayable(f"its members are of {type(member).__name__}")
        if is_classifier and len(member.classes_) != len(estimator.classes_):
            raise Unsayable("a tree has not seen every class")
        found = member.tree_
        values = found.value[:, 0, :] if is_classifier else found.value[:, :, 0]
        if is_classifier:
            values = values / values.sum(axis=1, keepdims=True)
        trees.append(_sklearn_tree(found, values / len(members), subset))
    targets = trees[0].leaf.shape[1]
    return Forest(
        trees,
        [-1] * len(trees),
        targets,
        [0.0] * targets,
        "BRANCH_LEQ",
        "NONE",
        "classes" if is_classifier else "values",
    )


def _boosted(estimator: Any) -> Forest:
    if estimator.init is not None:
        raise Unsayable("it starts from an estimator of its own")
    row = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    base = np.asarray(estimator._raw_predict_init(row), dtype=np.float64)[0]
    grown = estimator.estimators_
    trees, target = [], []
    for stage in grown:
        for group, member in enumerate(stage):
            values = member.tree_.value[:, :, 0] * estimator.learning_rate
            trees.append(_sklearn_tree(member.tree_, values, None))
            target.append(group)
    many = grown.shape[1]
    if not hasattr(estimator, "classes_"):
        link, output = "NONE", "values"
    elif estimator.loss != "log_loss":
        raise Unsayable(f"its loss is {estimator.loss}")
    else:
        link, output = ("NONE", "margin") if many == 1 else ("SOFTMAX", "classes")
    return Forest(trees, target, many, base.tolist(), "BRANCH_LEQ", link, output)


def _sklearn_tree(found: Any, values: Matrix, subset: Any) -> Tree:
    left = found.children_left.astype(np.int64)
    is_leaf = left < 0
    feature = np.where(is_leaf, -1, found.feature).astype(np.int64)
    if subset is not None:
        feature[~is_leaf] = np.asarray(subset)[feature[~is_leaf]]
    return Tree(
        left,
        found.children_right.astype(np.int64),
        feature,
        np.where(is_leaf, 0, not_above(np.asarray(found.threshold))).astype(np.float32),
        np.asarray(values)[is_leaf],
    )
