"""The version of ffedge, where every part can read it."""

__version__ = "0.1.0"
MODEL_FORMAT = 1  # of model files; a reader refuses one that it does not know
