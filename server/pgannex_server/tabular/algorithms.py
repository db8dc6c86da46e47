"""The one table of algorithms: name, tasks, class, several targets or not, how it is stored.

Which question it answers: what `algorithm` means for a task. Standard library only, because
the server reads it before a fit exists; classes are text, imported by `estimators.py` in the
process of a fit. Adding an algorithm is a line of `_ROWS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

TASKS: Final = ("regression", "classification", "clustering", "decomposition", "anomaly", "forecasting")
SUPERVISED: Final = frozenset({"regression", "classification", "forecasting"})
DEFAULTS: Final = {
    "clustering": "kmeans",
    "decomposition": "pca",
    "anomaly": "isolation_forest",
    "forecasting": "lightgbm",
}
"""What `linear`, the default of every call, means where there is nothing linear."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One row. `classes`: "module:Class" per task.

    `joint`: several targets need a MultiOutputRegressor. `numbers`: what the library computes
    in; a matrix of it costs no copy and changes no result. `labelled`: a clustering that cannot
    predict; a row gets the label of the nearest row that was fitted. `onnx`: worth a conversion.
    `renamed`: other names of hyperparameters, and the class's own.
    """

    name: str
    classes: Mapping[str, str]
    joint: bool = False
    format: str = "skops"
    onnx: bool = False
    numbers: str = "float64"
    labelled: bool = False
    extra: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.classes)


_XGBOOST: Final = {
    "eta": "learning_rate",
    "min_split_loss": "gamma",
    "lambda": "reg_lambda",
    "alpha": "reg_alpha",
    "boost_rounds": "n_estimators",
    "nthread": "n_jobs",
    "seed": "random_state",
}
_LINFA: Final = {"max_iterations": "max_iter", "gradient_tolerance": "tol"}
_LINFA_SVM: Final = {"eps": "tol"}


def _sklearn(module: str, regressor: str = "", classifier: str = "") -> dict[str, str]:
    found = {"regression": regressor, "classification": classifier}
    return {task: f"sklearn.{module}:{name}" for task, name in found.items() if name}


def _one(task: str, where: str) -> dict[str, str]:
    return {task: where}


def _linear(name: str, regressor: str = "", classifier: str = "", *, joint: bool = False) -> Algorithm:
    return Algorithm(name, _sklearn("linear_model", regressor, classifier), joint=joint)


def _clusters(name: str, where: str, *, labelled: bool = False, **also: str) -> Algorithm:
    return Algorithm(name, {"clustering": where, **also}, labelled=labelled)


_ROWS: Final = (
    Algorithm("linear", _sklearn("linear_model", "LinearRegression", "LogisticRegression"), renamed=_LINFA),
    _linear("ridge", "Ridge", "RidgeClassifier"),
    _linear("lasso", "Lasso"),
    _linear("elastic_net", "ElasticNet"),
    _linear("least_angle", "Lars"),
    _linear("lasso_least_angle", "LassoLars"),
    _linear("orthogonal_matching_pursuit", "OrthogonalMatchingPursuit"),
    _linear("bayesian_ridge", "BayesianRidge", joint=True),
    _linear("automatic_relevance_determination", "ARDRegression", joint=True),
    _linear("stochastic_gradient_descent", "SGDRegressor", "SGDClassifier", joint=True),
    _linear("perceptron", "", "Perceptron"),
    _linear("passive_aggressive", "PassiveAggressiveRegressor", "PassiveAggressiveClassifier", joint=True),
    _linear("ransac", "RANSACRegressor"),
    _linear("theil_sen", "TheilSenRegressor", joint=True),
    _linear("huber", "HuberRegressor", joint=True),
    _linear("quantile", "QuantileRegressor", joint=True),
    Algorithm("kernel_ridge", _sklearn("kernel_ridge", "KernelRidge")),
    Algorithm(
        "gaussian_process",
        _sklearn("gaussian_process", "GaussianProcessRegressor", "GaussianProcessClassifier"),
    ),
    Algorithm("svm", _sklearn("svm", "SVR", "SVC"), joint=True, renamed=_LINFA_SVM),
    Algorithm("nu_svm", _sklearn("svm", "NuSVR", "NuSVC"), joint=True),
    Algorithm("linear_svm", _sklearn("svm", "LinearSVR", "LinearSVC"), joint=True),
    Algorithm("knn", _sklearn("neighbors", "KNeighborsRegressor", "KNeighborsClassifier")),
    Algorithm("ada_boost", _sklearn("ensemble", "AdaBoostRegressor", "AdaBoostClassifier"), joint=True),
    Algorithm(
        "bagging", _sklearn("ensemble", "BaggingRegressor", "BaggingClassifier"), joint=True, onnx=True
    ),
    Algorithm(
        "random_forest",
        _sklearn("ensemble", "RandomForestRegressor", "RandomForestClassifier"),
        onnx=True,
        numbers="float32",
    ),
    Algorithm(
        "extra_trees",
        _sklearn("ensemble", "ExtraTreesRegressor", "ExtraTreesClassifier"),
        onnx=True,
        numbers="float32",
    ),
    Algorithm(
        "gradient_boosting_trees",
        _sklearn("ensemble", "GradientBoostingRegressor", "GradientBoostingClassifier"),
        joint=True,
        onnx=True,
        numbers="float32",
    ),
    Algorithm(
        "hist_gradient_boosting",
        _sklearn("ensemble", "HistGradientBoostingRegressor", "HistGradientBoostingClassifier"),
        joint=True,
    ),
    Algorithm(
        "xgboost",
        {
            "regression": "xgboost:XGBRegressor",
            "classification": "xgboost:XGBClassifier",
            "forecasting": "xgboost:XGBRegressor",
        },
        format="xgboost-ubj",
        onnx=True,
        numbers="float32",
        renamed=_XGBOOST,
    ),
    Algorithm(
        "xgboost_random_forest",
        {"regression": "xgboost:XGBRFRegressor", "classification": "xgboost:XGBRFClassifier"},
        format="xgboost-ubj",
        onnx=True,
        numbers="float32",
        renamed=_XGBOOST,
    ),
    Algorithm(
        "lightgbm",
        {
            "regression": "lightgbm:LGBMRegressor",
            "classification": "lightgbm:LGBMClassifier",
            "forecasting": "lightgbm:LGBMRegressor",
        },
        joint=True,
        format="lightgbm-text",
        onnx=True,
    ),
    Algorithm(
        "catboost",
        {"regression": "catboost:CatBoostRegressor", "classification": "catboost:CatBoostClassifier"},
        format="catboost-cbm",
        numbers="float32",
        extra="catboost",
    ),
    Algorithm(
        "ets",
        _one("forecasting", "statsmodels.tsa.holtwinters:ExponentialSmoothing"),
        format="ets-json",
        extra="statsmodels",
    ),
    _clusters("kmeans", "sklearn.cluster:KMeans"),
    _clusters("mini_batch_kmeans", "sklearn.cluster:MiniBatchKMeans"),
    _clusters("affinity_propagation", "sklearn.cluster:AffinityPropagation"),
    _clusters("birch", "sklearn.cluster:Birch", labelled=True),
    _clusters("mean_shift", "sklearn.cluster:MeanShift"),
    _clusters("dbscan", "sklearn.cluster:DBSCAN", labelled=True),
    _clusters("optics", "sklearn.cluster:OPTICS", labelled=True),
    _clusters("spectral", "sklearn.cluster:SpectralClustering", labelled=True),
    _clusters("spectral_bi", "sklearn.cluster:SpectralBiclustering", labelled=True),
    _clusters("spectral_co", "sklearn.cluster:SpectralCoclustering", labelled=True),
    _clusters("agglomerative", "sklearn.cluster:AgglomerativeClustering", labelled=True),
    _clusters(
        "feature_agglomeration",
        "sklearn.cluster:FeatureAgglomeration",
        labelled=True,
        decomposition="sklearn.cluster:FeatureAgglomeration",
    ),
    Algorithm("pca", _one("decomposition", "sklearn.decomposition:PCA")),
    Algorithm("isolation_forest", _one("anomaly", "sklearn.ensemble:IsolationForest"), numbers="float32"),
    Algorithm("local_outlier_factor", _one("anomaly", "sklearn.neighbors:LocalOutlierFactor")),
    Algorithm("one_class_svm", _one("anomaly", "sklearn.svm:OneClassSVM")),
)

ALGORITHMS: Final[Mapping[str, Algorithm]] = {row.name: row for row in _ROWS}


def for_task(task: str) -> list[str]:
    """The names of the algorithms that a task can use."""
    return [row.name for row in _ROWS if task in row.classes]
