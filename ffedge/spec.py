"""What a network is and how it learns: frozen dataclasses, validated where they are made, to and from JSON.

Every flag of the command line has one home here, the field that it fills; field names are unique over the three
parts, so that ``Spec.make(variant="acff", widths=(500, 500))`` needs no nesting. What only the data can tell
(``auto`` values) is filled in by `network.resolve`. The presets stand at the end.
"""

import dataclasses
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NewType, Self, get_args, get_origin, get_type_hints

Variant = Literal["ff", "fcff", "acff"]
Loss = Literal["logistic", "symmetric", "contrastive"]
Norm = Literal["unit", "rms", "layer", "fixed"]
LabelMode = Literal["auto", "overlay", "concat"]
Scaling = Literal["auto", "standard", "feature", "range", "none"]
Optimizer = Literal["adam", "momentum", "sgd"]
Bytes = NewType("Bytes", int)

MODEL_FORMAT = 1
LATER = ("bound", "coverage", "skip", "sparsity")  # what older files may lack; such a field takes its default
TUNED_BATCH = 256
TUNED_NEGATIVES = 2
TUNED_CHUNK = 2048
TUNED_TILE_BYTES = 2**20
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
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
    *("rate", "cooldown", "holdout", "shift", "threads", "seed"),
)


def bytes_of(text: str) -> Bytes:
    """Read a number of bytes: ``64MiB``, ``1.5 GB``, ``67108864``.

    Raises
    ------
    ValueError
        It is no such number.
    """
    parts = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([A-Za-z]*)\s*", text)
    if parts is None or parts[2] not in UNITS:
        raise ValueError(f"a size must be a number and one of {', '.join(filter(None, UNITS))}, got {text!r}")
    return Bytes(int(float(parts[1]) * UNITS[parts[2]]))


def _check(ok: bool, name: str, rule: str, value: object) -> None:
    if not ok:
        raise ValueError(f"{name} must {rule}, got {value!r}")


def _check_choices(spec: object) -> None:
    """Hold every ``Literal`` field of a dataclass to its values."""
    for name, hint in get_type_hints(type(spec)).items():
        if get_origin(hint) is Literal:
            choices = get_args(hint)
            _check(getattr(spec, name) in choices, name, f"be one of {', '.join(choices)}", getattr(spec, name))


def is_finite(value: object) -> bool:
    """Tell whether a value is a number that a float can hold: no bool, no NaN, no infinity, not 10**400."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _listed(value: object) -> bool:
    return isinstance(value, tuple | list)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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
        ``feature`` (one for each input), ``range`` (divide by the largest magnitude), ``none``.
        ``auto``: ``standard`` for uint8, ``feature`` for floats.
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
        _check_choices(self)
        _check(
            _listed(self.widths) and 1 <= len(self.widths) <= MAX_LAYERS,
            "widths",
            f"name 1 to {MAX_LAYERS} layers",
            self.widths,
        )
        for width in self.widths:
            _check(_whole(width) and 1 <= width <= 65536, "widths", "be whole numbers from 1 to 65536", self.widths)
        _check(
            self.bound == "none" or (is_finite(self.bound) and self.bound > 0),
            "bound",
            "be a positive number or 'none'",
            self.bound,
        )
        scale = self.label_scale
        named, rule = scale in ("max", "auto"), "be a positive number, 'max' or 'auto'"
        _check(named if isinstance(scale, str) else is_finite(scale) and scale > 0, "label_scale", rule, scale)
        _check(self.skip == "none" or self.norm != "fixed", "skip", "be none where the norm is fixed", self.skip)


@dataclass(frozen=True)
class RuleSpec:
    """The learning rule of a layer: DESIGN.md section 2; the paper's open points are its options.

    Attributes
    ----------
    variant : ``ff`` (layers alone), ``fcff`` (gamma fixed, eq. 6), ``acff`` (gamma learnt, eq. 7).
    loss : ``logistic`` (eq. 4 and 8), ``symmetric`` (softplus of the difference, SymBa), ``contrastive``
        (cross-entropy over the goodness of the true label and of the wrong ones).
    slope : factor on the goodness inside the loss; None takes 1 (4 for ``symmetric``), ``auto`` 4 for the contrastive
        loss on tables too.
    smoothing : label smoothing of the contrastive loss; ``auto`` takes 0.05 for images and 0 for tables.
    sparsity : the share of rows that each unit is meant to be active in, or ``none``: the bias of one that is active
        more often falls, of one that is active less often rises, without a gradient.
    theta : goodness threshold of the logistic loss.
    theta_placement : ``per_layer`` takes theta off every layer's goodness in eq. 5, ``once`` off the layer's own only.
    scope : the layers that layer l listens to: all others, those before it, or those after it.
    alpha : weight of layer k in layer l: ``ones``, ``mean`` (1/(L-1)), or an L x L matrix.
    gamma : collaboration strength (A-CFF: its first value).
    gamma_rate, gamma_optimizer : how A-CFF learns gamma.
    prediction_weights : ``plain`` sums the layers' goodness, ``collaborative`` weighs layer l by
        ``1 + sum_{m != l} gamma_m alpha_ml``.
    """

    variant: Variant = "acff"
    loss: Loss = "contrastive"
    slope: float | Literal["auto"] | None = None
    smoothing: float | Literal["auto"] = 0.05
    sparsity: float | Literal["none"] = "none"
    theta: float = 2.0
    theta_placement: Literal["per_layer", "once"] = "per_layer"
    scope: Literal["all", "previous", "next"] = "all"
    alpha: Literal["ones", "mean"] | tuple[tuple[float, ...], ...] = "ones"
    gamma: float = 1.0
    gamma_rate: float = 0.01
    gamma_optimizer: Literal["sgd", "adam"] = "sgd"
    prediction_weights: Literal["plain", "collaborative"] = "plain"

    def __post_init__(self) -> None:
        """Raise ValueError for a value outside its rule."""
        _check_choices(self)
        named = self.slope is None or self.slope == "auto"
        _check(named or (is_finite(self.slope) and float(self.slope or 0) > 0), "slope", "be positive", self.slope)
        named = self.smoothing == "auto"
        share = is_finite(self.smoothing) and 0 <= float(self.smoothing) < 1
        _check(named or share, "smoothing", "be in [0, 1)", self.smoothing)
        _check(
            self.sparsity == "none" or (is_finite(self.sparsity) and 0 < self.sparsity < 1),
            "sparsity",
            "be between 0 and 1, or 'none'",
            self.sparsity,
        )
        for name in ("theta", "gamma", "gamma_rate"):
            _check(is_finite(getattr(self, name)), name, "be a finite number", getattr(self, name))
        _check(self.gamma_rate >= 0, "gamma_rate", "not be negative", self.gamma_rate)
        if isinstance(self.alpha, str):
            _check(self.alpha in ("ones", "mean"), "alpha", "be ones, mean or a square matrix", self.alpha)
        else:
            square = _listed(self.alpha) and all(
                _listed(row) and len(row) == len(self.alpha) and all(map(is_finite, row)) for row in self.alpha
            )
            _check(square, "alpha", "be a square matrix of finite numbers", self.alpha)

    @property
    def loss_slope(self) -> float:
        """The slope in force, once resolved."""
        return float(self.slope) if self.slope is not None else 4.0 if self.loss == "symmetric" else 1.0

    @property
    def label_smoothing(self) -> float:
        """Label smoothing, once resolved."""
        return float(self.smoothing)

    def weights(self, layers: int) -> tuple[tuple[float, ...], ...]:
        """Return alpha as an L x L matrix, 0 where layer l does not listen to layer k (and on the diagonal)."""
        even = 1.0 if self.alpha == "ones" else 1.0 / max(1, layers - 1)

        def weight(listener: int, other: int) -> float:
            apart = {"all": other != listener, "previous": other < listener, "next": other > listener}
            if self.variant == "ff" or not apart[self.scope]:
                return 0.0
            return even if isinstance(self.alpha, str) else self.alpha[listener][other]

        return tuple(tuple(weight(i, k) for k in range(layers)) for i in range(layers))


@dataclass(frozen=True)
class TrainSpec:
    """The schedule, the stream and the optimiser.

    Attributes
    ----------
    epochs : passes over the data that each layer gets, in either schedule; ``auto`` takes 20, or more where there are
        few rows: as many as make 1,000 minibatches, 100 at most.
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
    n_negatives : wrong labels a sample; ``auto`` takes 2, or 1 of 2 classes.
    rate : learning rate of each layer; the last one serves all further layers.
    momentum : of the optimiser ``momentum``, and Adam's first decay.
    cooldown : the rate falls linearly to 0 over the second ``half``, over all (``linear``), or never (``none``).
    weight_decay : decoupled: W loses ``rate * weight_decay`` of itself a step.
    input_dropout : share of inputs set to 0 (after scaling), with one mask for all labels of a sample; ``auto`` takes
        0.2 for images and 0 for tables.
    shift : images move by up to so many pixels either way, each sample by its own draw.
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
    cache: Literal["none", "activations"] = "none"
    holdout: float = 0.05
    coverage: float = 0.95
    engine: Literal["onnx", "torch"] = "onnx"
    device: str = "cpu"
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a value outside its rule."""
        _check_choices(self)
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
            _check(value in words or (_whole(value) and value >= 1), name, rule, value)
        _check(_whole(self.seed) and self.seed >= 0, "seed", "be 0 or more", self.seed)
        _check(_whole(self.threads) and 0 <= self.threads <= MAX_THREADS, "threads", "be 0 to 1024", self.threads)
        _check(
            _listed(self.rate) and bool(self.rate) and all(is_finite(r) and r > 0 for r in self.rate),
            "rate",
            "be positive",
            self.rate,
        )
        for name in ("momentum", "input_dropout", "holdout"):
            value = getattr(self, name)
            open_yet = name == "input_dropout" and value == "auto"
            _check(open_yet or (is_finite(value) and 0 <= value < 1), name, "be in [0, 1)", value)
        _check(is_finite(self.coverage) and 0 < self.coverage <= 1, "coverage", "be in (0, 1]", self.coverage)
        _check(
            is_finite(self.weight_decay) and self.weight_decay >= 0,
            "weight_decay",
            "not be negative",
            self.weight_decay,
        )
        _check(
            max(self.rate) * self.weight_decay < 1,
            "weight_decay",
            f"be less than {1 / max(self.rate):.3g} at this rate",
            self.weight_decay,
        )
        _check(_whole(self.shift) and 0 <= self.shift <= 8, "shift", "be 0 to 8 pixels", self.shift)

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
            _check(len(self.rule.alpha) == layers, "alpha", f"have {layers} rows, one a layer", self.rule.alpha)
        if self.train.cache != "none":
            self._check_cache()
        _check(len(self.train.rate) <= layers, "rate", f"name at most {layers} layers", self.train.rate)

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


PRESETS: dict[str, dict[str, Any]] = {
    "tuned": {
        "skip": "add",
        "label_layers": "all",
        "label_scale": "auto",
        "slope": "auto",
        "smoothing": "auto",
        "scope": "previous",
        "gamma": 0.3,
        "epochs": "auto",
        "input_dropout": "auto",
    },
    "spiking": {
        "label_layers": "all",
        "scope": "previous",
        "gamma": 0.3,
        "norm": "fixed",
        "bound": 60.0,
        "sparsity": 0.07,
    },
    "paper": {
        "norm": "unit",
        "label_scale": 1.0,
        "scaling": "range",
        "input_norm": "unit",
        "loss": "logistic",
        "smoothing": 0.0,
        "epochs": 1000,
        "batch_size": "full",
        "negatives": "fixed",
        "n_negatives": 1,
        "rate": (0.03,),
        "cooldown": "none",
        "weight_decay": 0.0,
        "input_dropout": 0.0,
    },
}
