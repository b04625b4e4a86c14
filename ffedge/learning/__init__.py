"""Goes on training from a model file alone: numpy and onnxruntime, no onnx, no torch, no run folder."""

from ffedge.learning.learner import Learner
from ffedge.learning.run import Learning, learn, roll_back

__all__ = ["Learner", "Learning", "learn", "roll_back"]
