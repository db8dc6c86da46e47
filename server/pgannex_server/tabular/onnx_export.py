"""A fitted tree ensemble as an ONNX graph, kept only where it says what the library says.

Which question it answers: may ONNX Runtime serve the single rows of this model. It is asked at
the end of a fit: the trees (forest.py) become one node of a graph, and the graph is held
against the library on up to 10,000 rows of the fit and on rows beside split thresholds, where
rounding would show. Where they differ, or the trees cannot be said in ONNX, the library serves
alone. Rows that hold NaN or infinity never reach the graph (predictor.py), so it says nothing
of them. What was compared goes into the metadata, no times: the same fit gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pgannex_server.tabular import formats
from pgannex_server.tabular.forest import Forest, Unsayable, forest_of
from pgannex_server.tabular.formats.base import Model
from pgannex_server.tabular.onnx_runtime import Graph

Matrix = NDArray[Any]

ROWS: Final = 10_000
THRESHOLD_ROWS: Final = 3_000
_TOLERANCE: Final = 1e-5
"""Of the largest value: what sums of float32 in another order may differ by."""
_IR_VERSION, _OPSET, _ML_OPSET = 8, 17, 3


@dataclass(frozen=True, slots=True)
class Export:
    """`blob` is None where the library serves alone; `meta` goes into the artifact's metadata."""

    blob: bytes | None
    meta: dict[str, Any]


def export(estimator: Any, format: str, native: bytes, rows: Matrix, seed: int = 0) -> Export:
    """The graph of `estimator`, whose own blob is `native`. `rows`: those it was fitted on, or some."""
    try:
        forest = forest_of(estimator, format)
        blob = graph_of(forest, rows.shape[1])
        model = formats.load(format, native, threads=1)
        return _compared(blob, forest, model, rows, seed)
    except Unsayable as err:
        return _native_alone(str(err))
    except ImportError as err:
        return _native_alone(f"{err.name or err} is not installed")


def _native_alone(reason: str, **facts: Any) -> Export:
    return Export(None, {"onnx": False, "onnx_check": {"reason": reason, **facts}})


# -- the graph --------------------------------------------------------------------------------


def graph_of(forest: Forest, width: int) -> bytes:
    """One TreeEnsembleRegressor: rows × width in, rows × targets out."""
    from onnx import TensorProto, helper

    node = helper.make_node(
        "TreeEnsembleRegressor", ["rows"], ["found"], domain="ai.onnx.ml", **_attributes(forest)
    )
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, [None, forest.targets])],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="pgannex", ir_version=_IR_VERSION)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _attributes(forest: Forest) -> dict[str, Any]:
    columns: dict[str, list[Matrix]] = {}
    for number, (tree, target) in enumerate(zip(forest.trees, forest.target, strict=True)):
        is_leaf = tree.left < 0
        leaves = np.flatnonzero(is_leaf)
        weights = tree.leaf
        targets = np.arange(weights.shape[1]) if target < 0 else np.array([target])
        for name, value in (
            ("nodes_treeids", np.full(len(is_leaf), number)),
            ("nodes_nodeids", np.arange(len(is_leaf))),
            ("nodes_featureids", np.where(is_leaf, 0, tree.feature)),
            ("nodes_values", np.where(is_leaf, 0, tree.threshold)),
            ("nodes_truenodeids", np.where(is_leaf, 0, tree.left)),
            ("nodes_falsenodeids", np.where(is_leaf, 0, tree.right)),
            ("is_leaf", is_leaf),
            ("target_treeids", np.full(len(leaves) * len(targets), number)),
            ("target_nodeids", np.repeat(leaves, len(targets))),
            ("target_ids", np.tile(targets, len(leaves))),
            ("target_weights", weights.astype(np.float32).reshape(-1)),
        ):
            columns.setdefault(name, []).append(value)
    found = {name: np.concatenate(parts) for name, parts in columns.items()}
    modes = np.where(found.pop("is_leaf"), "LEAF", forest.mode).tolist()
    return {
        **{name: values.tolist() for name, values in found.items()},
        "nodes_modes": modes,
        "n_targets": forest.targets,
        "base_values": [float(value) for value in forest.base],
        "post_transform": forest.link,
    }


# -- the comparison ---------------------------------------------------------------------------


def _compared(blob: bytes, forest: Forest, model: Model, rows: Matrix, seed: int) -> Export:
    graph = Graph(blob, forest.output)
    sample = _sample(rows, np.random.default_rng(seed))
    matrix = np.concatenate((sample, _beside_thresholds(forest, sample, np.random.default_rng(seed))))
    facts: dict[str, Any] = {"rows": len(sample), "threshold_rows": len(matrix) - len(sample)}
    if not len(matrix):
        return _native_alone("no finite rows to compare on", **facts)
    if forest.output == "values":
        wanted, found = np.asarray(model.predict(matrix), dtype=np.float64), graph.values(matrix)
        scale = max(1e-9, float(np.abs(wanted).max()))
    else:
        wanted, found = np.asarray(model.proba(matrix), dtype=np.float64), graph.proba(matrix)
        scale = 1.0
    difference = float(np.abs(wanted - found.reshape(wanted.shape)).max()) / scale
    facts |= {"largest_difference": difference, "nodes": forest.nodes}
    if not difference <= _TOLERANCE:
        return _native_alone("it differs from the library", **facts)
    if forest.output != "values":
        sure = graph.is_sure(graph.raw(matrix))
        facts["close_calls"] = int((~sure).sum())
        if (np.argmax(wanted, axis=1) != graph.values(matrix))[sure].any():
            return _native_alone("it gives other classes than the library", **facts)
    meta = {"onnx": True, "onnx_output": forest.output, "single": model.single, "onnx_check": facts}
    return Export(blob, meta)


def _sample(rows: Matrix, rng: np.random.Generator) -> Matrix:
    """At most ROWS of the rows, as float32, those without NaN and infinity."""
    if len(rows) > ROWS:
        rows = rows[np.sort(rng.choice(len(rows), ROWS, replace=False))]
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(rows, dtype=np.float32)
    kept: Matrix = found[np.isfinite(found).all(axis=1)]
    return kept


def _beside_thresholds(forest: Forest, sample: Matrix, rng: np.random.Generator) -> Matrix:
    """Rows of the sample with one feature moved to a threshold, and to the float32 on either side."""
    feature = np.concatenate([tree.feature for tree in forest.trees])
    threshold = np.concatenate([tree.threshold for tree in forest.trees])
    splits = np.flatnonzero((feature >= 0) & np.isfinite(threshold))
    if not len(splits) or not len(sample):
        return sample[:0]
    if len(splits) > THRESHOLD_ROWS // 3:
        splits = np.sort(rng.choice(splits, THRESHOLD_ROWS // 3, replace=False))
    at, value = feature[splits], threshold[splits]
    infinity = np.float32(np.inf)
    values = (value, np.nextafter(value, infinity), np.nextafter(value, -infinity))
    matrix = np.repeat(sample[rng.integers(len(sample), size=len(splits))], 3, axis=0)
    matrix[np.arange(len(matrix)), np.repeat(at, 3)] = np.stack(values, axis=1).reshape(-1)
    finite: Matrix = matrix[np.isfinite(matrix).all(axis=1)]
    return finite
