"""scikit-learn's bundled data sets as columns and records, read from the files that it ships.

Which question it answers: what is in pgml.iris and its five like. The files are read with the
standard library, because importing sklearn.datasets takes two seconds and reading a file two
milliseconds; a test holds every value against sklearn's own loaders. Names, types and order of
the columns are those of PostgresML's tables. datasets.py is the only caller.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pgannex_wire import WireError

Columns = list[dict[str, str]]
Records = Iterator[dict[str, Any]]
Loaded = tuple[Columns, Records]

_MEASURES = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity",
             "concave points", "symmetry", "fractal dimension")  # fmt: skip
_WINE = ("alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids",
         "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue",
         "od280/od315_of_diluted_wines", "proline")  # fmt: skip


def _folder() -> Path:
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise WireError(
            "engine_missing",
            "scikit-learn, which brings this data set, is not installed on the server",
            hint="pip install 'pgannex[tabular]'",
        )
    return Path(found.submodule_search_locations[0]) / "datasets" / "data"


def _rows(name: str, delimiter: str = ",", skip: int = 0) -> list[list[float]]:
    """The numbers of a file, without its first `skip` lines."""
    path = _folder() / name
    data = path.read_bytes()
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    lines = list(csv.reader(text.splitlines(), delimiter=delimiter))[skip:]
    return [[float(cell) for cell in line] for line in lines if line]


def _table(names: Sequence[str], rows: Sequence[Sequence[object]], **types: str) -> Loaded:
    """Columns of these names: real, but for those whose type is given."""
    columns = [{"name": name, "type": types.get(name, "real")} for name in names]
    return columns, (dict(zip(names, row, strict=True)) for row in rows)


def breast_cancer() -> Loaded:
    names = [f"{kind} {measure}" if kind != "error" else f"{measure} error"
             for kind in ("mean", "error", "worst") for measure in _MEASURES]  # fmt: skip
    rows = [[*row, target == 0] for *row, target in _rows("breast_cancer.csv", skip=1)]
    return _table([*names, "malignant"], rows, malignant="boolean")


def diabetes() -> Loaded:
    """Features centred and of length 1, as sklearn's loader gives them."""
    columns = [_scaled(column) for column in zip(*_rows("diabetes_data_raw.csv.gz", " "), strict=True)]
    targets = [target for (target,) in _rows("diabetes_target.csv.gz")]
    names = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "target")
    return _table(names, list(zip(*columns, targets, strict=True)))


def _scaled(column: Sequence[float]) -> list[float]:
    mean = math.fsum(column) / len(column)
    length = math.sqrt(math.fsum((cell - mean) ** 2 for cell in column))
    return [(cell - mean) / length for cell in column]


def digits() -> Loaded:
    rows = [([pixels[at : at + 8] for at in range(0, 64, 8)], target)
            for *pixels, target in (map(int, row) for row in _rows("digits.csv.gz"))]  # fmt: skip
    return _table(("image", "target"), rows, image="smallint[]", target="smallint")


def iris() -> Loaded:
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width", "target")
    rows = [[*row, int(target)] for *row, target in _rows("iris.csv", skip=1)]
    return _table(names, rows, target="integer")


def linnerud() -> Loaded:
    exercise = _rows("linnerud_exercise.csv", " ", skip=1)
    body = _rows("linnerud_physiological.csv", " ", skip=1)
    names = ("chins", "situps", "jumps", "weight", "waist", "pulse")
    return _table(names, [[*left, *right] for left, right in zip(exercise, body, strict=True)])


def wine() -> Loaded:
    """PostgresML's table has hue before color_intensity."""
    order = [*range(9), 10, 9, 11, 12]
    rows = [[*(row[i] for i in order), int(row[13])] for row in _rows("wine_data.csv", skip=1)]
    return _table([*(_WINE[i] for i in order), "target"], rows, target="integer")


BUNDLED: dict[str, Callable[[], Loaded]] = {
    "breast_cancer": breast_cancer,
    "diabetes": diabetes,
    "digits": digits,
    "iris": iris,
    "linnerud": linnerud,
    "wine": wine,
}
