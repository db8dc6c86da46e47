"""The task anomaly: what the detectors say is what scikit-learn says, and labels measure it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pgannex_server.tabular import artifact, predictor
from pgannex_server.tabular.fit import fit
from pgannex_server.tabular.outcome import Outcome
from pgannex_server.tabular.predictor import Predictor
from pgannex_wire import WireError
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM
from tabular_rows import Told, features_of, spec_of, table_of

RNG = np.random.default_rng(7)
ROWS = np.concatenate((RNG.normal(size=(970, 3)), RNG.uniform(-12, 12, size=(30, 3))))
ODD = np.arange(1000) >= 970
DETECTORS = {
    "isolation_forest": ({"contamination": 0.03}, IsolationForest(contamination=0.03, random_state=42)),
    "local_outlier_factor": ({"n_neighbors": 15}, LocalOutlierFactor(n_neighbors=15, novelty=True)),
    "one_class_svm": ({"contamination": 0.05}, OneClassSVM(nu=0.05)),
}


def fitted(algorithm: str, labelled: bool, **more: Any) -> tuple[Outcome, Predictor]:
    columns: dict[str, Any] = features_of(ROWS)
    labels = ["odd"] if labelled else []
    if labelled:
        columns["odd"] = ODD
    spec = spec_of(columns, labels, "anomaly", algorithm, test_sampling="last", test_size=0.2, **more)
    outcome = fit(spec, table_of(columns, labels), Told())
    found = predictor.load(*artifact.read(artifact.sign(outcome.body, b"key")))
    assert isinstance(found, Predictor)
    return outcome, found


@pytest.mark.parametrize("algorithm", DETECTORS)
def test_scores_and_flags_are_the_librarys(algorithm: str) -> None:
    hyperparams, library = DETECTORS[algorithm]
    outcome, model = fitted(algorithm, labelled=True, hyperparams=hyperparams)
    dtype = np.float32 if algorithm == "isolation_forest" else np.float64
    rows: NDArray[Any] = ROWS.astype(dtype)
    library.fit(rows[:800])
    matrix = model.features(rows.reshape(-1), len(rows))
    np.testing.assert_allclose(model.score(matrix), -library.decision_function(rows), atol=1e-12)
    np.testing.assert_array_equal(model.predict(matrix), library.predict(rows) < 0)
    np.testing.assert_array_equal(model.score(matrix) > 0, model.predict(matrix) == 1)
    held_out = -library.decision_function(rows[800:])
    assert outcome.result["metrics"]["roc_auc"] == pytest.approx(roc_auc_score(ODD[800:], held_out))
    assert outcome.result["metrics"]["roc_auc"] > 0.9
    assert outcome.result["metrics"]["flagged_share"] == pytest.approx(
        (library.predict(rows[800:]) < 0).mean()
    )
    assert outcome.result["deployable"]


def test_without_labels_there_are_only_scores() -> None:
    outcome, model = fitted("isolation_forest", labelled=False)
    assert set(outcome.result["metrics"]) >= {
        "flagged_share",
        "score_p01",
        "score_p50",
        "score_p99",
        "fit_time",
    }
    assert "roc_auc" not in outcome.result["metrics"]
    strange, usual = model.score(model.rows(['{"x0": 11, "x1": -11, "x2": 11}', "[0, 0, 0]"]))
    assert strange > 0 > usual


def test_the_same_fit_gives_the_same_bytes() -> None:
    assert (
        fitted("isolation_forest", labelled=True)[0].body == fitted("isolation_forest", labelled=True)[0].body
    )


def test_what_an_anomaly_model_does_not_answer() -> None:
    _outcome, model = fitted("one_class_svm", labelled=False)
    with pytest.raises(WireError, match="no probabilities"):
        model.proba(ROWS[:1])
    with pytest.raises(WireError, match="does not decompose"):
        model.decompose(ROWS[:1])


@pytest.mark.parametrize(
    ("algorithm", "more", "message"),
    [
        (
            "isolation_forest",
            {"search": "grid", "search_params": {"n_estimators": [1]}},
            "nothing to search by",
        ),
        ("local_outlier_factor", {"hyperparams": {"novelty": False}}, "novelty = false"),
        ("isolation_forest", {"hyperparams": {"contaminated": 1}}, "no hyperparameter `contaminated`"),
        ("isolation_forest", {"hyperparams": {"contamination": 3}}, "contamination"),
    ],
)
def test_what_cannot_be_asked(algorithm: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(WireError, match=message) as failed:
        fitted(algorithm, labelled=False, **more)
    assert failed.value.code == "bad_argument"
    assert failed.value.hint


def test_a_text_is_no_label() -> None:
    columns: dict[str, Any] = {**features_of(ROWS), "odd": ["yes", "no"] * 500}
    with pytest.raises(WireError, match="label `odd` is of type"):
        fit(spec_of(columns, ["odd"], "anomaly", "isolation_forest"), table_of(columns, ["odd"]), Told())
