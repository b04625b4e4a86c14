"""Engines hold a network's state and run its learning steps: onnxruntime's for devices, torch's to compare with."""
