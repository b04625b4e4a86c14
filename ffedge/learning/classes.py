"""What learning starts from: a model file's recipe and parameters; more classes for it to know.

Shape letters: I inputs of a sample, H units, C classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ffedge.kinds import class_goodness_kind, goodness_of
from ffedge.model.calibration import Calibration
from ffedge.model.file import Model
from ffedge.network import MAX_SIZE, InputFacts, layers_of
from ffedge.recipe import Recipe, convolves
from ffedge.seeds import Draw, generator
from ffedge.spec_parts import MAX_CLASSES
from ffedge.version import __version__

Array = NDArray[Any]
HISTORY = 20


@dataclass(frozen=True)
class Start:
    """A model to learn from.

    Attributes
    ----------
    n_bytes : of its file.
    calibration : of what counts as known; None where the model has none.
    layer : reads the parameters of a layer, read-only: W, b, V, gamma.
    fingerprint : tells the weights in the file from others (`ffedge.model.file.Model.fingerprint`).
    """

    path: Path
    n_bytes: int
    metadata: dict[str, Any]
    recipe: Recipe
    facts: InputFacts
    calibration: Calibration | None
    layer: Callable[[int], dict[str, Array]]
    fingerprint: Callable[[], str]

    def learnt_from(self, **rows: Any) -> dict[str, Any]:
        """Return the metadata of the model once it has learnt from some rows: what it learnt from the last times.

        Each time says the fingerprint of the weights that it went out from, so that models that are merged tell where
        they parted.
        """
        return self.metadata | learnt_more(self.metadata, rows | {"from": self.fingerprint()})


def learnt_more(metadata: Mapping[str, Any], time: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that say what a model learnt from, with one time more."""
    before = metadata.get("learnt")
    return {"version": __version__, "learnt": [*(before if isinstance(before, list) else []), time][-HISTORY:]}


def opened(path: Path) -> Start:
    """Open a model file to learn from.

    Raises
    ------
    ModelError
        It cannot be read, is not ffedge's, or its network cannot learn from its file alone.
    """
    model = Model(path)
    model.check_learns()
    about = model.metadata, model.recipe, model.facts, model.calibration
    return Start(path, model.parts.n_bytes, *about, model.layer, model.fingerprint)


def with_classes(start: Start, names: list[str]) -> Start:
    """Return a model that knows more classes.

    Each gets a row of V (with an overlay, an input goes), a column of a readout, or in each layer a group of new units.

    Raises
    ------
    ValueError
        A name is known already, there is no room for the label, or for its units.
    """
    facts, recipe = start.facts, start.recipe
    if old := [name for name in names if name in facts.classes]:
        raise ValueError(f"`add_classes` must name a new class, but the model knows {old[0]!r}")
    classes, overlay = (*facts.classes, *names), recipe.network.label_mode == "overlay"
    if len(classes) > MAX_CLASSES or (overlay and len(classes) >= facts.size) or facts.size > MAX_SIZE:
        most = min(MAX_CLASSES, facts.size - 1) if overlay else MAX_CLASSES
        raise ValueError(
            f"`add_classes` would make {len(classes)} classes, but this model has room for {most}"
            f"{', as the label takes the place of inputs' if overlay else ''}. Train anew with `label_mode='concat'`"
        )
    more, grown = len(names), replace(facts, classes=classes)
    recipe = _grown(recipe, facts.n_classes, more)
    layers = layers_of(recipe, grown)

    def layer(index: int) -> dict[str, Array]:
        rng = generator(recipe.train.seed, Draw.WEIGHTS, index, facts.n_classes)
        before, here = start.layer(index), layers[index]
        return here.with_classes(before, more, rng, overlay=overlay) | goodness_of(here).with_classes(before, more)

    return replace(start, recipe=recipe, facts=grown, layer=layer)


def _grown(recipe: Recipe, classes: int, more: int) -> Recipe:
    """Return what a network of so many classes is trained by with more of them: their groups are as large as others."""
    if recipe.network.tries_labels:
        return recipe
    recipe = recipe.with_train(n_negatives=classes + more - 1)
    if not class_goodness_kind(recipe.network.class_goodness).widens:
        return recipe
    if convolves(recipe.network.widths):
        raise ValueError(
            "`add_classes` finds no room in a convolution's groups. Train anew with `class_goodness='readout'`"
        )
    widths = tuple(units + more * (units // classes) for units in recipe.network.dense_units)
    return replace(recipe, network=replace(recipe.network, widths=widths))
