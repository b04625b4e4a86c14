"""The version of ffedge, where every part can read it."""

__version__ = "0.1.0"
