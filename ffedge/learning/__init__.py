"""Goes on training from a model file alone: numpy and onnxruntime, no onnx, no torch, no run folder."""
