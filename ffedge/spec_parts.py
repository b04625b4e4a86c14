"""What is asked, in three parts: a network, its rule, its training; frozen dataclasses, checked where they are made.

Every flag of the command line has one home here, the field that it fills, with its help (`ffedge.fields.option`). What
only the data or a memory plan can tell stays ``auto``. `ffedge.spec` holds the parts together.
"""

from dataclasses import dataclass
from typing import Any, Literal

from ffedge.class_weight import read, spelt
from ffedge.fields import (
    COUNT,
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Bytes,
    Limit,
    between,
    check,
    check_fields,
    option,
)
from ffedge.kinds import CLASS_GOODNESS, GOODNESS, LAYERS, is_convolution, kind_and_words

Norm = Literal["unit", "rms", "layer", "fixed"]
LabelMode = Literal["overlay", "concat", "none"]
Scaling = Literal["standard", "centred", "feature", "robust", "range", "none"]
Variant = Literal["ff", "fcff", "acff"]
Loss = Literal["logistic", "symmetric", "contrastive"]
Scope = Literal["all", "previous", "next"]
Optimizer = Literal["adam", "momentum", "sgd"]
Matrix = tuple[tuple[float, ...], ...]

MAX_LAYERS = 64
RATE = (0.015, 0.005)  # of labels that are tried
MAX_CLASSES = 1000
WIDTH = Limit("be whole numbers from 1 to 65536", lambda value: 1 <= value <= 65536)
SQUARE = Limit("be a square matrix of finite numbers", lambda value: True)
PLANNED: dict[str, Any] = {"auto": "plan", "learns": True, "machine": True}
ONE_PASS: dict[str, Any] = {"class_goodness": tuple(CLASS_GOODNESS)}
CONVOLVES: dict[str, Any] = {"idle": {"convolutions": (0,)}}
ONNX: dict[str, Any] = {"idle": {"engine": ("torch",)}}
BEYOND_LOGISTIC = {"loss": ("symmetric", "contrastive")}
TOGETHER: dict[str, Any] = {"idle": {"variant": ("ff",), "layers": (1,)}}
ADAPTIVE: dict[str, Any] = {"idle": {"variant": ("ff", "fcff"), "layers": (1,)}}
INSIDE = Limit("be between 0 and 1", lambda value: 0 < value < 1)
SHARE_OF_ALL = Limit("be in [0, 1]", lambda value: 0 <= value <= 1)
PICTURES: dict[str, Any] = {"learns": True, "later": True}
PART = Limit("be in (0, 1]", lambda value: 0 < value <= 1)


@dataclass(frozen=True)
class NetworkSpec:
    """The layers and how a label enters them. C is the number of classes."""

    widths: tuple[int | str, ...] = option(
        (500, 500),
        f"units of each layer, 1 to {MAX_LAYERS} layers; 80c3p2 is a convolution of 80 channels and 3 x 3 places, "
        "pooled 2 x 2; 32c3p2+ as many of them as the picture's size asks for (see docs/pictures.md)",
        WIDTH,
    )
    norm: Norm = option(
        "rms",
        "what a layer's activity is divided by: its length (unit), root mean square (rms), deviation (layer), or one "
        "number for all rows (fixed, for spiking networks)",
        idle={"layers": (1,)},
    )
    bound: float | Literal["none"] = option("none", "the largest activity of a unit, or none", POSITIVE, later=True)
    skip: Literal["none", "add"] = option(
        "none",
        "add lets a layer that is as wide as what it reads pass on both, its activity and what it read, normed",
        later=True,
        idle={"layers": (1,)},
    )
    goodness: str = option(
        "mean", "mean or sum of a layer's squared activities", choices=tuple(GOODNESS), idle=ONE_PASS
    )
    class_goodness: str = option(
        "tried",
        "how a class is told: tried (its label in the input, a pass for each), groups (of units, one pass for all "
        "classes), top-groups (the strongest quarter of each group), readout (linear, learnt with each layer, one "
        "pass); auto: readout with convolutions, else tried",
        choices=("auto", "tried", *CLASS_GOODNESS),
        auto="data",
        later=True,
    )
    label_mode: Literal["auto", LabelMode] = option(
        "auto",
        "overlay puts the label in the place of the first inputs, concat beside them; none: no label is tried; auto "
        "takes overlay where those are free",
        auto="data",
    )
    label_layers: Literal["first", "all"] = option(
        "first", "the layers that see the label", idle={"layers": (1,)} | ONE_PASS
    )
    label_scale: float | Literal["max", "auto"] = option(
        10.0,
        "value of the label's one active input; max: the largest scaled input; auto: sqrt(inputs / 8)",
        POSITIVE,
        idle=ONE_PASS,
        auto="data",
    )
    scaling: Literal["auto", Scaling] = option(
        "auto",
        "of the inputs: standard (one mean and deviation), centred (a mean for each input), feature (both for each), "
        "robust (median and quartiles of each, cut far out), range (largest is 1); auto: robust for table files, "
        "feature for other floats, or robust where a few values lie far out, centred for pictures, standard for "
        "strokes",
        auto="data",
    )
    input_norm: Literal["none", "unit", "rms"] = option("none", "norm of each input row, label included")
    layout: Literal["auto", "hwc", "chw", "none"] = option(
        "none",
        "axes of a picture: height, width and channels (hwc) or channels first (chw); none: no pictures; auto: by "
        "where 1 to 4 channels stand",
        auto="data",
        later=True,
        **CONVOLVES,
    )

    def __post_init__(self) -> None:
        """Raise ValueError for a value outside its rule."""
        check_fields(self)
        check(len(self.widths) <= MAX_LAYERS, "widths", f"name 1 to {MAX_LAYERS} layers", self.widths)
        named = [kind_and_words(item)[0] for item in self.widths if isinstance(item, str)]
        check(all(kind in LAYERS and kind != "dense" for kind in named), "widths", WIDTH.text, self.widths)
        one_pass = self.class_goodness in CLASS_GOODNESS
        fits = self.label_mode == "auto" or (self.label_mode == "none") == one_pass
        rule = f"be none where `class_goodness` is {' or '.join(CLASS_GOODNESS)}, and only there"
        check(fits, "label_mode", rule, self.label_mode)
        check(not one_pass or self.goodness == "mean", "goodness", "be mean where no label is tried", self.goodness)
        check(self.skip == "none" or self.norm != "fixed", "skip", "be none where the norm is fixed", self.skip)

    @property
    def told_by(self) -> str:
        """The class goodness: as asked, or, where that is open, by the layers."""
        by_layers = "readout" if any(map(is_convolution, self.widths)) else "tried"
        return by_layers if self.class_goodness == "auto" else self.class_goodness


@dataclass(frozen=True)
class RuleSpec:
    """The learning rule of a layer (`ffedge.rule`); the points that the paper leaves open are its options."""

    variant: Variant = option("acff", "ff (layers alone), fcff (gamma fixed, eq. 6), acff (gamma learnt, eq. 7)")
    loss: Loss = option(
        "contrastive",
        "logistic (eq. 4 and 8), symmetric (of the difference of goodness), contrastive (cross-entropy over the "
        "labels that are tried)",
    )
    slope: float | Literal["auto"] | None = option(
        None,
        "factor on the goodness inside the loss; auto: 4 for symmetric and, on tables or with groups, for "
        "contrastive, else 1",
        POSITIVE,
        auto="data",
    )
    smoothing: float | Literal["auto"] = option(
        0.05,
        "label smoothing of the contrastive loss; auto: 0.05 for images, 0 for tables",
        SHARE,
        auto="data",
        idle={"loss": ("logistic", "symmetric")},
    )
    sparsity: float | Literal["none"] = option(
        "none",
        "share of rows that a unit is meant to be active in: its bias falls where it is active too often, and rises "
        "else",
        INSIDE,
        later=True,
    )
    similarity: float = option(
        0.0,
        "weight of a further loss, by which the activities of one class's samples become alike, and others not",
        NOT_NEGATIVE,
        later=True,
        idle={"class_goodness": ("tried",)},
    )
    theta: float = option(2.0, "goodness threshold of the logistic loss", FINITE, idle=BEYOND_LOGISTIC)
    theta_placement: Literal["per_layer", "once"] = option(
        "per_layer",
        "per_layer takes theta off every layer's goodness in eq. 5, once off the layer's own only",
        idle=BEYOND_LOGISTIC | TOGETHER["idle"],
    )
    scope: Scope = option(
        "all",
        "the layers that layer l listens to: all others, those before it (previous), or those after it (next)",
        **TOGETHER,
    )
    alpha: Literal["ones", "mean"] | Matrix = option(
        "ones", "weight of layer k in layer l: ones, mean (1/(L-1)), or an L x L matrix", SQUARE, **TOGETHER
    )
    gamma: float = option(1.0, "collaboration strength (acff: its first value)", FINITE, **TOGETHER)
    gamma_rate: float = option(0.01, "learning rate of acff's gamma", NOT_NEGATIVE, **ADAPTIVE)
    gamma_optimizer: Literal["sgd", "adam"] = option("sgd", "how acff learns gamma", **ADAPTIVE)
    prediction_weights: Literal["auto", "plain", "collaborative", "deeper"] = option(
        "plain",
        "plain sums the layers' goodness, collaborative weighs layer l by 1 + sum_m gamma_m alpha_ml, deeper a layer "
        "4 times as much as the one before it; auto: deeper with convolutions, else plain",
        auto="data",
        idle={"layers": (1,), "hears": (False,)},
    )

    def __post_init__(self) -> None:
        """Raise ValueError for a value outside its rule."""
        check_fields(self)
        if not isinstance(self.alpha, str):
            check(all(len(row) == len(self.alpha) for row in self.alpha), "alpha", SQUARE.text, self.alpha)


@dataclass(frozen=True)
class TrainSpec:
    """The schedule, the stream, the optimiser and the machine."""

    epochs: int | Literal["auto"] = option(
        20,
        "passes over the data that each layer gets; auto: 20, or as many as make 1,000 minibatches, 100 at most; "
        "twice as many for tables of 20 classes and more",
        COUNT,
        auto="data",
        learns=True,
    )
    batch_size: int | Literal["full", "auto"] = option(
        "auto",
        "rows of a minibatch; full: all rows; auto: 256, or a fiftieth of few rows, at least 32",
        COUNT,
        auto="data",
        learns=True,
    )
    memory_budget: Bytes | Literal["none"] = option(
        "none",
        "most bytes that the process may have resident, imports included, as in 64MiB",
        COUNT,
        learns=True,
        machine=True,
        **ONNX,
    )
    chunk_size: int | Literal["auto"] = option(
        "auto",
        "most rows in memory at once; a larger batch is accumulated, with the same gradient; auto: 2048, or what the "
        "budget allows",
        COUNT,
        **PLANNED,
    )
    tile_bytes: Bytes | Literal["auto"] = option(
        "auto",
        "most bytes of weights that are updated at once, with the same result; auto: 1 MiB, or less where the budget "
        "is tight",
        COUNT,
        **PLANNED,
        **ONNX,
    )
    moments: Literal["auto", "memory", "file"] = option(
        "auto",
        "where the optimiser keeps its moments: in memory, or in a file, which is slower; auto: memory where the "
        "budget has room",
        **PLANNED,
        **ONNX,
    )
    schedule: Literal["greedy", "interleaved"] = option(
        "greedy",
        "greedy trains a layer to its end, then the next; interleaved takes each minibatch through all",
        learns=True,
        idle={"layers": (1,)},
    )
    class_weight: str = option(
        "none",
        "what a class's rows count in the loss: none (all alike), balanced (every class the same in sum, so that rare "
        "ones are found), or name=X,… (others 1); 1 in the mean over all rows",
        learns=True,
        later=True,
    )
    negatives: Literal["fixed", "fresh", "hard", "hard-sum"] = option(
        "hard",
        "wrong labels: drawn once (fixed), each epoch (fresh), or by the network's own goodness, of the first layer "
        "(hard) or of all so far (hard-sum)",
        learns=True,
        idle=ONE_PASS,
    )
    n_negatives: int | Literal["auto"] = option(
        "auto",
        "wrong labels a sample, where labels are tried; auto: 2, or 1 of 2 classes, or 6 for tables of 20 "
        "classes and more",
        COUNT,
        auto="data",
        idle=ONE_PASS,
    )
    optimizer: Optimizer = option("adam", "how weights and biases take a step along their gradient")
    rate: tuple[float, ...] | Literal["auto"] = option(
        RATE,
        "learning rate of each layer; the last one serves all further layers; auto: by how a class is told, less for "
        "a dense layer that reads a convolution",
        POSITIVE,
        auto="data",
        learns=True,
    )
    momentum: float = option(
        0.9, "of the optimiser momentum, and Adam's first decay", SHARE, idle={"optimizer": ("sgd",)}
    )
    cooldown: Literal["none", "linear", "half"] = option(
        "linear",
        "the rate falls to 0 over all steps (linear), over the second half of them (half), or not (none)",
        learns=True,
    )
    weight_decay: float = option(0.05, "decoupled: W loses rate * weight_decay of itself a step", NOT_NEGATIVE)
    input_dropout: float | Literal["auto"] = option(
        0.2,
        "share of inputs set to 0, the same for all labels of a sample; auto: 0.2 for images, 0 for tables, 0.1 for "
        "those of 20 classes and more",
        SHARE,
        auto="data",
    )
    shift: int | Literal["auto"] = option(
        0,
        "images (bytes [N, H, W] or [N, H, W, C]) move by up to so many pixels either way, each by its own draw, and "
        "their edge is repeated; auto: a sixteenth of their shorter side",
        between(0, 8),
        auto="data",
        learns=True,
    )
    shift_share: float = option(
        1.0,
        "share of the images that a shift moves, drawn anew each epoch",
        PART,
        learns=True,
        later=True,
        idle={"shift": (0,)},
    )
    mirror: float | Literal["auto"] = option(
        0.0,
        "share of the images that are mirrored left to right, drawn anew each epoch; auto: half of those with colours",
        SHARE_OF_ALL,
        auto="data",
        **PICTURES,
    )
    cutout: int = option(
        0,
        "side of a square that gets the mean of its image, at a place drawn anew each epoch",
        NOT_NEGATIVE,
        **PICTURES,
    )
    cache: Literal["auto", "none", "activations"] = option(
        "none",
        "activations keeps what finished layers make of every row on disk, so that a deep layer costs no more than a "
        "first one; input noise is then drawn anew for some layers (2, 3, 5, 9, …), not in each epoch; auto: from 6 "
        "layers on, where it takes less time and the disk has room",
        auto="plan",
        machine=True,
        idle={"layers": (1,)},
    )
    holdout: float = option(
        0.05, "share of the training rows held out to measure accuracy by, 2,000 rows at most", SHARE, learns=True
    )
    coverage: float = option(
        0.95,
        "share of the held-out rows whose answers shall count as known; the model calls others unknown",
        PART,
        later=True,
        idle={"holdout": (0,)},
    )
    statistics: Literal["batch", "stored"] = option(
        "batch",
        "what a convolution's batch normalisation goes by as it learns: the chunk that learns at once (batch), or what "
        "the model holds (stored), as `learn` does",
        later=True,
        **CONVOLVES,
    )
    engine: Literal["onnx", "torch"] = option(
        "onnx",
        "what computes: onnx, which keeps a memory budget, or torch, the reference, which can use a GPU",
        machine=True,
    )
    device: str = option("cpu", "of the torch engine: cpu, cuda, cuda:1")
    precision: Literal["float32", "bfloat16"] = option(
        "float32",
        "of the torch engine's products; bfloat16 takes less time where the processor has units for it",
        later=True,
    )
    threads: int = option(
        0, "of the onnx engine; 0: all cores, or one where the budget is tight", between(0, 1024), **PLANNED, **ONNX
    )
    seed: int = option(0, "of all that is drawn: the same seed gives the same weights", NOT_NEGATIVE, learns=True)

    def __post_init__(self) -> None:
        """Raise ValueError for a value outside its rule."""
        object.__setattr__(self, "class_weight", spelt(self.class_weight))
        check_fields(self)
        if self.class_weight not in ("none", "balanced"):
            read(self.class_weight)
        most = 1 / max(RATE if self.rate == "auto" else self.rate)
        check(self.weight_decay < most, "weight_decay", f"be less than {most:.3g} at this rate", self.weight_decay)
        for name, value, plain in (("device", self.device, "cpu"), ("precision", self.precision, "float32")):
            check(self.engine == "torch" or value == plain, name, f"be {plain} where `engine` is not torch", value)
