"""What a run trains on, and how: the data open, the spec filled in by them, the memory planned; nothing is written."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ffedge.data import Data, Dataset, load
from ffedge.data.files import is_table
from ffedge.data.merged import refuse_merged
from ffedge.errors import FfedgeError
from ffedge.kinds import refuse_convolution
from ffedge.meter import anonymous_bytes
from ffedge.network import InputFacts
from ffedge.recipe import Recipe, convolves
from ffedge.resolve import resolve
from ffedge.spec import Spec
from ffedge.training.checkpoint import check_holds
from ffedge.training.disk import has_room
from ffedge.training.facts import measure
from ffedge.training.layer_cache import cache_bytes
from ffedge.training.memory import Plan, make_plan
from ffedge.training.notes import of_no_room
from ffedge.training.odd import without_absurd
from ffedge.training.watch import Watcher

SPARE = 2  # times the room that activities take must be free, where nobody asks for them


@dataclass(frozen=True)
class Prepared:
    """What is ready to be trained.

    Attributes
    ----------
    dataset : without rows that are odd; `odd` says in a sentence which these were.
    recipe : the spec, filled in by the data.
    plan : of memory; None for the torch engine, which has none.
    """

    dataset: Dataset
    odd: str | None
    facts: InputFacts
    recipe: Recipe
    plan: Plan | None

    @property
    def rows(self) -> int:
        """Training rows, those held out included."""
        return len(self.dataset.train.labels)

    @property
    def left(self) -> int:
        """Training rows that are learnt from."""
        return self.rows - self.recipe.train.held_out(self.rows)


def prepare(spec: Spec, data: Data, data_dir: Path | None, place: Path, **how: Any) -> Prepared:
    """Open the data, leave odd rows out, fill in the spec by the others, and plan the memory of the onnx engine.

    Parameters
    ----------
    place : where the run is to be, whose disk may have room for activities.
    how : for `ffedge.load`; `hear` among it.

    Raises
    ------
    FfedgeError
        The data cannot be used, or the budget is below what training needs.
    ValueError
        The spec does not fit the data.
    """
    convolving = convolves(spec.network.widths)
    if convolving and is_table(data):
        refuse_convolution(spec.network.widths, "a table", "Use dense layers, as in 500,500")
    dataset = load(data, data_dir, **how)
    if dataset.sample is not None:
        refuse_merged(dataset.sample, dataset.name)
    if convolving:  # what fits no picture is refused before all rows are read
        dtype: Literal["uint8", "float32"] = "uint8" if dataset.input_dtype == "uint8" else "float32"
        resolve(spec, InputFacts(dataset.input_shape, dtype, dataset.classes), len(dataset.train.labels))
    dataset, _, odd = without_absurd(dataset)
    facts, rows = measure(dataset, spec.network.scaling), len(dataset.train.labels)
    check_holds(facts, dataset.name)
    recipe = resolve(spec, facts, rows)
    left = rows - recipe.train.held_out(rows)
    if spec.train.cache == "auto" and recipe.train.cache != "none":
        taken = cache_bytes(recipe, facts, left)
        if has_room(place, SPARE * taken):
            with contextlib.suppress(FfedgeError):  # the budget has no room for rows that are read
                return Prepared(dataset, odd, facts, *_planned(spec, recipe, facts, left))
        recipe = resolve(spec.with_train(cache="none"), facts, rows)
        (how["hear"] or Watcher()).note(of_no_room(taken, dataset))
    return Prepared(dataset, odd, facts, *_planned(spec, recipe, facts, left))


def _planned(spec: Spec, recipe: Recipe, facts: InputFacts, rows: int) -> tuple[Recipe, Plan | None]:
    """Plan the memory of the onnx engine."""
    if recipe.train.engine != "torch":
        return make_plan(spec, recipe, facts, anonymous_bytes(), rows)
    if recipe.train.memory_budget is not None:
        raise ValueError("`memory_budget` needs the onnx engine; torch keeps no budget. Use `engine='onnx'`")
    return recipe, None
