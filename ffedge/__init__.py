"""ffedge: train small networks layer by layer, without backpropagation, on the device that uses them.

>>> import ffedge
>>> run = ffedge.train(ffedge.Spec.make(variant="acff"), "mnist-mini")
>>> ffedge.Predictor(run.model).predict(image).label

Names are resolved on first use, so that ``import ffedge`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ffedge.version import __version__

if TYPE_CHECKING:
    from ffedge.data import Dataset, load
    from ffedge.errors import FfedgeError
    from ffedge.learning.files import roll_back
    from ffedge.learning.learn import Learning, learn
    from ffedge.learning.learner import Learner
    from ffedge.predict.evaluation import Evaluation, evaluate
    from ffedge.predict.monitor import Monitor
    from ffedge.predict.predictor import Prediction, Predictor
    from ffedge.predict.recalibration import recalibrate
    from ffedge.spec import Spec
    from ffedge.training.train import Run, train

_HOMES = {
    "Dataset": "ffedge.data",
    "Evaluation": "ffedge.predict.evaluation",
    "FfedgeError": "ffedge.errors",
    "Learner": "ffedge.learning.learner",
    "Learning": "ffedge.learning.learn",
    "Monitor": "ffedge.predict.monitor",
    "Prediction": "ffedge.predict.predictor",
    "Predictor": "ffedge.predict.predictor",
    "Run": "ffedge.training.train",
    "Spec": "ffedge.spec",
    "evaluate": "ffedge.predict.evaluation",
    "learn": "ffedge.learning.learn",
    "load": "ffedge.data",
    "recalibrate": "ffedge.predict.recalibration",
    "roll_back": "ffedge.learning.files",
    "train": "ffedge.training.train",
}

__all__ = [
    "Dataset",
    "Evaluation",
    "FfedgeError",
    "Learner",
    "Learning",
    "Monitor",
    "Prediction",
    "Predictor",
    "Run",
    "Spec",
    "__version__",
    "evaluate",
    "learn",
    "load",
    "recalibrate",
    "roll_back",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ffedge' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
