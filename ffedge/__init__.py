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
    from ffedge.data import Dataset, Reading, load
    from ffedge.errors import FfedgeError
    from ffedge.learning.files import roll_back
    from ffedge.learning.learn import learn
    from ffedge.learning.learner import Learner
    from ffedge.learning.merge import Merge, merge
    from ffedge.learning.result import Learning
    from ffedge.predict.evaluation import Evaluation, evaluate
    from ffedge.predict.monitor import Monitor
    from ffedge.predict.predictor import Prediction, Predictor
    from ffedge.predict.recalibration import recalibrate
    from ffedge.spec import Spec
    from ffedge.sweeps.run import sweep
    from ffedge.training.train import Run, train
    from ffedge.training.watch import Progress, Watcher

_NAMES = {  # module -> what it holds
    "data": "Dataset Reading load",
    "errors": "FfedgeError",
    "learning.files": "roll_back",
    "learning.learn": "learn",
    "learning.learner": "Learner",
    "learning.merge": "Merge merge",
    "learning.result": "Learning",
    "predict.evaluation": "Evaluation evaluate",
    "predict.monitor": "Monitor",
    "predict.predictor": "Prediction Predictor",
    "predict.recalibration": "recalibrate",
    "spec": "Spec",
    "sweeps.run": "sweep",
    "training.train": "Run train",
    "training.watch": "Progress Watcher",
}

__all__ = [
    "Dataset",
    "Evaluation",
    "FfedgeError",
    "Learner",
    "Learning",
    "Merge",
    "Monitor",
    "Prediction",
    "Predictor",
    "Progress",
    "Reading",
    "Run",
    "Spec",
    "Watcher",
    "__version__",
    "evaluate",
    "learn",
    "load",
    "merge",
    "recalibrate",
    "roll_back",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(importlib.import_module(f"ffedge.{module}"), name)
    raise AttributeError(f"module 'ffedge' has no attribute {name!r}")
