"""The errors that ffedge raises for what a user can mend.

A wrong argument is a ``ValueError``; a wrong file, configuration or environment is an `FfedgeError`. The command
line prints either as one line and exits with 2 or 1. Anything else is a bug and keeps its traceback.
"""


class FfedgeError(Exception):
    """A file, a configuration or an environment is at fault; the message says what, where, and what to do."""


class DataError(FfedgeError):
    """A data set cannot be used: it is missing, truncated, corrupt, mismatched or empty."""


class ModelError(FfedgeError):
    """A model file or checkpoint cannot be used."""


class TrainingError(FfedgeError):
    """Training had to stop: a loss is not a number, or a run cannot go on."""


class StoppedError(TrainingError):
    """Training was asked to stop, and its checkpoint is written."""
