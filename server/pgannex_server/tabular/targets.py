"""What is to be predicted: labels as numbers, classes as codes.

Which question it answers: what an estimator is fitted to. Estimators learn classes as codes 0
to K-1, in the order of their values; `classes` says which value a code stands for, `texts`
which text, where the label is one. A text's value is its code. Only classes of the training
rows are known; a class that is only held out gets a code from K on, and counts as missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pgannex_wire import WireError

from pgannex_server.tabular.cells import Array, Cells
from pgannex_server.tabular.columns import Series, Table
from pgannex_server.tabular.preprocessing import missing_of
from pgannex_server.tabular.sampling import Split
from pgannex_server.tabular.spec import TrainSpec

_MOST_CLASSES = 10_000


@dataclass(frozen=True, slots=True)
class Target:
    """`y`: of all rows, rows × targets where there are several; None without a label."""

    y: Array | None
    classes: list[float] | None = None
    texts: list[str] | None = None

    @property
    def first(self) -> Array | None:
        """The first label, which rows are stratified by and categories encoded with."""
        return self.y if self.y is None or self.y.ndim == 1 else self.y[:, 0]

    def rows(self, split: Split) -> tuple[Array | None, Array | None]:
        """(of the training rows, of the held-out rows)."""
        if self.y is None:
            return None, None
        return self.y[~split.test], self.y[split.test]


def read(spec: TrainSpec, table: Table) -> Target:
    """Labels as they are: numbers, or positions in the categories of a text."""
    labels = table.labels
    if not labels or spec.task not in ("regression", "classification"):
        return Target(None)
    found = [_values(spec, series) for series in labels]
    return Target(found[0] if len(found) == 1 else np.column_stack(found))


def _values(spec: TrainSpec, series: Series) -> Array:
    name = series.name
    if series.kind == "array":
        raise WireError(
            "bad_argument",
            f"the label `{name}` is an array",
            hint="unnest it into columns and use pgml.train_joint",
        )
    if series.kind == "category" and spec.task == "regression":
        raise WireError(
            "bad_argument",
            f'the label `{name}` is a "{series.column.pg_type}", which regression cannot predict',
            hint="train for the task classification, or cast it to a number",
        )
    values = series.values()
    missing = missing_of(Cells(values, series.nulls()))
    count = 0 if missing is None else int(np.count_nonzero(missing))
    if count:
        raise WireError(
            "bad_argument",
            f'The training data labels in "{name}" contain {count} NULL values. '
            "Consider filtering these rows out.",
            hint=f"train on a view WHERE {name} IS NOT NULL",
        )
    if series.kind == "category":
        return values
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise WireError(
            "bad_argument",
            f'The training data labels in "{name}" contain infinite values',
            hint="leave such rows out",
        )
    return numbers


def classify(target: Target, categories: Sequence[str], is_text: bool, split: Split) -> Target:
    """The same with codes in place of class values. Raises bad_argument where there is one class."""
    assert target.y is not None
    train = ~split.test
    known = np.unique(target.y[train])
    if len(known) < 2:
        raise WireError(
            "bad_argument",
            f"the training rows have {len(known)} class: at least 2 are needed to tell apart",
            hint="is the label the right column, and are rows of every class among the first ones? "
            "test_sampling => 'stratified' keeps each class on both sides",
        )
    if len(known) > _MOST_CLASSES:
        raise WireError(
            "bad_argument",
            f"the label has {len(known)} distinct values, over {_MOST_CLASSES}",
            hint="for a label that is a quantity the task is regression",
        )
    order = known
    if not np.isin(target.y, known).all():
        order = np.concatenate([known, np.setdiff1d(target.y, known)])
    places = np.argsort(order, kind="stable")
    codes = places[np.searchsorted(order, target.y, sorter=places)]
    if is_text:
        texts = [categories[int(at)] for at in known]
        return Target(codes, [float(code) for code in range(len(known))], texts)
    return Target(codes, [float(value) for value in known])
