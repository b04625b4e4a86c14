"""Makes other forms of a trained model, which answer sooner, and measures them. It runs where the onnx package is.

`names` and `clock` do without it.
"""
