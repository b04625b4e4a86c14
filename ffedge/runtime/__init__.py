"""The half that is deployed: runs ffedge's graphs with onnxruntime and numpy alone."""

from ffedge.runtime.predictor import Prediction, Predictor

__all__ = ["Prediction", "Predictor"]
