"""Makes other forms of a trained model, which answer sooner, and measures them; int8 needs the onnx package."""
