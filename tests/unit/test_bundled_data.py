"""The bundled data sets hold what scikit-learn's own loaders give, under PostgresML's names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pgannex_server.tabular import bundled, datasets
from pgannex_wire import WireError

loaders = pytest.importorskip("sklearn.datasets", reason="the extra tabular is not installed")
TARGETS = {"linnerud": 3}
ORDER = {"wine": [*range(9), 10, 9, 11, 12]}


@pytest.mark.parametrize("name", bundled.BUNDLED)
def test_every_value_is_that_of_the_library(name: str) -> None:
    found = getattr(loaders, f"load_{name}")()
    columns, records = bundled.BUNDLED[name]()
    rows = list(records)
    assert [list(row) for row in rows[:1]] == [[column["name"] for column in columns]]
    ours: list[list[float]] = [_flat(list(row.values())) for row in rows]
    targets = (found.target == 0 if name == "breast_cancer" else found.target).reshape(len(rows), -1)
    data = found.data[:, ORDER.get(name, list(range(found.data.shape[1])))]
    for our, features, labels in zip(ours, data.tolist(), targets.tolist(), strict=True):
        assert our == pytest.approx([*features, *map(float, labels)], rel=1e-12, abs=1e-15)


def test_names_and_types_are_those_of_the_tables_of_postgresml() -> None:
    described = {name: bundled.BUNDLED[name]()[0] for name in bundled.BUNDLED}
    assert described["digits"] == [
        {"name": "image", "type": "smallint[]"},
        {"name": "target", "type": "smallint"},
    ]
    cancer = described["breast_cancer"]
    assert [c["name"] for c in cancer[:-1]] == loaders.load_breast_cancer().feature_names.tolist()
    assert cancer[-1] == {"name": "malignant", "type": "boolean"}
    wine = loaders.load_wine().feature_names
    assert [c["name"] for c in described["wine"][:-1]] == [wine[i] for i in ORDER["wine"]]
    assert [c["name"] for c in described["diabetes"]] == [*loaders.load_diabetes().feature_names, "target"]
    for name in ("diabetes", "linnerud"):
        assert {c["type"] for c in described[name]} == {"real"}


def test_the_answer_is_cut_at_the_limit_and_into_lines() -> None:
    head, *lines = [json.loads(line) for line in datasets.answer({"source": "digits", "limit": 1200})]
    assert [column["name"] for column in head["columns"]] == ["image", "target"]
    assert [len(line["records"]) for line in lines] == [500, 500, 200]


def test_what_is_no_number_of_json_travels_as_a_string() -> None:
    record = {"a": float("nan"), "b": [1.0, float("-inf")], "c": "NaN, and so on"}
    assert json.loads(datasets._text(record)) == {"a": "nan", "b": [1.0, "-inf"], "c": "NaN, and so on"}


@pytest.mark.parametrize(
    ("source", "kwargs"),
    [
        ("/etc/passwd", {}),
        ("../somewhere", {}),
        ("a/b/c", {}),
        ("", {}),
        ("owner/name", {"data_files": "/etc/passwd"}),
        ("owner/name", {"trust_remote_code": True}),
    ],
)
def test_what_could_read_a_file_of_the_server_is_refused(source: str, kwargs: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        datasets.check_source(source, kwargs)
    assert caught.value.code == "bad_argument"


def test_a_name_that_is_a_path_of_the_working_folder_is_refused(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    datasets.check_source("there", {})
    with pytest.raises(WireError):
        datasets.check_source("here", {})


def _flat(value: Any) -> list[float]:
    return [x for inner in value for x in _flat(inner)] if isinstance(value, list) else [float(value)]
