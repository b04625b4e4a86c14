"""How a model file's learning step is cut into stages, and what each of their values is called there.

The step is one flat graph (`ffedge.graph.algorithm`). Every node belongs to a stage of a layer, and says so in its name
and in its output's: ``learn.0/loss`` is the loss of layer 0. The trainer's kernels are unions of stages, so that a
reader gets them back by name (`ffedge.runtime.cut`). The names of stages and values are part of the file's format.

    scale      raw inputs -> scaled                            (first layer)
    dropout    scaled, mask -> dropped                         (first layer, where inputs are dropped)
    product    x, its product z with W                         (first layer)
    forward    activity and goodness
    rows       what the next layer sees                        (all but the last layer)
    goodness   g [N, M]
    learn      loss, slope, dz, gradients but W's
    update     new b, V, gamma and their moments
    gradient   W's gradient
    step       new W and its moments

Shape letters: N samples, M = 1 + K labels tried for each, R = N * M rows, I inputs of a sample, D inputs of a layer,
H units, C classes, T rows of W that are updated at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ffedge.network import LayerShape, trained
from ffedge.recipe import Recipe
from ffedge.spec import MOMENTS

Dims = tuple[int | str, ...]
SCALARS = ("rate", "decaying.rate", "epsilon", "keep", "gamma.rate", "gamma.epsilon", "share")
FIRST = ("scale", "dropout", "product")
FORWARD = {"forward", "goodness"}
LEARNING = {"learn", "accumulate"}
TILED = {"tile", "tile-accumulate", "tile-apply"}
# constants that depend on the count of classes, by name, so that a file can be given another class
START, DEPTH, SCORES, NORM = "classes.start", "classes.depth", "classes.scores", "classes.norm"


@dataclass(frozen=True)
class Composition:
    """How a kernel is made of stages.

    Attributes
    ----------
    stages : whose nodes it holds.
    same : values that take another's place.
    sums : the gradients that are added to ``sum.*``.
    outputs : names of its values that go out, those that it makes.
    """

    stages: frozenset[str]
    outputs: tuple[str, ...]
    same: dict[str, str]
    sums: tuple[str, ...] = ()


def composition(recipe: Recipe, kind: str, shape: LayerShape, flag: bool) -> Composition:
    """Return how the kernel is made that a key names (see `ffedge.runtime.kernels.KernelKey`)."""
    beside = tuple(name for name in trained(recipe, shape) if name != "W")
    gradients = {f"grad.{name}": f"sum.{name}" for name in (*beside, "W")}
    rows = ("rows",) if flag else ()
    tries, out = ("forward", *rows, "goodness", "learn"), (*rows, "dz", "g", "loss")
    update, step = tuple(_fresh(recipe, beside)), tuple(_fresh(recipe, ("W",)))
    dropout = ("dropout",) if flag else ()
    compositions = {
        "product": Composition(
            frozenset(("scale", "product", *dropout)), ("x", "z", "value"), {} if flag else {"dropped": "scaled"}
        ),
        "forward": Composition(frozenset(("forward", "rows")), ("rows", "g"), {"g.flat": "g"}),
        "goodness": Composition(frozenset(("forward",)), ("g",), {"g.flat": "g"}),
        "learn": Composition(frozenset((*tries, "update")), (*out, *update), {}),
        "accumulate": Composition(frozenset(tries), (*out, *(f"new.sum.{name}" for name in beside)), {}, beside),
        "apply": Composition(frozenset(("update",)), update, gradients),
        "tile": Composition(frozenset(("gradient", "step")), step, {}),
        "tile-accumulate": Composition(frozenset(("gradient",)), ("new.sum.W",), {}, ("W",)),
        "tile-apply": Composition(frozenset(("step",)), step, gradients),
    }
    return compositions[kind]


def _fresh(recipe: Recipe, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield from (f"new.{part}" for part in (name, *moments(recipe, name)))


def moments(recipe: Recipe, name: str) -> tuple[str, ...]:
    """Return the names of a parameter's moments."""
    return tuple(f"{name}.{moment}" for moment in MOMENTS[recipe.optimizer_of(name)])


def ports(recipe: Recipe, size: int, kind: str, shape: LayerShape) -> dict[str, Dims]:
    """Return the shape of every value that a kernel may read or give out, by its name within the kernel.

    Parameters
    ----------
    size : I.
    """
    T, H, D, first = kind in TILED, shape.units, shape.inputs, shape.first
    tried: Dims = ("N", 1 + recipe.train.n_negatives)
    source: Dims = ("N", D) if first else ("R", D)
    result: dict[str, Dims] = {
        "raw": ("N", size),
        "mask": ("N", D),
        "x": ("R", "T") if T else source,
        "z": ("N", H),
        "value": ("N", 1, 1),
        "labels": ("N", "M") if first else ("R",),
        "rows": ("R", H),
        "dz": ("R", H) if T or not first else ("N", H),
        "other": tried,
        "g": ("R",) if kind in FORWARD else tried,
        "gamma": (),
        "loss": (),
        **dict.fromkeys(SCALARS, ()),
    }
    for name, dims in (trained(recipe, shape) | shape.parameters()).items():
        own: Dims = ("T", H) if T and name == "W" else dims
        for part in (name, *moments(recipe, name), f"sum.{name}"):
            result[part] = result[f"new.{part}"] = own
    return result


def wire(local: str, kind: str, layer: int) -> str:
    """Return what a value that a kernel of a layer reads is called in the file."""
    first = layer == 0
    below = "product.0" if first else f"rows.{layer - 1}"
    if local in SCALARS:
        return f"scalars.{layer}/{local}"
    shared = {
        "raw": "input.0/raw",
        "mask": "mask",
        "labels": "labels" if first else "input.0/labels",
        "z": "product.0/z",
        "value": "product.0/value",
        "x": "product.0/x" if first else f"{below}/rows",
        "dz": f"learn.{layer}/dz",
        "other": f"other.{layer}/other",
    }
    return shared.get(local) or f"layers.{layer}.{local}"


def state(recipe: Recipe, shapes: tuple[LayerShape, ...]) -> dict[str, tuple[int, ...]]:
    """Return what the learning step keeps beside the predictor's weights: gammas and moments, with their shapes."""
    result: dict[str, tuple[int, ...]] = {}
    for shape in shapes:
        if recipe.rule.variant != "ff":
            result[f"layers.{shape.index}.gamma"] = ()
        for name, dims in trained(recipe, shape).items():
            result |= {f"layers.{shape.index}.{moment}": dims for moment in moments(recipe, name)}
    return result


def bindings(recipe: Recipe, shapes: tuple[LayerShape, ...]) -> dict[str, str]:
    """Return which output of the step takes the place of each value that learns, the predictor's weights included."""
    result = {"step": "scalars.0/new.step"}
    for shape in shapes:
        for name in trained(recipe, shape):
            stage = "step" if name == "W" else "update"
            for part in (name, *moments(recipe, name)):
                result[f"layers.{shape.index}.{part}"] = f"{stage}.{shape.index}/new.{part}"
    if recipe.rule.variant == "acff" and recipe.rule.prediction_weights == "collaborative":
        result["prediction_weights"] = "prediction.0/new.prediction_weights"
    return result
