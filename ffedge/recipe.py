"""What is trained: the fields of a `ffedge.spec.Spec` by the same names, with nothing left open.

`ffedge.resolve` makes a recipe of a spec and the data; a model file, a checkpoint and a report hold one as JSON.
L is the number of layers.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from ffedge.kinds import is_convolution
from ffedge.spec import Spec
from ffedge.spec_parts import LabelMode, Loss, Matrix, Norm, Optimizer, RuleSpec, Scaling, Scope, Variant

MOST_HELD_OUT = 2000
DEEPER = 4.0  # times the weight of the layer before
ALL_ROWS = 2**31 - 1  # all that there are, as older files say where one batch took them all


@dataclass(frozen=True)
class Network:
    """The layers and how a label enters them (`ffedge.spec_parts.NetworkSpec`).

    Attributes
    ----------
    bound : None: a unit has no largest activity.
    """

    widths: tuple[int | str, ...]
    norm: Norm
    bound: float | None
    skip: Literal["none", "add"]
    goodness: str
    class_goodness: str
    label_mode: LabelMode
    label_layers: Literal["first", "all"]
    label_scale: float
    scaling: Scaling
    input_norm: Literal["none", "unit", "rms"]
    layout: Literal["hwc", "chw", "none"]

    @property
    def tries_labels(self) -> bool:
        """Whether a class is tried by a pass with its label in the input; else one pass gives all classes' goodness."""
        return self.class_goodness == "tried"

    @property
    def value_varies(self) -> bool:
        """Whether the label's value in the input differs from sample to sample, as it is normed with it."""
        return self.tries_labels and self.input_norm != "none"

    def turns_channels(self, shape: tuple[int, ...]) -> bool:
        """Say whether inputs of a shape, channels last, are turned for a convolution that reads them channels first."""
        return self.layout == "hwc" and len(shape) == 3 and convolves(self.widths[:1])

    def rows_a_sample(self, labels: int) -> int:
        """Return how many rows a sample with so many labels makes."""
        return labels if self.tries_labels else 1

    @property
    def dense_units(self) -> tuple[int, ...]:
        """Units of each layer, where all are dense; ValueError where one is not."""
        if kinds := [item for item in self.widths if not isinstance(item, int)]:
            raise ValueError(f"widths must be of dense layers here, got {kinds[0]!r}")
        return tuple(int(item) for item in self.widths)


@dataclass(frozen=True)
class Rule:
    """The learning rule of a layer (`ffedge.spec_parts.RuleSpec`).

    Attributes
    ----------
    sparsity : None: a unit may be active in any share of rows.
    scope : whom alpha was restricted to.
    alpha : [L, L] the weight of layer k in layer l: 0 where l does not listen to k, and on the diagonal.
    """

    variant: Variant
    loss: Loss
    slope: float
    smoothing: float
    sparsity: float | None
    similarity: float
    theta: float
    theta_placement: Literal["per_layer", "once"]
    scope: Scope
    alpha: Matrix
    gamma: float
    gamma_rate: float
    gamma_optimizer: Literal["sgd", "adam"]
    prediction_weights: Literal["plain", "collaborative", "deeper"]


@dataclass(frozen=True)
class Train:
    """The schedule, the stream, the optimiser and the machine (`ffedge.spec_parts.TrainSpec`).

    Attributes
    ----------
    memory_budget : bytes; None sets no limit.
    threads : of the onnx engine; 0 leaves it to onnxruntime, which takes all cores.
    """

    epochs: int
    batch_size: int
    memory_budget: int | None
    chunk_size: int
    tile_bytes: int
    moments: Literal["memory", "file"]
    schedule: Literal["greedy", "interleaved"]
    class_weight: str
    negatives: Literal["fixed", "fresh", "hard", "hard-sum"]
    n_negatives: int
    optimizer: Optimizer
    rate: tuple[float, ...]
    momentum: float
    cooldown: Literal["none", "linear", "half"]
    weight_decay: float
    input_dropout: float
    shift: int
    shift_share: float
    mirror: float
    cutout: int
    cache: Literal["none", "activations"]
    holdout: float
    coverage: float
    statistics: Literal["batch", "stored"]
    engine: Literal["onnx", "torch"]
    device: str
    precision: str
    threads: int
    seed: int

    @property
    def noisy(self) -> bool:
        """Whether inputs differ from draw to draw."""
        return any((self.input_dropout, self.shift, self.mirror, self.cutout))

    def held_out(self, rows: int) -> int:
        """Return how many of the training split's rows are held out."""
        return held_out(rows, self.holdout)

    def layer_rate(self, layer: int) -> float:
        """Return the learning rate of a layer before any cooldown."""
        return self.rate[min(layer, len(self.rate) - 1)]

    def cooled(self, left: float) -> float:
        """Return the share of its rate that a layer learns by, where so much of its training is left, 0 to 1."""
        return {"none": 1.0, "linear": left, "half": min(1.0, 2.0 * left)}[self.cooldown]


@dataclass(frozen=True)
class Recipe:
    """A network, its rule and its training, complete."""

    network: Network
    rule: Rule
    train: Train

    @property
    def measures_batches(self) -> bool:
        """Whether a learning step measures its batch beside its gradients: for a fixed norm, or a share of activity."""
        return self.network.norm == "fixed" or self.rule.sparsity is not None

    @property
    def compares_samples(self) -> bool:
        """Whether a layer learns by the statistics of the samples that learn at once, so that it matters how many."""
        return (convolves(self.network.widths) and self.train.statistics == "batch") or self.rule.similarity > 0

    def listens_ahead(self, layers: Sequence[int]) -> list[int]:
        """Return the layers whose goodness some layers need that come before them."""
        return [k for i in layers for k, weight in enumerate(self.rule.alpha[i]) if k > i and weight]

    def with_train(self, **changes: Any) -> Self:
        """Return it with other fields of its training."""
        return dataclasses.replace(self, train=dataclasses.replace(self.train, **changes))

    def optimizer_of(self, parameter: str) -> Optimizer:
        """Return the optimiser that a parameter learns by; gamma has its own, and a fixed norm needs none."""
        if parameter == "power":
            return "sgd"
        return self.rule.gamma_optimizer if parameter == "gamma" else self.train.optimizer

    def score_weights(self, state: Sequence[Mapping[str, Any]]) -> list[float]:
        """Return the weight of a layer's goodness in the sum: 1, ``1 + sum_{m != l} gamma_m alpha_ml``, or 4^(l-L+1).

        Parameters
        ----------
        state : gamma of each layer; the rule's where a layer has none of its own.
        """
        layers = range(len(self.network.widths))
        if self.rule.prediction_weights == "plain":
            return [1.0 for _ in layers]
        if self.rule.prediction_weights == "deeper":
            return [DEEPER ** (i - len(layers) + 1) for i in layers]
        alpha, gammas = self.rule.alpha, [float(layer.get("gamma", self.rule.gamma)) for layer in state]
        return [1.0 + sum(gammas[m] * alpha[m][i] for m in layers if m != i) for i in layers]

    def as_spec(self) -> Spec:
        """Return the spec that asks for just this."""
        return Spec.from_dict(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain lists, numbers and strings: what `Spec.from_dict` reads too."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        for part in plain.values():
            part |= {name: "none" for name, value in part.items() if value is None}
        if self.train.batch_size == ALL_ROWS:
            plain["train"]["batch_size"] = "full"
        rule, layers = self.rule, len(self.network.widths)
        for word in ("ones", "mean"):
            if alpha_matrix(word, rule.scope, rule.variant, layers) == rule.alpha:
                plain["rule"]["alpha"] = word
                break
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], rows: int = ALL_ROWS) -> Self:
        """Read what `to_dict` wrote, in this or in an older ffedge.

        Parameters
        ----------
        rows : what a batch that older files call "full" takes.

        Raises
        ------
        ValueError
            A part or field is missing or unknown, a value is outside its rule or still open.
        """
        return cls.of(Spec.from_dict(data), rows)

    @classmethod
    def of(cls, spec: Spec, rows: int) -> Self:
        """Return the recipe of a spec that leaves nothing open, on so many rows.

        Raises
        ------
        ValueError
            A field is open.
        """
        network, rule, train = (dict(vars(part)) for part in (spec.network, spec.rule, spec.train))
        for name, value in (network | rule | train).items():
            if value in ("auto", "max"):
                raise ValueError(f"{name} must be what the data made of it, got {value!r}")
        for part, name in ((network, "bound"), (rule, "sparsity"), (train, "memory_budget")):
            if part[name] == "none":
                part[name] = None
        network["label_scale"] = float(spec.network.label_scale)
        rule["slope"], rule["smoothing"] = loss_slope(spec.rule), float(spec.rule.smoothing)
        rule["alpha"] = alpha_matrix(spec.rule.alpha, spec.rule.scope, spec.rule.variant, len(spec.network.widths))
        if spec.train.batch_size == "full":
            train["batch_size"] = rows
        return cls(Network(**network), Rule(**rule), Train(**train))


def convolves(widths: Sequence[int | str]) -> bool:
    """Say whether a layer is a convolution."""
    return any(map(is_convolution, widths))


def held_out(rows: int, share: float) -> int:
    """Return how many rows are held out of some."""
    return min(int(rows * share), MOST_HELD_OUT)


def loss_slope(rule: RuleSpec) -> float:
    """Return the slope that is asked for, or the loss's own."""
    if isinstance(rule.slope, str) or rule.slope is None:
        return 4.0 if rule.loss == "symmetric" else 1.0
    return float(rule.slope)


def alpha_matrix(alpha: Literal["ones", "mean"] | Matrix, scope: Scope, variant: Variant, layers: int) -> Matrix:
    """Return alpha [L, L], 0 where layer l does not listen to layer k (and on the diagonal)."""
    even = 1.0 if alpha == "ones" else 1.0 / max(1, layers - 1)

    def weight(listener: int, other: int) -> float:
        apart = {"all": other != listener, "previous": other < listener, "next": other > listener}
        if variant == "ff" or not apart[scope]:
            return 0.0
        return even if isinstance(alpha, str) else alpha[listener][other]

    return tuple(tuple(weight(i, k) for k in range(layers)) for i in range(layers))
