"""ONNX without the onnx package: build graphs, walk their shapes, read files strictly, write them block by block."""
