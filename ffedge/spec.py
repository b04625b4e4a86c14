"""What is asked of a training: a network, its rule and its training (`ffedge.spec_parts`), which must fit each other.

Field names are unique over the three parts, so that ``Spec.make(variant="acff", widths=(500, 500))`` needs no nesting.
What only the data or a memory plan can tell stays ``auto`` here; `ffedge.resolve` makes of it a `ffedge.recipe.Recipe`,
in which nothing is open. Presets stand in `ffedge.presets`.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from ffedge.fields import Option, bytes_of, check, options
from ffedge.kinds import is_convolution, repeats
from ffedge.presets import PRESETS
from ffedge.spec_parts import MAX_LAYERS, RATE, NetworkSpec, RuleSpec, TrainSpec

LONGEST_REPR = 400


@dataclass(frozen=True)
class Spec:
    """What is asked of a training."""

    network: NetworkSpec = field(default_factory=NetworkSpec)
    rule: RuleSpec = field(default_factory=RuleSpec)
    train: TrainSpec = field(default_factory=TrainSpec)

    PARTS: ClassVar[dict[str, type]] = {"network": NetworkSpec, "rule": RuleSpec, "train": TrainSpec}

    def __post_init__(self) -> None:
        """Raise ValueError where two parts do not fit each other."""
        layers = self._most_layers()
        if not isinstance(self.rule.alpha, str) and not any(map(repeats, self.network.widths)):
            check(len(self.rule.alpha) == layers, "alpha", f"have {layers} rows, one a layer", self.rule.alpha)
        if any(map(is_convolution, self.network.widths)):
            rule = "be none where a layer is a convolution"
            check(self.rule.sparsity == "none", "sparsity", rule, self.rule.sparsity)
        if self.train.cache == "activations":
            self._check_cache()
        rate = self.train.rate
        check(rate == "auto" or len(rate) <= layers, "rate", f"name at most {layers} layers", rate)

    def _most_layers(self) -> int:
        """Return how many layers there are, or can be, where one repeats."""
        return MAX_LAYERS if any(map(repeats, self.network.widths)) else len(self.network.widths)

    def _check_cache(self) -> None:
        """Hold to layers below that have finished, and to what they say alone."""
        for wrong, remedy in (
            (self.train.schedule != "greedy", "`schedule='greedy'`"),
            (self.train.negatives == "hard-sum", "other `negatives` than hard-sum"),
        ):
            if wrong:
                raise ValueError(f"`cache='activations'` keeps what finished layers say. Use {remedy}")

    def left_open(self, to: Literal["data", "plan"]) -> list[str]:
        """Return the fields that the data, or a memory plan, are to fill in."""
        values = self._values()
        named = [name for name, each in self.options().items() if each.auto == to and each.is_open(values[name])]
        return ["widths", *named] if to == "data" and any(map(repeats, self.network.widths)) else named

    def check_used(self, names: Iterable[str]) -> Self:
        """Return it where each of some fields, which were asked for, plays a part; ValueError where one does not."""
        widths, declared = self.network.widths, self.options()
        values = self._values() | {"layers": self._most_layers(), "convolutions": sum(map(is_convolution, widths))}
        values["class_goodness"] = self.network.told_by
        values["hears"] = self.rule.variant != "ff" or self.rule.prediction_weights != "collaborative"
        for name in names:
            if values[name] == "none" or declared[name].is_open(values[name]):
                continue  # asks for nothing
            for other, idle in declared[name].idle.items():
                if values[other] in idle:
                    where = {
                        "layers": "in one layer",
                        "convolutions": "where no layer is a convolution",
                        "hears": "where `variant` is ff",
                    }.get(other, f"where `{other}` is {values[other]}")
                    raise ValueError(f"`{name}` plays no part {where}. Leave it out")
        return self

    def _values(self) -> dict[str, Any]:
        return vars(self.network) | vars(self.rule) | vars(self.train)

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Return what each field of the three parts is for, by its name."""
        return {name: each for part in cls.PARTS.values() for name, each in options(part).items()}

    @classmethod
    def make(cls, preset: str = "tuned", **changes: Any) -> Self:
        """Build a spec from a preset and changed fields of any part.

        Raises
        ------
        ValueError
            An unknown preset or field, a value outside its rule, or a change that plays no part beside the others.
        """
        if preset not in PRESETS:
            raise ValueError(f"`preset` must be one of {', '.join(PRESETS)}, got {preset!r}")
        changes = {name: _plain(value) for name, value in changes.items()}
        values = {**PRESETS[preset], **changes}
        if unknown := sorted(set(values) - set(cls.options())):
            raise ValueError(f"a spec has no field {unknown[0]!r}. Use {', '.join(sorted(cls.options()))}")

        for name in ("memory_budget", "tile_bytes"):
            if isinstance(values.get(name), str) and values[name] not in ("none", "auto"):
                values[name] = bytes_of(values[name])

        def part(name: str) -> Any:
            return cls.PARTS[name](**{field: values[field] for field in options(cls.PARTS[name]) if field in values})

        if preset == "spiking":
            values = {**values, **cls._spiking(values), **changes}
        if changes.get("norm") == "fixed" and "skip" not in changes:  # one number a layer has no place for a sum
            values["skip"] = "none"
        network = part("network")
        rate = values.get("rate", RATE)
        if "rate" not in changes and rate != "auto":  # a preset may name more rates than a shallow network has layers
            values["rate"] = rate[: len(network.widths)]
        return cls(network, part("rule"), part("train")).check_used(changes)

    @staticmethod
    def _spiking(values: dict[str, Any]) -> dict[str, Any]:
        """Return what the preset spiking takes otherwise where one run tells all classes.

        Biases that drift towards few active units are for the rates of labels that are tried. Those of groups are
        smaller, so that the drift would win.
        """
        if any(map(is_convolution, values.get("widths", ()))):  # which spikes carry with groups alone
            return {"sparsity": "none", "class_goodness": "groups"}
        return {"sparsity": "none"} if values.get("class_goodness") == "groups" else {}

    def __repr__(self) -> str:
        """Say what would make it again: the preset that it is nearest to, and what it has otherwise."""
        text = min((self._beside(preset) for preset in PRESETS), key=len)
        return text if len(text) <= LONGEST_REPR else f"{text[: LONGEST_REPR - 2]}…)"

    def _beside(self, preset: str) -> str:
        base = type(self).make(preset)._values()
        asked = [f"{name}={value!r}" for name, value in self._values().items() if value != base[name]]
        return f"Spec.make({', '.join([repr(preset), *asked])})"

    def with_train(self, **changes: Any) -> Self:
        """Return it with other fields of its training."""
        changes = {name: _plain(value) for name, value in changes.items()}
        return dataclasses.replace(self, train=dataclasses.replace(self.train, **changes))

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain lists, numbers and strings."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, here or in a `Recipe`.

        Raises
        ------
        ValueError
            A part or field is missing or unknown, or a value is outside its rule.
        """
        parts: dict[str, Any] = {}
        for name, part in cls.PARTS.items():
            given = data.get(name) if isinstance(data, Mapping) else None
            needed = {field for field, each in options(part).items() if not each.later}
            if not isinstance(given, Mapping) or not needed <= set(given) <= set(options(part)):
                raise ValueError(f"{name} must have just the fields {', '.join(sorted(options(part)))}")
            parts[name] = part(**given)
        return cls(**parts)


def _plain(value: Any) -> Any:
    """Return numpy's numbers and arrays as those of Python."""
    if isinstance(value, tuple | list):
        return tuple(map(_plain, value))
    return _plain(value.tolist()) if hasattr(value, "tolist") else value
