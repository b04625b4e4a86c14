"""What a fleet's Flower app may be told, in the app's pyproject.toml under [tool.flwr.app.config]."""

from collections.abc import Mapping
from typing import Any

from ffedge.errors import FfedgeError
from ffedge.fields import is_finite, is_whole
from ffedge.learning.average import METHODS

SETTINGS = {  # with their defaults
    "model": "model.onnx",
    "out": "fleet.onnx",
    "rounds": 10,
    "layers": "all",
    "method": "mean",
    "most-norm": 10.0,
    "epochs": 1,
    "boards": 2,
    "share": 1.0,
    "wait-s": 300.0,
    "timeout-s": 600.0,
}
CHOICES = {"layers": ("all", "one"), "method": METHODS}


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings, those that are not given by default; FfedgeError names one that cannot be."""
    if unknown := sorted(set(given) - set(SETTINGS)):
        raise FfedgeError(f"pyproject.toml: {unknown[0]} is no setting of a fleet. Use {', '.join(SETTINGS)}")
    chosen = SETTINGS | dict(given)
    for name, value in chosen.items():
        if (rule := _rule(name, value)) is not None:
            raise FfedgeError(f"pyproject.toml: {name} must be {rule}, got {value!r}")
    return chosen


def _rule(name: str, value: Any) -> str | None:
    """Return what a setting must be, where it is not so."""
    if name in CHOICES:
        return None if value in CHOICES[name] else " or ".join(CHOICES[name])
    if isinstance(SETTINGS[name], str):
        return None if isinstance(value, str) and value else "a path"
    if isinstance(SETTINGS[name], int):
        return None if is_whole(value) and value >= 1 else "a whole number from 1"
    least = 1 if name == "most-norm" else 0
    if name == "share":
        return None if is_finite(value) and 0 <= value <= 1 else "a number from 0 to 1"
    return None if is_finite(value) and value >= least else f"a number from {least}"
