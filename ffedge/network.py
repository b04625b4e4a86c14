"""What a recipe makes of given data: the facts of the input, the shape of every layer, its parameters.

Shape letters: I inputs of a sample, D inputs of a layer, H its units, C classes.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ffedge.columns import Table
from ffedge.errors import one_line
from ffedge.fields import is_double, is_finite
from ffedge.kinds import goodness_of, kind_and_words, layer_kind, parameters_of, repeats
from ffedge.labels import like_number
from ffedge.layers.base import Layer, LayerPlace, Picture
from ffedge.recipe import Network, Recipe

Array = NDArray[Any]
Layers = list[dict[str, Array]]  # arrays of each layer by name
Sizes = dict[str, tuple[int, ...]]
MAX_AXES = 8
MAX_SIZE = 1 << 24
CHANNELS = (1, 3, 4)  # grey, colour, colour with alpha
LEAST_SIDE = 8


@dataclass(frozen=True)
class InputFacts:
    """What the data tell about a network's input; measured from the training rows, kept in the model file.

    Attributes
    ----------
    shape : of one sample as the data came.
    dtype : ``uint8`` or ``float32``, or ``float64``: scaled as such, and then made float32.
    classes : names, in the order of the label numbers.
    offset, scale : scaled input = (input - offset) * scale, each one number or one for each of the I inputs.
    free_border : whether the first C inputs carry nothing, so that a label may stand there.
    largest : the largest scaled input.
    clip : the largest that a scaled input may be, either way; None cuts nothing.
    table : the columns of a table, of which the network gets more inputs than there are; None for arrays.
    """

    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32", "float64"]
    classes: tuple[str, ...]
    offset: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    free_border: bool = True
    largest: float = 1.0
    clip: float | None = None
    table: Table | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for facts that no data can have."""
        if not isinstance(self.shape, tuple) or not all(type(n) is int and 0 < n < MAX_SIZE for n in self.shape):
            raise ValueError(f"shape must be whole numbers from 1 to {MAX_SIZE}, got {self.shape!r}")
        if len(self.shape) > MAX_AXES or self.size > MAX_SIZE:
            raise ValueError(f"shape must have at most {MAX_AXES} axes and {MAX_SIZE} inputs, got {self.shape!r}")
        if self.dtype not in ("uint8", "float32", "float64"):
            raise ValueError(f"dtype must be uint8, float32 or float64, got {self.dtype!r}")
        if not isinstance(self.classes, tuple) or not all(isinstance(name, str) for name in self.classes):
            raise ValueError(f"classes must be names, got {self.classes!r}")
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must be names that differ, got {self.classes!r}")
        if strange := [name for name in self.classes if one_line(name) != name]:
            raise ValueError(f"classes must be names of one line of plain text, got {strange[0]!r}")
        for name, values in (("offset", self.offset), ("scale", self.scale)):
            sound = is_finite if self.dtype != "float64" else is_double
            if not isinstance(values, tuple) or not all(map(sound, values)) or len(values) not in (1, self.size):
                raise ValueError(f"{name} must be a finite number for all inputs or for each, got {values!r}")
        if not is_finite(self.largest) or not isinstance(self.free_border, bool):
            raise ValueError(f"largest must be a finite number and free_border a bool, got {self.largest!r}")
        if self.clip is not None and not (is_finite(self.clip) and self.clip > 0):
            raise ValueError(f"clip must be a positive number, got {self.clip!r}")
        if self.table is not None:
            fits = self.shape == (len(self.table.columns),) and self.dtype == "float64" and not self.free_border
            if not fits or len(self.offset) != self.size or len(self.scale) != self.size:
                raise ValueError("table must have a column, an offset and a scale for each float64 of the input")

    @property
    def size(self) -> int:
        """Inputs of one sample, flattened."""
        return math.prod(self.shape)

    @property
    def features(self) -> int:
        """Inputs of one sample that a network gets: of a table, one for each category of a column."""
        return self.table.features if self.table else self.size

    @property
    def is_image(self) -> bool:
        """Whether a sample is a picture: bytes, or more than one axis; else it is a row of a table."""
        return self.dtype == "uint8" or len(self.shape) > 1

    @property
    def picture(self) -> tuple[int, int, int] | None:
        """Height, width and channels, where it is certain that the axes are a picture's; else None.

        It is bytes ``[H, W]`` or ``[H, W, C]`` with 1, 3 or 4 channels, from 8 pixels a side on. Floats with two axes
        may be a sensor's window.
        """
        height, width, channels = (*self.shape, 1)[:3] if 2 <= len(self.shape) <= 3 else (0, 0, 0)
        sure = self.dtype == "uint8" and min(height, width) >= LEAST_SIDE and channels in CHANNELS
        return (height, width, channels) if sure else None

    @property
    def auto_scaling(self) -> Literal["standard", "centred", "feature", "robust"]:
        """What ``auto`` has become, where these facts were measured for it."""
        if self.table or self.clip is not None:
            return "robust"
        if self.dtype != "uint8":
            return "feature"
        return "centred" if len(self.offset) > 1 else "standard"

    @property
    def n_classes(self) -> int:
        """Classes that a label can name."""
        return len(self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain lists, numbers and strings."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "table"}
        plain = {key: list(v) if isinstance(v, tuple) else v for key, v in data.items()}
        plain |= {"table": self.table.to_dict() if self.table else None}
        return {key: v for key, v in plain.items() if v is not None}  # as before, where neither plays a part

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote; ValueError where a field is missing or unknown."""
        names = {f.name for f in dataclasses.fields(cls)}
        if not names - {"clip", "table"} <= set(data) <= names:
            raise ValueError(f"input must have just the fields {', '.join(f.name for f in dataclasses.fields(cls))}")
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
        if "table" in data:
            values["table"] = Table.from_dict(data["table"])
        return cls(**values)


def label_numbers(classes: tuple[str, ...]) -> Array | None:
    """Return the number [C] that each class's label is, where all names are numbers; None where these are the places.

    Names that are no numbers have their places as labels.
    """
    if classes == tuple(map(str, range(len(classes)))) or not all(map(_is_number, classes)):
        return None
    return np.array([int(name) for name in classes], np.int64)


def places_are_labels(classes: tuple[str, ...]) -> bool:
    """Say whether a whole number can only be a class's place: no class is called by another number."""
    return all(name == str(place) or not like_number(name) for place, name in enumerate(classes))


def _is_number(name: str) -> bool:
    digits = name.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and name == str(int(name)) and abs(int(name)) < 1 << 63


def layers_of(recipe: Recipe, facts: InputFacts) -> tuple[Layer, ...]:
    """Return the layers of a network, each at its place; ValueError where one cannot be."""
    network, classes = recipe.network, facts.n_classes
    result: list[Layer] = []
    inputs = facts.size - classes if network.label_mode == "overlay" else facts.features
    picture = picture_of(network.layout, facts.shape)
    for index, item in enumerate(network.widths):
        sees_label = network.tries_labels and (index == 0 or network.label_layers == "all")
        goodness = network.goodness if network.tries_labels else network.class_goodness
        stored = recipe.train.statistics == "stored"
        place = LayerPlace(
            *(index, inputs, classes, sees_label, network.label_scale, network.bound, goodness, picture, stored)
        )
        kind, words = kind_and_words(item)
        result.append(layer_kind(kind).made(place, words))
        goodness_of(result[-1])
        inputs, picture = result[-1].passes, result[-1].picture
    return tuple(result)


def picture_of(layout: Literal["hwc", "chw", "none"], shape: tuple[int, ...]) -> Picture | None:
    """Return the channels, height and width of an input, where it is a picture and that is known."""
    if layout == "none":
        return None
    sizes = shape if len(shape) == 3 else (1, *shape)
    if layout == "hwc" and len(shape) == 3:
        sizes = (sizes[2], *sizes[:2])
    return sizes[0], sizes[1], sizes[2]


def spelt_out(
    widths: tuple[int | str, ...], layout: Literal["hwc", "chw", "none"], shape: tuple[int, ...]
) -> tuple[int | str, ...]:
    """Return widths in which a layer that repeats (32c3p2+) has become as many as inputs of a shape ask for."""
    if not any(map(repeats, widths)):
        return widths
    from ffedge.layers.conv import spelt_out

    return spelt_out(widths, picture_of(layout, shape))


def adds_input(network: Network, layer: Layer) -> bool:
    """Say whether a layer passes on what it read beside its activity (`ffedge.spec_parts.NetworkSpec.skip`)."""
    return network.skip == "add" and layer.place.index > 0 and layer.place.inputs == layer.passes


def initial_layer(recipe: Recipe, layer: Layer) -> dict[str, Array]:
    """Draw a layer's parameters; one that collaborates gets its gamma, one with a fixed norm its power."""
    gamma = {} if recipe.rule.variant == "ff" else {"gamma": np.array(recipe.rule.gamma, np.float32)}
    drawn = layer.draw(recipe.train.seed) | goodness_of(layer).draw(recipe.train.seed)
    return drawn | gamma | ({"power": np.ones((), np.float32)} if _has_power(recipe) else {})


def initial_state(recipe: Recipe, facts: InputFacts) -> Layers:
    """Draw every layer's parameters."""
    return [initial_layer(recipe, layer) for layer in layers_of(recipe, facts)]


def check_state(recipe: Recipe, facts: InputFacts, state: Layers) -> None:
    """Raise ValueError where a state is not this network's: each layer empty, or whole, in its shapes and float32."""
    layers = layers_of(recipe, facts)
    if len(state) != len(layers):
        raise ValueError(f"it has {len(state)} layers, but the network {len(layers)}")
    for layer, arrays in zip(layers, state, strict=True):
        gamma: Sizes = {} if recipe.rule.variant == "ff" else {"gamma": ()}
        wanted, index = parameter_sizes(layer) | trained(recipe, layer) | gamma, layer.place.index
        if missing := sorted(set(wanted) - set(arrays)) if arrays else []:
            raise ValueError(f"layer {index} lacks {missing[0]}")
        for name, array in arrays.items():
            size = wanted.get(name.partition(".")[0])  # W.m, a moment of W, has W's shape
            if array.shape != size or array.dtype != np.float32:
                raise ValueError(f"layer {index} has {name} of {array.dtype} {list(array.shape)}")


def parameter_sizes(layer: Layer) -> Sizes:
    """Return the shape of each of a layer's parameters by name, its goodness's included."""
    return {name: parameter.shape for name, parameter in parameters_of(layer).items()}


def trained(recipe: Recipe, layer: Layer) -> Sizes:
    """Return the shape of everything that a layer learns by name.

    Its parameters, for A-CFF its gamma, and for a fixed norm ``power``, the running mean of its squared activity;
    parameters that follow a batch's statistics where learning goes by these.
    """
    gamma: Sizes = {"gamma": ()} if recipe.rule.variant == "acff" else {}
    learnt = {
        name: parameter.shape
        for name, parameter in parameters_of(layer).items()
        if not (parameter.follows and layer.place.stored_statistics)
    }
    return learnt | gamma | ({"power": ()} if _has_power(recipe) else {})


def gathered(recipe: Recipe, layer: Layer) -> Sizes:
    """Return the shape of everything that is summed over a batch: gradients, and each unit's share of active rows."""
    return trained(recipe, layer) | ({"active": (layer.units,)} if recipe.rule.sparsity is not None else {})


def stored(recipe: Recipe, layer: Layer) -> Sizes:
    """Return the shape of what the predictor needs of a layer: the last one's norm is for nobody."""
    follows = layer.place.index < len(recipe.network.widths) - 1
    return parameter_sizes(layer) | ({"power": ()} if follows and _has_power(recipe) else {})


def _has_power(recipe: Recipe) -> bool:
    return recipe.network.norm == "fixed"
