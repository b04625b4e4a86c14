"""Makes a recipe of a spec: what was left open is filled in by what the data tell, and for speed."""

import dataclasses
import math
from itertools import pairwise
from typing import Any, Literal

from ffedge.class_weight import check_names
from ffedge.kinds import class_goodness_kind, is_convolution, refuse_convolution
from ffedge.network import InputFacts, layers_of, picture_of, spelt_out
from ffedge.recipe import Recipe, convolves, held_out, loss_slope
from ffedge.spec import Spec
from ffedge.spec_parts import MAX_CLASSES, RATE, LabelMode, NetworkSpec, RuleSpec, TrainSpec

TUNED_BATCH, SMALLEST_BATCH, FEWEST_BATCHES = 256, 32, 50
TUNED_EPOCHS, TUNED_STEPS, MOST_EPOCHS = 20, 1000, 100  # steps that a layer takes at least, where the epochs allow it
TUNED_NEGATIVES = 2
TUNED_DROPOUT, TUNED_SMOOTHING = 0.2, 0.05  # of images
SIDE_A_SHIFT, MOST_SHIFT, TUNED_MIRROR = 16, 8, 0.5
MANY_CLASSES = 20  # of a table: from here on it takes more to fit it, and then noise against learning rows by heart
MANY_NEGATIVES, MANY_TIMES, MANY_DROPOUT = 6, 2, 0.1
STEEP = 4.0  # with it a table's rare classes, and groups of units, are learnt as backprop learns them
INPUTS_A_LABEL = 8  # a label's value, squared, is that of so many inputs: the ratio tuned on 784 inputs
ONE_PASS_RATE = (0.002,)
CONVOLVED_INPUTS = 512  # that a dense layer reads of a convolution at the full rate: all above 0, they push one way
FEW_CHANNELS = 4  # of a picture, by which they are told from its sides
FEWEST_TOGETHER, MOST_TOGETHER, LARGEST_ACTIVITY = 16, 64, 2**20  # samples, and values of a layer, of a chunk
TUNED_CHUNK = 2048
TUNED_TILE_BYTES = 2**20
DEEP = 6  # layers, from which on kept activities pay: two thirds of the time with 4, half with 8 (bench/RECIPE.md)


def resolve(spec: Spec, facts: InputFacts, rows: int) -> Recipe:
    """Return what is trained: the spec with every open field as the data say, or as is fastest.

    Parameters
    ----------
    rows : of the training split, those to be held out included.

    Raises
    ------
    ValueError
        The label cannot stand where the spec wants it, there are not enough wrong labels or rows, or the images cannot
        shift, or a weight is for a class that there is not.
    """
    check_names(spec.train.class_weight, facts.classes)
    learnt, network = rows - held_out(rows, spec.train.holdout), spec.network
    widths = spelt_out(network.widths, _layout(network, facts.shape), facts.shape)
    spec = dataclasses.replace(spec, network=dataclasses.replace(network, widths=widths))
    recipe = Recipe.of(
        Spec(
            dataclasses.replace(spec.network, **_network(spec.network, facts)),
            dataclasses.replace(spec.rule, **_rule(spec.rule, spec.network, facts)),
            dataclasses.replace(spec.train, **_train(spec.train, spec.network, facts, learnt)),
        ),
        learnt,
    )
    if spec.train.rate == "auto":
        recipe = recipe.with_train(rate=_rates(recipe, facts))
    if spec.train.chunk_size == "auto" and recipe.compares_samples:
        recipe = recipe.with_train(chunk_size=_chunk(recipe, facts))
    return recipe


def chosen(spec: Spec, recipe: Recipe) -> dict[str, Any]:
    """Return what the data chose: the value of each field that was left open to them, and that activities are kept."""
    values = {name: value for part in recipe.to_dict().values() for name, value in part.items()}
    kept = ["cache"] if spec.train.cache == "auto" and recipe.train.cache != "none" else []
    return {name: values[name] for name in (*spec.left_open("data"), *kept)}


def _network(network: NetworkSpec, facts: InputFacts) -> dict[str, Any]:
    mode, scale, kind = network.label_mode, network.label_scale, network.told_by
    classes = facts.n_classes
    if not 2 <= classes <= MAX_CLASSES:
        raise ValueError(f"classes must number 2 to {MAX_CLASSES}, got {classes}")
    if mode == "auto":
        beside: LabelMode = "concat" if kind == "tried" else "none"
        mode = "overlay" if kind == "tried" and facts.free_border and classes < facts.size else beside
    if mode == "overlay" and facts.table:
        raise ValueError(
            "`label_mode='overlay'` is for arrays: a table has no inputs to spare. Use `label_mode='concat'`"
        )
    if mode == "overlay" and classes >= facts.size:
        raise ValueError(
            f"`label_mode='overlay'` needs more inputs than classes, got {facts.size} inputs and {classes} classes. "
            "Use `label_mode='concat'`"
        )
    if isinstance(scale, str):
        scale = facts.largest if scale == "max" else round(math.sqrt(facts.features / INPUTS_A_LABEL), 2)
    scaling = facts.auto_scaling if network.scaling == "auto" else network.scaling
    changes = {"class_goodness": kind, "label_mode": mode, "scaling": scaling, "label_scale": scale}
    return changes | {"layout": _layout(network, facts.shape)}


def _layout(network: NetworkSpec, shape: tuple[int, ...]) -> Literal["hwc", "chw", "none"]:
    """Return how a picture's axes lie; ValueError where a convolution is to read what is none, or cannot be told."""
    found: Literal["hwc", "chw", "none"] = "none"
    if network.layout == "auto" and not convolves(network.widths):
        return found
    last, first = (len(shape) == 3 and shape[axis] <= FEW_CHANNELS for axis in (-1, 0))
    if len(shape) == 2 or (last and not first):
        found = "hwc"
    elif first and not last:
        found = "chw"
    if network.layout != "auto":
        found = network.layout
    if found == "none" and convolves(network.widths):
        remedy = "Use `layout='hwc'` or `layout='chw'`" if len(shape) == 3 else "Use dense layers, as in 500,500"
        refuse_convolution(network.widths, f"rows of {list(shape)}", remedy)
    if len(shape) not in {"hwc": (2, 3), "chw": (3,), "none": (len(shape),)}[found]:
        raise ValueError(f"`layout='{found}'` does not fit rows of {list(shape)}. Leave it out")
    return found


def _rates(recipe: Recipe, facts: InputFacts) -> tuple[float, ...]:
    """Return the rates, one for each layer where a dense one reads a convolution."""
    widths, layers, rates = recipe.network.widths, layers_of(recipe, facts), recipe.train.rate
    for index, (before, here) in enumerate(pairwise(widths), 1):
        if is_convolution(before) and not is_convolution(here):
            each = [recipe.train.layer_rate(layer) for layer in range(len(widths))]
            each[index] *= min(1.0, CONVOLVED_INPUTS / layers[index].place.inputs)
            rates = tuple(each)
    return rates


def _chunk(recipe: Recipe, facts: InputFacts) -> int:
    """Return how many samples learn at once: a batch, or as many as memory allows of a convolution's activities."""
    if not convolves(recipe.network.widths):
        return recipe.train.batch_size
    most = max(layer.units for layer in layers_of(recipe, facts))
    power = max(FEWEST_TOGETHER, min(MOST_TOGETHER, LARGEST_ACTIVITY // most)).bit_length() - 1
    return min(recipe.train.batch_size, 1 << power)


def _rule(rule: RuleSpec, network: NetworkSpec, facts: InputFacts) -> dict[str, Any]:
    kind, is_open = network.told_by, rule.slope in ("auto", None) and rule.loss == "contrastive"
    tried_on_table = kind == "tried" and rule.slope == "auto" and not facts.is_image
    steep = is_open and (tried_on_table or (kind != "tried" and class_goodness_kind(kind).steep))
    smoothing = rule.smoothing
    if isinstance(smoothing, str):
        smoothing = TUNED_SMOOTHING if facts.is_image else 0.0
    weights = rule.prediction_weights
    if weights == "auto":
        weights = "deeper" if convolves(network.widths) else "plain"
    return {"slope": STEEP if steep else loss_slope(rule), "smoothing": smoothing, "prediction_weights": weights}


def _train(train: TrainSpec, network: NetworkSpec, facts: InputFacts, rows: int) -> dict[str, Any]:
    """Return what a training on so many rows takes."""
    kind, convolving = network.told_by, convolves(network.widths)
    rate = RATE if kind == "tried" else ONE_PASS_RATE
    many = not facts.is_image and facts.n_classes >= MANY_CLASSES
    negatives: int | str = train.n_negatives
    dropout, epochs = train.input_dropout, train.epochs
    size: int | str = rows if train.batch_size == "full" else train.batch_size
    if isinstance(negatives, str):
        negatives = min(MANY_NEGATIVES if many else TUNED_NEGATIVES, facts.n_classes - 1)
    if kind != "tried":
        negatives = facts.n_classes - 1
    if negatives >= facts.n_classes:
        raise ValueError(f"`n_negatives` must be less than the {facts.n_classes} classes, got {negatives}")
    if isinstance(size, str):
        size = min(TUNED_BATCH, max(SMALLEST_BATCH, rows // FEWEST_BATCHES), rows)
    if size > rows:
        raise ValueError(f"`batch_size` must be at most the {rows} rows that are trained on, got {size}")
    shift, mirror = _augmentation(train, network, facts)
    changed = next((n for n, v in (("shift", shift), ("mirror", mirror), ("cutout", train.cutout)) if v), None)
    if changed and facts.picture is None and not convolving:
        raise ValueError(
            f"`{changed}` needs pictures: bytes (uint8) of shape [N, H, W] or [N, H, W, C] with 1, 3 or 4 channels, "
            f"from 8 pixels a side on, got {facts.dtype} [N, {', '.join(map(str, facts.shape))}]. Use `{changed}=0`"
        )
    if train.cutout > (side := min(_sides(network, facts))):
        raise ValueError(f"`cutout` must be at most {side}, the pictures' smaller side, got {train.cutout}")
    if isinstance(dropout, str):
        dropout = 0.0 if convolving else TUNED_DROPOUT if facts.is_image else MANY_DROPOUT if many else 0.0
    if isinstance(epochs, str):
        epochs = _epochs(rows, size, MANY_TIMES if many else 1)
    return {
        "epochs": epochs,
        "batch_size": size,
        "chunk_size": TUNED_CHUNK if train.chunk_size == "auto" else train.chunk_size,
        "tile_bytes": TUNED_TILE_BYTES if train.tile_bytes == "auto" else train.tile_bytes,
        "moments": "memory" if train.moments == "auto" else train.moments,
        "n_negatives": negatives,
        "cache": _cache(train, network, epochs, negatives, facts.n_classes) if train.cache == "auto" else train.cache,
        "rate": rate[: len(network.widths)] if train.rate == "auto" else train.rate,
        "input_dropout": dropout,
        "shift": shift,
        "mirror": mirror,
    }


def _cache(
    train: TrainSpec, network: NetworkSpec, epochs: int, negatives: int, classes: int
) -> Literal["none", "activations"]:
    """Return whether finished layers' activities are kept: where that spares twice the passes that it takes.

    Without, a row runs through all layers below in each epoch, once for each label that is tried; with it about twice a
    layer, for all labels. Whether the disk has room is not asked here.
    """
    layers, tries = len(network.widths), network.told_by == "tried"
    possible = train.schedule == "greedy" and train.negatives != "hard-sum" and not convolves(network.widths)
    spared = epochs * (1 + negatives if tries else 1) * (layers - 1) / 2
    taken = 2 * (classes if tries else 1)
    return "activations" if possible and layers >= DEEP and spared >= 2 * taken else "none"


def _augmentation(train: TrainSpec, network: NetworkSpec, facts: InputFacts) -> tuple[int, float]:
    """Return by how many pixels pictures move, and what share of them is mirrored."""
    certain = convolves(network.widths) or facts.picture is not None
    picture = picture_of(_layout(network, facts.shape), facts.shape) or (1,)
    channels = facts.picture[2] if facts.picture else picture[0]
    shift = min(MOST_SHIFT, max(1, round(min(_sides(network, facts)) / SIDE_A_SHIFT))) if certain else 0
    mirror = TUNED_MIRROR if certain and channels > 1 else 0.0
    return (
        shift if isinstance(train.shift, str) else train.shift,
        mirror if isinstance(train.mirror, str) else train.mirror,
    )


def _sides(network: NetworkSpec, facts: InputFacts) -> tuple[int, ...]:
    """Return height and width of pictures; zeros of what is none."""
    picture = picture_of(_layout(network, facts.shape), facts.shape)
    return picture[1:] if picture else (facts.picture or (0, 0))[:2]


def _epochs(rows: int, batch: int, times: int) -> int:
    """Return so many times the usual epochs, or as many as make enough steps of few rows, within reason."""
    return max(times * TUNED_EPOCHS, min(MOST_EPOCHS, times * -(-TUNED_STEPS // -(-rows // batch))))
