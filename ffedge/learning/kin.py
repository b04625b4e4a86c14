"""Whether models are of one kind, so that they can be merged, and where they parted."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ffedge import json_text
from ffedge.errors import ModelError
from ffedge.model.file import Model
from ffedge.network import InputFacts
from ffedge.recipe import Recipe

START_ANEW = "Let every board learn from one and the same model"


def check_fits(name: str, recipe: Recipe, facts: InputFacts, first: Model) -> None:
    """Raise ModelError where a model is of another kind than the first: its classes, input, layers or rule differ."""
    known, others = facts.classes, first.facts.classes
    if known != others:
        alone = [*(c for c in known if c not in others), *(c for c in others if c not in known)]
        how = f"other classes ({alone[0]!r} is in one of them alone)" if alone else "its classes in another order"
        raise ModelError(
            f"{name}: knows {how} than {first.name}. {START_ANEW}, which knows all classes; `ffedge learn` adds one"
        )
    pairs: list[tuple[str, Any, Any, str]]
    pairs = [(f"the input's {f.name}", facts, first.facts, f.name) for f in dataclasses.fields(InputFacts)]
    for mine, theirs in ((recipe.network, first.recipe.network), (recipe.rule, first.recipe.rule)):
        pairs += [(f.name, mine, theirs, f.name) for f in dataclasses.fields(mine)]
    for what, own, other, field in pairs:
        if getattr(own, field) != getattr(other, field):
            said, than = (_said(getattr(part, field)) for part in (own, other))
            raise ModelError(f"{name}: has {what} {said}, but {first.name} {than}. {START_ANEW}")


def kind_of(recipe: Recipe, facts: InputFacts) -> str:
    """Return what is the same for all models of one kind: 128 bits of a sha256, in hex."""
    kind = [recipe.to_dict()[part] for part in ("network", "rule")]
    return sha256(json_text.text([*kind, facts.to_dict()]).encode()).hexdigest()[:32]


def _said(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True)
class Parting:
    """Where models parted.

    Attributes
    ----------
    fingerprint : of the weights that all went out from.
    rows : [K] that each learnt since.
    times : how often the first one has learnt since.
    """

    fingerprint: str
    rows: list[int]
    times: int


def parting_of(models: Sequence[Model]) -> Parting | None:
    """Return where models parted: the last weights that all of them had; None where their files do not tell."""
    histories = [_history(model) for model in models]
    common = [state for state in histories[0] if all(state in history for history in histories)]
    if not common:
        return None
    last = common[-1]
    return Parting(last, [history[last][0] for history in histories], histories[0][last][1])


def _history(model: Model) -> dict[str, tuple[int, int]]:
    """Return the fingerprints that a model's weights had, the last ones last, and what it learnt since: rows, times."""
    learnt, rows, since = model.metadata.get("learnt"), 0, {model.fingerprint(): (0, 0)}
    for times, time in enumerate(reversed(learnt if isinstance(learnt, list) else []), start=1):
        known = isinstance(time, dict) and isinstance(time.get("from"), str) and type(time.get("rows")) is int
        if not known or not 0 <= time["rows"] < 1 << 53:
            break
        rows += time["rows"]
        since.setdefault(time["from"], (rows, times))
    return dict(reversed(since.items()))
