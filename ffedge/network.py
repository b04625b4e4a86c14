"""What a spec becomes on given data: resolved options, the shape of every layer, its parameters.

Shape letters: I inputs of a sample, D inputs of a layer, H its units, C classes.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ffedge.errors import one_line
from ffedge.fields import Bytes, is_finite
from ffedge.rule import RuleSpec
from ffedge.seeds import Draw, generator
from ffedge.spec import (
    MAX_CLASSES,
    TUNED_BATCH,
    TUNED_CHUNK,
    TUNED_NEGATIVES,
    TUNED_TILE_BYTES,
    NetworkSpec,
    Spec,
    TrainSpec,
)

Array = NDArray[Any]
TUNED_EPOCHS, TUNED_STEPS, MOST_EPOCHS = 20, 1000, 100  # steps that a layer takes at least, where the epochs allow it
SMALLEST_BATCH, FEWEST_BATCHES = 32, 50
TUNED_DROPOUT, TUNED_SMOOTHING = 0.2, 0.05  # of images
MANY_CLASSES = 20  # of a table: from here on it takes more to fit it, and then noise against learning rows by heart
MANY_NEGATIVES, MANY_TIMES, MANY_DROPOUT = 6, 2, 0.1
TABLE_SLOPE = 4.0  # with it a table's rare classes are learnt as backprop learns them
INPUTS_A_LABEL = 8  # a label's value, squared, is that of so many inputs: the ratio tuned on 784 inputs
RECIPE = {
    "network": ("label_mode", "label_scale", "scaling"),
    "rule": ("slope", "smoothing"),
    "train": ("epochs", "batch_size", "n_negatives", "input_dropout"),
}
MAX_AXES = 8
MAX_SIZE = 1 << 24


@dataclass(frozen=True)
class InputFacts:
    """What the data tell about a network's input; measured from the training rows, kept in the model file.

    Attributes
    ----------
    shape : of one sample as the data came.
    dtype : ``uint8`` or ``float32``.
    classes : names, in the order of the label numbers.
    offset, scale : scaled input = (input - offset) * scale, each one number or one for each of the I inputs.
    free_border : whether the first C inputs carry nothing, so that a label may stand there.
    largest : the largest scaled input.
    """

    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32"]
    classes: tuple[str, ...]
    offset: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    free_border: bool = True
    largest: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for facts that no data can have."""
        if not isinstance(self.shape, tuple) or not all(type(n) is int and 0 < n < MAX_SIZE for n in self.shape):
            raise ValueError(f"shape must be whole numbers from 1 to {MAX_SIZE}, got {self.shape!r}")
        if len(self.shape) > MAX_AXES or self.size > MAX_SIZE:
            raise ValueError(f"shape must have at most {MAX_AXES} axes and {MAX_SIZE} inputs, got {self.shape!r}")
        if self.dtype not in ("uint8", "float32"):
            raise ValueError(f"dtype must be uint8 or float32, got {self.dtype!r}")
        if not isinstance(self.classes, tuple) or not all(isinstance(name, str) for name in self.classes):
            raise ValueError(f"classes must be names, got {self.classes!r}")
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must be names that differ, got {self.classes!r}")
        if strange := [name for name in self.classes if one_line(name) != name]:
            raise ValueError(f"classes must be names of one line of plain text, got {strange[0]!r}")
        for name, values in (("offset", self.offset), ("scale", self.scale)):
            if not isinstance(values, tuple) or not all(map(is_finite, values)) or len(values) not in (1, self.size):
                raise ValueError(f"{name} must be a finite number for all inputs or for each, got {values!r}")
        if not is_finite(self.largest) or not isinstance(self.free_border, bool):
            raise ValueError(f"largest must be a finite number and free_border a bool, got {self.largest!r}")

    @property
    def size(self) -> int:
        """Inputs of one sample, flattened."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether a sample is a picture: bytes, or more than one axis; else it is a row of a table."""
        return self.dtype == "uint8" or len(self.shape) > 1

    @property
    def auto_scaling(self) -> Literal["standard", "centred", "feature"]:
        """What ``auto`` has become, where these facts were measured for it."""
        if self.dtype == "float32":
            return "feature"
        return "centred" if len(self.offset) > 1 else "standard"

    @property
    def n_classes(self) -> int:
        """Classes that a label can name."""
        return len(self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain lists, numbers and strings."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote; ValueError where a field is missing or unknown."""
        if set(data) != {f.name for f in dataclasses.fields(cls)}:
            raise ValueError(f"input must have just the fields {', '.join(f.name for f in dataclasses.fields(cls))}")
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
        return cls(**values)


@dataclass(frozen=True)
class LayerShape:
    """The parameters of one layer: W [D, H], b [H] and, where the layer sees the label, V [C, H].

    A label is factored out of the input: ``x W + b + label_scale * V[label]``. With an overlay the first C inputs
    are dropped from x, since V holds their rows of W.
    """

    index: int
    inputs: int
    units: int
    classes: int
    sees_label: bool

    @property
    def first(self) -> bool:
        """Whether this is the layer whose product with the input all labels share."""
        return self.index == 0

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter by name."""
        shapes: dict[str, tuple[int, ...]] = {"W": (self.inputs, self.units), "b": (self.units,)}
        if self.sees_label:
            shapes["V"] = (self.classes, self.units)
        return shapes

    def initial(self, seed: int) -> dict[str, Array]:
        """Draw the parameters from the uniform distribution over +-1/sqrt(fan-in), label included."""
        rng = generator(seed, Draw.WEIGHTS, self.index)
        bound = 1.0 / math.sqrt(self.inputs + (self.classes if self.sees_label else 0))
        return {name: _uniform(rng, bound, shape) for name, shape in self.parameters().items()}


class Learned(NamedTuple):
    """What an engine's learning step yields.

    Attributes
    ----------
    source : what the next layer reads, in the engine's own form; None unless it learns from the same batch.
    goodness : [N, M] before the step.
    loss : mean over the batch.
    """

    source: Any
    goodness: Array
    loss: float


def initial_layer(spec: Spec, shape: LayerShape) -> dict[str, Array]:
    """Draw a layer's parameters; one that collaborates gets its gamma, one with a fixed norm its power."""
    gamma = {} if spec.rule.variant == "ff" else {"gamma": np.array(spec.rule.gamma, np.float32)}
    return shape.initial(spec.train.seed) | gamma | ({"power": np.ones((), np.float32)} if _has_power(spec) else {})


def initial_state(spec: Spec, facts: InputFacts) -> list[dict[str, Array]]:
    """Draw every layer's parameters."""
    return [initial_layer(spec, shape) for shape in layer_shapes(spec, facts)]


def check_state(spec: Spec, facts: InputFacts, state: list[dict[str, Array]]) -> None:
    """Raise ValueError where a state is not this network's: each layer empty, or whole, in its shapes and float32."""
    shapes = layer_shapes(spec, facts)
    if len(state) != len(shapes):
        raise ValueError(f"it has {len(state)} layers, but the network {len(shapes)}")
    for shape, layer in zip(shapes, state, strict=True):
        gamma: dict[str, tuple[int, ...]] = {} if spec.rule.variant == "ff" else {"gamma": ()}
        wanted = trained(spec, shape) | gamma
        if missing := sorted(set(wanted) - set(layer)) if layer else []:
            raise ValueError(f"layer {shape.index} lacks {missing[0]}")
        for name, array in layer.items():
            size = wanted.get(name.partition(".")[0])  # W.m, a moment of W, has W's shape
            if array.shape != size or array.dtype != np.float32:
                raise ValueError(f"layer {shape.index} has {name} of {array.dtype} {list(array.shape)}")


def _uniform(rng: "np.random.Generator", bound: float, shape: tuple[int, ...]) -> Array:
    drawn = rng.random(shape, dtype=np.float32)  # in place from here on, and never in float64
    drawn *= 2.0 * bound
    drawn -= bound
    return drawn


def resolve(spec: Spec, facts: InputFacts, rows: int) -> Spec:
    """Return the spec with every ``auto`` and ``max`` replaced by what the data say.

    Parameters
    ----------
    rows : of the training split, those to be held out included.

    Raises
    ------
    ValueError
        The label cannot stand where the spec wants it, there are not enough wrong labels or rows, or the images cannot
        shift.
    """
    network, rule = _resolved_network(spec.network, facts), _resolved_rule(spec.rule, facts)
    train = _resolved_train(spec.train, facts, rows - spec.train.held_out(rows))
    return dataclasses.replace(spec, network=network, rule=rule, train=train)


def _resolved_network(network: NetworkSpec, facts: InputFacts) -> NetworkSpec:
    mode, scaling = network.label_mode, network.scaling
    classes = facts.n_classes
    if not 2 <= classes <= MAX_CLASSES:
        raise ValueError(f"classes must number 2 to {MAX_CLASSES}, got {classes}")
    if mode == "auto":
        mode = "overlay" if facts.free_border and classes < facts.size else "concat"
    if mode == "overlay" and classes >= facts.size:
        raise ValueError(
            f"label_mode overlay needs more inputs than classes, got {facts.size} inputs and {classes} classes. "
            "Use --label-mode concat"
        )
    if scaling == "auto":
        scaling = facts.auto_scaling
    label_scale = network.label_scale
    if isinstance(label_scale, str):
        label_scale = facts.largest if label_scale == "max" else round(math.sqrt(facts.size / INPUTS_A_LABEL), 2)
    return dataclasses.replace(network, label_mode=mode, scaling=scaling, label_scale=label_scale)


def _resolved_rule(rule: RuleSpec, facts: InputFacts) -> RuleSpec:
    if rule.slope == "auto":
        steep = not facts.is_image and rule.loss == "contrastive"
        rule = dataclasses.replace(
            rule, slope=TABLE_SLOPE if steep else dataclasses.replace(rule, slope=None).loss_slope
        )
    if rule.smoothing == "auto":
        rule = dataclasses.replace(rule, smoothing=TUNED_SMOOTHING if facts.is_image else 0.0)
    return rule


def _resolved_train(train: TrainSpec, facts: InputFacts, rows: int) -> TrainSpec:
    many = not facts.is_image and facts.n_classes >= MANY_CLASSES
    size, dropout = train.batch_size, train.input_dropout
    negatives = min(MANY_NEGATIVES if many else TUNED_NEGATIVES, facts.n_classes - 1)
    if isinstance(train.n_negatives, int):
        negatives = train.n_negatives
    if negatives >= facts.n_classes:
        raise ValueError(f"n_negatives must be less than the {facts.n_classes} classes, got {negatives}")
    if size == "auto":
        size = min(TUNED_BATCH, max(SMALLEST_BATCH, rows // FEWEST_BATCHES), rows)
    if isinstance(size, int) and size > rows:
        raise ValueError(f"batch_size must be at most the {rows} rows that are trained on, got {size}")
    if train.shift and len(facts.shape) < 2:
        raise ValueError(f"shift needs images, got rows of shape {list(facts.shape)}. Use --shift 0")
    if dropout == "auto":
        noise = TUNED_DROPOUT if facts.is_image else MANY_DROPOUT if many else 0.0
        dropout = noise if train.cache == "none" else 0.0
    epochs = train.epochs
    if epochs == "auto":
        epochs = _epochs(rows, rows if size == "full" else int(size), MANY_TIMES if many else 1)
    train = dataclasses.replace(train, n_negatives=negatives, batch_size=size, input_dropout=dropout, epochs=epochs)
    return train if train.memory_budget != "none" else without_budget(train)


def _epochs(rows: int, batch: int, times: int) -> int:
    """Return so many times the usual epochs, or as many as make enough steps of few rows, within reason."""
    return max(times * TUNED_EPOCHS, min(MOST_EPOCHS, times * -(-TUNED_STEPS // -(-rows // batch))))


def chosen(asked: Spec, spec: Spec) -> dict[str, Any]:
    """Return what `resolve` chose of the recipe: the value of each of its fields that was open in what was asked."""
    was, now = (part.to_dict() for part in (asked, spec))
    return {
        name: now[part][name] for part, names in RECIPE.items() for name in names if was[part][name] in ("auto", "max")
    }


def without_budget(train: TrainSpec) -> TrainSpec:
    """Return the training with what a memory budget would decide decided for speed."""
    return dataclasses.replace(
        train,
        chunk_size=TUNED_CHUNK if train.chunk_size == "auto" else train.chunk_size,
        tile_bytes=Bytes(TUNED_TILE_BYTES) if train.tile_bytes == "auto" else train.tile_bytes,
        moments="memory" if train.moments == "auto" else train.moments,
    )


def adds_input(network: NetworkSpec, shape: LayerShape) -> bool:
    """Say whether a layer passes on what it read beside its activity (`NetworkSpec.skip`)."""
    return network.skip == "add" and not shape.first and shape.inputs == shape.units


def layer_shapes(spec: Spec, facts: InputFacts) -> tuple[LayerShape, ...]:
    """Return the shape of every layer of a resolved spec."""
    overlay = spec.network.label_mode == "overlay"
    inputs = (facts.size - facts.n_classes if overlay else facts.size, *spec.network.widths)
    everywhere = spec.network.label_layers == "all"
    return tuple(
        LayerShape(i, inputs[i], units, facts.n_classes, i == 0 or everywhere)
        for i, units in enumerate(spec.network.widths)
    )


def trained(spec: Spec, shape: LayerShape) -> dict[str, tuple[int, ...]]:
    """Return the shape of everything that a layer learns by name.

    Its parameters, for A-CFF its gamma, and for a fixed norm ``power``, the running mean of its squared activity.
    """
    gamma: dict[str, tuple[int, ...]] = {"gamma": ()} if spec.rule.variant == "acff" else {}
    return shape.parameters() | gamma | ({"power": ()} if _has_power(spec) else {})


def gathered(spec: Spec, shape: LayerShape) -> dict[str, tuple[int, ...]]:
    """Return the shape of everything that is summed over a batch: gradients, and each unit's share of active rows."""
    return trained(spec, shape) | ({"active": (shape.units,)} if spec.rule.sparsity != "none" else {})


def stored(spec: Spec, shape: LayerShape) -> dict[str, tuple[int, ...]]:
    """Return the shape of what the predictor needs of a layer: the last one's norm is for nobody."""
    follows = shape.index < len(spec.network.widths) - 1
    return shape.parameters() | ({"power": ()} if follows and _has_power(spec) else {})


def _has_power(spec: Spec) -> bool:
    return spec.network.norm == "fixed"


def score_weights(spec: Spec, state: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the weight of each layer's goodness in the sum: 1, or ``1 + sum_{m != l} gamma_m alpha_ml``.

    Parameters
    ----------
    state : gamma of each layer; the spec's where a layer has none of its own.
    """
    layers = len(spec.network.widths)
    if spec.rule.prediction_weights == "plain":
        return [1.0] * layers
    alpha, gammas = spec.rule.weights(layers), [float(layer.get("gamma", spec.rule.gamma)) for layer in state]
    return [1.0 + sum(gammas[m] * alpha[m][i] for m in range(layers) if m != i) for i in range(layers)]
