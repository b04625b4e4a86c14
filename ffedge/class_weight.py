"""What the classes count in a training's loss, as a spec says it: none (all alike), balanced, or some by name."""

import json
from collections.abc import Mapping, Sequence

from ffedge.fields import is_finite
from ffedge.json_text import parse

RULE = "be none, balanced, or name=X,… with each X above 0"


def spelt(value: object) -> object:
    """Return a mapping of names to weights as the text that a spec holds; all else as it is."""
    if not isinstance(value, Mapping):
        return value
    named = {str(name): weight for name, weight in value.items()}
    numbers = [weight.item() if hasattr(weight, "item") else weight for weight in named.values()]  # numpy's
    if not named or not all(is_finite(weight) for weight in numbers):
        raise ValueError(f"`class_weight` must {RULE}, got {value!r}")
    if any(set(name) & set(',="') or name != name.strip() or not name for name in named):
        return json.dumps(dict(zip(named, numbers, strict=True)))
    return ",".join(f"{name}={weight!r}" for name, weight in zip(named, numbers, strict=True))


def read(text: str) -> dict[str, float]:
    """Return the weights of classes that a spec names; ValueError where it is no such text."""
    try:
        if text.startswith("{"):
            weights = dict(parse(text).items())
        else:
            parts = [part.rpartition("=") for part in text.split(",") if part.strip()]
            weights = {name.strip(): float(weight) for name, _, weight in parts}
            if len(weights) != len(parts):
                raise ValueError
        if not weights or not all(name and is_finite(weight) and weight > 0 for name, weight in weights.items()):
            raise ValueError
    except (ValueError, AttributeError):
        raise ValueError(f"`class_weight` must {RULE}, got {text!r}") from None
    return weights


def check_names(text: str, classes: Sequence[str]) -> None:
    """Raise ValueError where a class is named that there is not."""
    if text in ("none", "balanced"):
        return
    if strange := sorted(set(read(text)) - set(classes)):
        known = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
        raise ValueError(f"`class_weight` names {strange[0]!r}, but the classes are {known}. Name one of these")
