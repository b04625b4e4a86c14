"""What a recipe makes of given data: the facts of the input, the shape of every layer, its parameters.

Shape letters: I inputs of a sample, D inputs of a layer, H its units, C classes.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ffedge.errors import one_line
from ffedge.fields import is_finite
from ffedge.recipe import Network, Recipe
from ffedge.seeds import Draw, generator

Array = NDArray[Any]
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


def initial_layer(recipe: Recipe, shape: LayerShape) -> dict[str, Array]:
    """Draw a layer's parameters; one that collaborates gets its gamma, one with a fixed norm its power."""
    gamma = {} if recipe.rule.variant == "ff" else {"gamma": np.array(recipe.rule.gamma, np.float32)}
    return shape.initial(recipe.train.seed) | gamma | ({"power": np.ones((), np.float32)} if _has_power(recipe) else {})


def initial_state(recipe: Recipe, facts: InputFacts) -> list[dict[str, Array]]:
    """Draw every layer's parameters."""
    return [initial_layer(recipe, shape) for shape in layer_shapes(recipe, facts)]


def check_state(recipe: Recipe, facts: InputFacts, state: list[dict[str, Array]]) -> None:
    """Raise ValueError where a state is not this network's: each layer empty, or whole, in its shapes and float32."""
    shapes = layer_shapes(recipe, facts)
    if len(state) != len(shapes):
        raise ValueError(f"it has {len(state)} layers, but the network {len(shapes)}")
    for shape, layer in zip(shapes, state, strict=True):
        gamma: dict[str, tuple[int, ...]] = {} if recipe.rule.variant == "ff" else {"gamma": ()}
        wanted = trained(recipe, shape) | gamma
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


def adds_input(network: Network, shape: LayerShape) -> bool:
    """Say whether a layer passes on what it read beside its activity (`ffedge.spec.NetworkSpec.skip`)."""
    return network.skip == "add" and not shape.first and shape.inputs == shape.units


def layer_shapes(recipe: Recipe, facts: InputFacts) -> tuple[LayerShape, ...]:
    """Return the shape of every layer of a recipe."""
    overlay = recipe.network.label_mode == "overlay"
    inputs = (facts.size - facts.n_classes if overlay else facts.size, *recipe.network.widths)
    everywhere = recipe.network.label_layers == "all"
    return tuple(
        LayerShape(i, inputs[i], units, facts.n_classes, i == 0 or everywhere)
        for i, units in enumerate(recipe.network.widths)
    )


def trained(recipe: Recipe, shape: LayerShape) -> dict[str, tuple[int, ...]]:
    """Return the shape of everything that a layer learns by name.

    Its parameters, for A-CFF its gamma, and for a fixed norm ``power``, the running mean of its squared activity.
    """
    gamma: dict[str, tuple[int, ...]] = {"gamma": ()} if recipe.rule.variant == "acff" else {}
    return shape.parameters() | gamma | ({"power": ()} if _has_power(recipe) else {})


def gathered(recipe: Recipe, shape: LayerShape) -> dict[str, tuple[int, ...]]:
    """Return the shape of everything that is summed over a batch: gradients, and each unit's share of active rows."""
    return trained(recipe, shape) | ({"active": (shape.units,)} if recipe.rule.sparsity is not None else {})


def stored(recipe: Recipe, shape: LayerShape) -> dict[str, tuple[int, ...]]:
    """Return the shape of what the predictor needs of a layer: the last one's norm is for nobody."""
    follows = shape.index < len(recipe.network.widths) - 1
    return shape.parameters() | ({"power": ()} if follows and _has_power(recipe) else {})


def _has_power(recipe: Recipe) -> bool:
    return recipe.network.norm == "fixed"
