"""How a fitted estimator becomes bytes, and bytes a model that predicts.

One file per format, each imported only when it is used, so that a process with xgboost models
never imports LightGBM. Nothing is ever unpickled: xgboost and LightGBM have formats of their
own, scikit-learn is stored by skops with a closed list of types. `dump` runs in a fit, `load` in a
predictor; a blob that is not what it says is artifact_invalid.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, Final

from pgannex_wire import WireError

from pgannex_server.tabular.artifact import Blob
from pgannex_server.tabular.formats.base import Model

_MODULES: Final = {
    "xgboost-ubj": "xgboost_ubj",
    "lightgbm-text": "lightgbm_text",
    "catboost-cbm": "catboost_cbm",
    "skops": "skops_zip",
}
FORMATS: Final = tuple(_MODULES)


def dump(estimator: Any, format: str) -> bytes:
    """The blob of a fitted estimator. The same estimator gives the same bytes."""
    data: bytes = _module(format).dump(estimator)
    return data


def load(format: str, blob: Blob, threads: int = 0) -> Model:
    """The model of a blob; `threads` is how many it may compute with, 0 for all cores."""
    model: Model = _module(format).load(blob, threads or cores())
    return model


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def _module(format: str) -> Any:
    name = _MODULES.get(format)
    if name is None:
        raise WireError(
            "artifact_invalid",
            f'the artifact has the format "{format}", which this version does not know',
            hint=f"known: {', '.join(FORMATS)}; it may come from a newer version",
        )
    return importlib.import_module(f"{__name__}.{name}")
