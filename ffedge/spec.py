"""What a network is and how it learns: frozen dataclasses, validated where they are made, to and from JSON.

Every flag of the command line has one home here, the field that it fills; field names are unique over the three
parts, so that ``Spec.make(variant="acff", widths=(500, 500))`` needs no nesting. What only the data can tell
(``auto`` values) is filled in by `network.resolve`. Presets stand in `ffedge.presets`.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from ffedge.fields import Bytes, bytes_of, check, check_choices, is_finite, is_list, is_whole
from ffedge.presets import PRESETS
from ffedge.rule import RuleSpec

Norm = Literal["unit", "rms", "layer", "fixed"]
LabelMode = Literal["auto", "overlay", "concat"]
Scaling = Literal["auto", "standard", "centred", "feature", "range", "none"]
Optimizer = Literal["adam", "momentum", "sgd"]

MODEL_FORMAT = 1
LATER = ("bound", "coverage", "shift_share", "skip", "sparsity")  # older files may lack them: they take their default
TUNED_BATCH = 256
TUNED_NEGATIVES = 2
TUNED_CHUNK = 2048
TUNED_TILE_BYTES = 2**20
MOST_HELD_OUT = 2000
MAX_LAYERS = 64
MAX_CLASSES = 1000
MAX_THREADS = 1024
MOMENTS: dict[str, tuple[str, ...]] = {"adam": ("m", "v"), "momentum": ("m",), "sgd": ()}
ADAM_DECAYS = (0.9, 0.999)
ADAM_EPSILON = 1e-8
NORM_EPSILON = 1e-4
FOLLOWING = 0.01  # share of the way that a fixed norm goes to a batch's activity
HOMEOSTASIS = 0.5  # what a bias loses a step for each share of rows that its unit is active in too often
ITEM_BYTES = 4  # of a float32
OPEN = (  # fields of a training that a model file's own learning step leaves open; all others are inside it
    *("epochs", "batch_size", "memory_budget", "chunk_size", "tile_bytes", "moments", "schedule", "negatives"),
    *("rate", "cooldown", "holdout", "shift", "shift_share", "threads", "seed"),
)


@dataclass(frozen=True)
class NetworkSpec:
    """The layers and how a label enters them.

    Attributes
    ----------
    widths : units of each layer, 1 to 64 layers.
    norm : what a layer's activity is divided by before the next layer sees it: its length (``unit``), its root mean
        square (``rms``), its deviation after the mean is taken off (``layer``), or one number for all rows, the root
        mean square of what the layer did in training (``fixed``: what spiking networks can carry).
    bound : the largest activity of a unit, or ``none``.
    skip : ``add`` lets a layer that is as wide as what it reads pass on both, its normalised activity and what it read,
        added and normalised again, so that what the first layer saw reaches all further ones; ``none`` does not.
    goodness : mean or sum of a layer's squared activities.
    label_mode : ``overlay`` replaces the first C inputs by the label, ``concat`` puts it beside the input, ``auto``
        chooses concat where the input has no free border or fewer inputs than classes.
    label_layers : the layers that see the label.
    label_scale : value of the label's one active input, after scaling; ``max`` takes the largest scaled input,
        ``auto`` sqrt(inputs / 8), so that a label weighs as much beside 10 inputs as beside 1,000.
    scaling : of the raw inputs, from the training rows: ``standard`` (one mean and deviation for all inputs),
        ``centred`` (a mean for each, one deviation for all), ``feature`` (a mean and deviation for each), ``range``
        (divide by the largest magnitude), ``none``. ``auto``: ``feature`` for floats; for bytes ``centred``, or
        ``standard`` where they are strokes on an even ground.
    input_norm : norm of each input row, label included, before the first layer.
    """

    widths: tuple[int, ...] = (500, 500)
    norm: Norm = "rms"
    bound: float | Literal["none"] = "none"
    skip: Literal["none", "add"] = "none"
    goodness: Literal["mean", "sum"] = "mean"
    label_mode: LabelMode = "auto"
    label_layers: Literal["first", "all"] = "first"
    label_scale: float | Literal["max", "auto"] = 10.0
    scaling: Scaling = "auto"
    input_norm: Literal["none", "unit", "rms"] = "none"

    def __post_init__(self) -> None:
        """Raise ValueError for a value outside its rule."""
        check_choices(self)
        check(
            is_list(self.widths) and 1 <= len(self.widths) <= MAX_LAYERS,
            "widths",
            f"name 1 to {MAX_LAYERS} layers",
            self.widths,
        )
        for width in self.widths:
            check(is_whole(width) and 1 <= width <= 65536, "widths", "be whole numbers from 1 to 65536", self.widths)
        check(
            self.bound == "none" or (is_finite(self.bound) and self.bound > 0),
            "bound",
            "be a positive number or 'none'",
            self.bound,
        )
        scale = self.label_scale
        named, rule = scale in ("max", "auto"), "be a positive number, 'max' or 'auto'"
        check(named if isinstance(scale, str) else is_finite(scale) and scale > 0, "label_scale", rule, scale)
        check(self.skip == "none" or self.norm != "fixed", "skip", "be none where the norm is fixed", self.skip)


@dataclass(frozen=True)
class TrainSpec:
    """The schedule, the stream and the optimiser.

    Attributes
    ----------
    epochs : passes over the data that each layer gets, in either schedule; ``auto`` takes 20, or more where there are
        few rows: as many as make 1,000 minibatches, 100 at most; twice as many for tables of 20 classes and more.
    batch_size : rows of a minibatch; ``full`` takes the whole training set as one batch, ``auto`` takes 256, or fewer
        where there are few rows: a fiftieth of them, at least 32.
    memory_budget : most bytes that the training process may have resident, imports included (also ``64MiB``, ``1GB``);
        ``none`` sets no limit.
    chunk_size : most rows in memory at once; a larger batch is accumulated exactly, chunk by chunk. ``auto`` takes
        2048, or what the memory budget allows.
    tile_bytes : most bytes of a layer's weights that are updated at once; the result is the same whatever it is.
        ``auto`` takes 1 MiB, or less where the budget is tight.
    moments : where the optimiser keeps the moments of the weights: in ``memory``, or in a ``file`` in the run folder,
        which is slower. ``auto`` takes memory where the budget has room.
    schedule : ``greedy`` trains a layer to its end, then the next; ``interleaved`` takes each minibatch through all.
    negatives : wrong labels drawn once (``fixed``), anew each epoch (``fresh``), or from the softmax of the network's
        own class goodness: of the first layer (``hard``) or of all layers so far (``hard-sum``).
    n_negatives : wrong labels a sample; ``auto`` takes 2, or 1 of 2 classes, or 6 for tables of 20 classes and more.
    rate : learning rate of each layer; the last one serves all further layers.
    momentum : of the optimiser ``momentum``, and Adam's first decay.
    cooldown : the rate falls linearly to 0 over the second ``half``, over all (``linear``), or never (``none``).
    weight_decay : decoupled: W loses ``rate * weight_decay`` of itself a step.
    input_dropout : share of inputs set to 0 (after scaling), with one mask for all labels of a sample; ``auto`` takes
        0.2 for images and 0 for tables, or 0.1 for those of 20 classes and more.
    shift : images move by up to so many pixels either way, each sample by its own draw.
    shift_share : share of the images that a shift moves, drawn anew each epoch; the others stay as they are.
    cache : ``activations`` keeps what finished layers make of every row on disk (for every class, in float16; with
        ``fixed`` negatives for the labels that are tried, in float32), so that each layer costs the same however deep
        it stands; needs greedy training without input_dropout and shift.
    holdout : share of the training rows (2,000 at most) kept apart to measure accuracy while training.
    coverage : share of the held-out rows whose answers shall count as known; the model calls other answers unknown.
    threads : of the onnx engine; 0 takes all cores, or one where the memory budget is tight.
    """

    epochs: int | Literal["auto"] = 20
    batch_size: int | Literal["full", "auto"] = "auto"
    memory_budget: Bytes | Literal["none"] = "none"
    chunk_size: int | Literal["auto"] = "auto"
    tile_bytes: Bytes | Literal["auto"] = "auto"
    moments: Literal["auto", "memory", "file"] = "auto"
    schedule: Literal["greedy", "interleaved"] = "greedy"
    negatives: Literal["fixed", "fresh", "hard", "hard-sum"] = "hard"
    n_negatives: int | Literal["auto"] = "auto"
    optimizer: Optimizer = "adam"
    rate: tuple[float, ...] = (0.015, 0.005)
    momentum: float = 0.9
    cooldown: Literal["none", "linear", "half"] = "linear"
    weight_decay: float = 0.05
    input_dropout: float | Literal["auto"] = 0.2
    shift: int = 0
    shift_share: float = 1.0
    cache: Literal["none", "activations"] = "none"
    holdout: float = 0.05
    coverage: float = 0.95
    engine: Literal["onnx", "torch"] = "onnx"
    device: str = "cpu"
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a value outside its rule."""
        check_choices(self)
        for name, words in (
            ("epochs", ("auto",)),
            ("batch_size", ("full", "auto")),
            ("n_negatives", ("auto",)),
            ("chunk_size", ("auto",)),
            ("tile_bytes", ("auto",)),
            ("memory_budget", ("none",)),
        ):
            value = getattr(self, name)
            rule = f"be 1 or more, or {' or '.join(words)}"
            check(value in words or (is_whole(value) and value >= 1), name, rule, value)
        check(is_whole(self.seed) and self.seed >= 0, "seed", "be 0 or more", self.seed)
        check(is_whole(self.threads) and 0 <= self.threads <= MAX_THREADS, "threads", "be 0 to 1024", self.threads)
        check(
            is_list(self.rate) and bool(self.rate) and all(is_finite(r) and r > 0 for r in self.rate),
            "rate",
            "be positive",
            self.rate,
        )
        for name in ("momentum", "input_dropout", "holdout"):
            value = getattr(self, name)
            if name != "input_dropout" or value != "auto":
                check(is_finite(value) and 0 <= value < 1, name, "be in [0, 1)", value)
        check(is_finite(self.coverage) and 0 < self.coverage <= 1, "coverage", "be in (0, 1]", self.coverage)
        check(
            is_finite(self.weight_decay) and self.weight_decay >= 0,
            "weight_decay",
            "not be negative",
            self.weight_decay,
        )
        check(
            max(self.rate) * self.weight_decay < 1,
            "weight_decay",
            f"be less than {1 / max(self.rate):.3g} at this rate",
            self.weight_decay,
        )
        check(is_whole(self.shift) and 0 <= self.shift <= 8, "shift", "be 0 to 8 pixels", self.shift)
        share = self.shift_share
        check(is_finite(share) and 0 < share <= 1, "shift_share", "be in (0, 1]", share)

    @property
    def passes(self) -> int:
        """Passes over the data that each layer gets, once resolved."""
        return int(self.epochs)

    @property
    def dropped(self) -> float:
        """Share of inputs set to 0, once resolved."""
        return float(self.input_dropout)

    @property
    def chunk_rows(self) -> int:
        """Most rows in memory at once, once resolved."""
        return int(self.chunk_size)

    @property
    def wrong_labels(self) -> int:
        """K, the wrong labels of a sample, once resolved."""
        return int(self.n_negatives)

    @property
    def thread_count(self) -> int:
        """Threads of the onnx engine, counted."""
        return self.threads or os.cpu_count() or 1

    def held_out(self, rows: int) -> int:
        """Return how many of the training split's rows are held out."""
        return min(int(rows * self.holdout), MOST_HELD_OUT)

    def layer_rate(self, layer: int) -> float:
        """Return the learning rate of a layer before any cooldown."""
        return self.rate[min(layer, len(self.rate) - 1)]


@dataclass(frozen=True)
class Spec:
    """A network, its rule and its training, complete."""

    network: NetworkSpec = field(default_factory=NetworkSpec)
    rule: RuleSpec = field(default_factory=RuleSpec)
    train: TrainSpec = field(default_factory=TrainSpec)

    PARTS: ClassVar[dict[str, type]] = {"network": NetworkSpec, "rule": RuleSpec, "train": TrainSpec}

    def __post_init__(self) -> None:
        """Raise ValueError where two parts do not fit each other."""
        layers = len(self.network.widths)
        if not isinstance(self.rule.alpha, str):
            check(len(self.rule.alpha) == layers, "alpha", f"have {layers} rows, one a layer", self.rule.alpha)
        if self.train.cache != "none":
            self._check_cache()
        check(len(self.train.rate) <= layers, "rate", f"name at most {layers} layers", self.train.rate)

    def _check_cache(self) -> None:
        """Hold to what stays the same from epoch to epoch."""
        train = self.train
        for wrong, remedy in (
            (train.schedule != "greedy", "--schedule greedy"),
            (train.input_dropout not in (0, "auto"), "--input-dropout 0"),
            (train.shift > 0, "--shift 0"),
            (train.negatives == "hard-sum", "other --negatives than hard-sum"),
        ):
            if wrong:
                raise ValueError(f"cache activations needs rows that are the same in each epoch. Use {remedy}")

    @classmethod
    def field_names(cls) -> set[str]:
        """Return the names of all parts' fields."""
        return {field.name for part in cls.PARTS.values() for field in dataclasses.fields(part)}

    @classmethod
    def make(cls, preset: str = "tuned", **changes: Any) -> Self:
        """Build a spec from a preset and changed fields of any part.

        Raises
        ------
        ValueError
            An unknown preset or field, or a value outside its rule.
        """
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        values = {**PRESETS[preset], **changes}
        unknown = sorted(set(values) - cls.field_names())
        if unknown:
            raise ValueError(f"a spec has no field {unknown[0]!r}. Use {', '.join(sorted(cls.field_names()))}")

        for name in ("memory_budget", "tile_bytes"):
            if isinstance(values.get(name), str) and values[name] not in ("none", "auto"):
                values[name] = bytes_of(values[name])

        def part(name: str) -> Any:
            fields = dataclasses.fields(cls.PARTS[name])
            return cls.PARTS[name](**{f.name: values[f.name] for f in fields if f.name in values})

        if changes.get("norm") == "fixed" and "skip" not in changes:  # one number a layer has no place for a sum
            values["skip"] = "none"
        network = part("network")
        if "rate" not in changes:  # a preset may name more rates than a shallow network has layers
            values["rate"] = values.get("rate", TrainSpec.rate)[: len(network.widths)]
        return cls(network, part("rule"), part("train"))

    def optimizer_of(self, parameter: str) -> Optimizer:
        """Return the optimiser that a parameter learns by; gamma has its own, and a fixed norm needs none."""
        if parameter == "power":
            return "sgd"
        return self.rule.gamma_optimizer if parameter == "gamma" else self.train.optimizer

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain lists, numbers and strings."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises
        ------
        ValueError
            A part or field is missing or unknown, or a value is outside its rule.
        """
        parts: dict[str, Any] = {}
        for name, part in cls.PARTS.items():
            given = data.get(name) if isinstance(data, Mapping) else None
            names = {f.name for f in dataclasses.fields(part)}
            later = {n for n in LATER if n in names}
            if not isinstance(given, Mapping) or not names - later <= set(given) <= names:
                raise ValueError(f"{name} must have just the fields {', '.join(sorted(names))}")
            parts[name] = part(**{key: _frozen(value) for key, value in given.items()})
        return cls(**parts)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
