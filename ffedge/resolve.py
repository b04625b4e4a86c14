"""Makes a recipe of a spec: what was left open is filled in by what the data tell, and for speed."""

import dataclasses
import math
from typing import Any

from ffedge.network import InputFacts
from ffedge.recipe import Recipe, held_out, loss_slope
from ffedge.spec import MAX_CLASSES, NetworkSpec, RuleSpec, Spec, TrainSpec

TUNED_BATCH, SMALLEST_BATCH, FEWEST_BATCHES = 256, 32, 50
TUNED_EPOCHS, TUNED_STEPS, MOST_EPOCHS = 20, 1000, 100  # steps that a layer takes at least, where the epochs allow it
TUNED_NEGATIVES = 2
TUNED_DROPOUT, TUNED_SMOOTHING = 0.2, 0.05  # of images
MANY_CLASSES = 20  # of a table: from here on it takes more to fit it, and then noise against learning rows by heart
MANY_NEGATIVES, MANY_TIMES, MANY_DROPOUT = 6, 2, 0.1
TABLE_SLOPE = 4.0  # with it a table's rare classes are learnt as backprop learns them
INPUTS_A_LABEL = 8  # a label's value, squared, is that of so many inputs: the ratio tuned on 784 inputs
TUNED_CHUNK = 2048
TUNED_TILE_BYTES = 2**20


def resolve(spec: Spec, facts: InputFacts, rows: int) -> Recipe:
    """Return what is trained: the spec with every open field as the data say, or as is fastest.

    Parameters
    ----------
    rows : of the training split, those to be held out included.

    Raises
    ------
    ValueError
        The label cannot stand where the spec wants it, there are not enough wrong labels or rows, or the images cannot
        shift.
    """
    learnt = rows - held_out(rows, spec.train.holdout)
    return Recipe.of(
        Spec(
            dataclasses.replace(spec.network, **_network(spec.network, facts)),
            dataclasses.replace(spec.rule, **_rule(spec.rule, facts)),
            dataclasses.replace(spec.train, **_train(spec.train, facts, learnt)),
        ),
        learnt,
    )


def chosen(spec: Spec, recipe: Recipe) -> dict[str, Any]:
    """Return what the data chose: the value of each field that was left open to them."""
    values = {name: value for part in recipe.to_dict().values() for name, value in part.items()}
    return {name: values[name] for name in spec.left_open("data")}


def _network(network: NetworkSpec, facts: InputFacts) -> dict[str, Any]:
    mode, scale = network.label_mode, network.label_scale
    classes = facts.n_classes
    if not 2 <= classes <= MAX_CLASSES:
        raise ValueError(f"classes must number 2 to {MAX_CLASSES}, got {classes}")
    if mode == "auto":
        mode = "overlay" if facts.free_border and classes < facts.size else "concat"
    if mode == "overlay" and classes >= facts.size:
        raise ValueError(
            f"`label_mode='overlay'` needs more inputs than classes, got {facts.size} inputs and {classes} classes. "
            "Use `label_mode='concat'`"
        )
    if isinstance(scale, str):
        scale = facts.largest if scale == "max" else round(math.sqrt(facts.size / INPUTS_A_LABEL), 2)
    scaling = facts.auto_scaling if network.scaling == "auto" else network.scaling
    return {"label_mode": mode, "scaling": scaling, "label_scale": scale}


def _rule(rule: RuleSpec, facts: InputFacts) -> dict[str, Any]:
    steep = rule.slope == "auto" and not facts.is_image and rule.loss == "contrastive"
    smoothing = rule.smoothing
    if isinstance(smoothing, str):
        smoothing = TUNED_SMOOTHING if facts.is_image else 0.0
    return {"slope": TABLE_SLOPE if steep else loss_slope(rule), "smoothing": smoothing}


def _train(train: TrainSpec, facts: InputFacts, rows: int) -> dict[str, Any]:
    """Return what a training on so many rows takes."""
    many = not facts.is_image and facts.n_classes >= MANY_CLASSES
    negatives: int | str = train.n_negatives
    dropout, epochs = train.input_dropout, train.epochs
    size: int | str = rows if train.batch_size == "full" else train.batch_size
    if isinstance(negatives, str):
        negatives = min(MANY_NEGATIVES if many else TUNED_NEGATIVES, facts.n_classes - 1)
    if negatives >= facts.n_classes:
        raise ValueError(f"`n_negatives` must be less than the {facts.n_classes} classes, got {negatives}")
    if isinstance(size, str):
        size = min(TUNED_BATCH, max(SMALLEST_BATCH, rows // FEWEST_BATCHES), rows)
    if size > rows:
        raise ValueError(f"`batch_size` must be at most the {rows} rows that are trained on, got {size}")
    if train.shift and facts.picture is None:
        raise ValueError(
            "`shift` needs pictures: bytes (uint8) of shape [N, H, W] or [N, H, W, C] with 1, 3 or 4 channels, from 8 "
            f"pixels a side on, got {facts.dtype} [N, {', '.join(map(str, facts.shape))}]. Use `shift=0`"
        )
    if isinstance(dropout, str):
        noise = TUNED_DROPOUT if facts.is_image else MANY_DROPOUT if many else 0.0
        dropout = noise if train.cache == "none" else 0.0
    if isinstance(epochs, str):
        epochs = _epochs(rows, size, MANY_TIMES if many else 1)
    return {
        "epochs": epochs,
        "batch_size": size,
        "chunk_size": TUNED_CHUNK if train.chunk_size == "auto" else train.chunk_size,
        "tile_bytes": TUNED_TILE_BYTES if train.tile_bytes == "auto" else train.tile_bytes,
        "moments": "memory" if train.moments == "auto" else train.moments,
        "n_negatives": negatives,
        "input_dropout": dropout,
    }


def _epochs(rows: int, batch: int, times: int) -> int:
    """Return so many times the usual epochs, or as many as make enough steps of few rows, within reason."""
    return max(times * TUNED_EPOCHS, min(MOST_EPOCHS, times * -(-TUNED_STEPS // -(-rows // batch))))
