"""Goes on training from a model file alone: numpy and onnxruntime, no onnx, no torch, no run folder."""

from ffedge.learning.files import roll_back
from ffedge.learning.learner import Learner
from ffedge.learning.run import Learning, learn

__all__ = ["Learner", "Learning", "learn", "roll_back"]
