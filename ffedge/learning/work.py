"""What a model file learns from: new rows beside kept examples, and what it is measured on."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Dataset, Split
from ffedge.data.stream import OtherRows, split_rows
from ffedge.learning.anchor import Anchor
from ffedge.learning.classes import Start
from ffedge.learning.files import OLD_KEPT
from ffedge.learning.guard import to_check
from ffedge.learning.rows import joined
from ffedge.learning.session import fitted, learning_spec, make_engine
from ffedge.meter import PeakMeter
from ffedge.network import InputFacts
from ffedge.recipe import Recipe
from ffedge.seeds import Draw, generator
from ffedge.training.evaluator import Evaluator
from ffedge.training.loop import Loop
from ffedge.training.memory import Plan
from ffedge.training.replay import CHECK_SHARE, Examples, keep, kept_file, no_examples, read_kept
from ffedge.training.step import BatchLearner
from ffedge.training.watch import Journal, Watcher

Places = NDArray[np.int64]
Part = tuple[Split, Places]


@dataclass(frozen=True)
class Work:
    """What is learnt from, and how.

    Attributes
    ----------
    rows : new rows, of which there are `new_rows`, then kept ones to learn again.
    share : of a batch that is taken from the kept ones.
    parts : the rows that accuracy is measured on: new ones that are held out, kept ones.
    not_learnt : those of them that are never learnt from.
    """

    start: Start
    recipe: Recipe
    plan: Plan
    rows: Dataset
    new_rows: int
    share: float
    parts: tuple[Part, Part]
    not_learnt: tuple[Part, Part]

    @property
    def kept_rows(self) -> int:
        """How many kept examples are learnt again."""
        return len(self.rows.train.labels) - self.new_rows

    def loop(self, folder: Path, watcher: Watcher, meter: PeakMeter, layers: list[int], anchor: Anchor) -> Loop:
        """Return the loop that trains, its layers' files in a folder."""
        engine = make_engine(self.start, self.recipe, folder)
        return Loop(
            self.recipe,
            self.rows,
            self.start.facts,
            engine,
            Journal(folder),
            watcher,
            meter,
            folder=folder,
            layers=layers,
            kept=(self.kept_rows, self.share),
            stepped=lambda active: anchor.draw_back(engine.state(), active),
        )

    def evaluator(self, start: Start, folder: Path) -> Evaluator:
        """Return what measures another model than the one that learns."""
        recipe = dataclasses.replace(self.recipe, network=start.recipe.network)
        recipe = recipe.with_train(n_negatives=start.recipe.train.n_negatives)
        return Evaluator(BatchLearner(recipe, make_engine(start, recipe, folder), start.facts.n_classes))

    def accuracies(self, evaluator: Evaluator) -> list[float | None]:
        """Return the accuracy on each of `parts`; None where it has no rows."""
        return [evaluator.accuracy(split, rows) if len(rows) else None for split, rows in self.parts]


def prepare(
    start: Start, dataset: Dataset, stored: tuple[Examples, Examples], share: float, changes: dict[str, Any]
) -> Work:
    """Lay new rows and a share of each batch of kept examples out, by what the model stored and the changes to that.

    Raises
    ------
    FfedgeError
        The rows do not fit the model, or the budget is too small.
    ValueError
        A change that cannot be.
    """
    again = stored[0] if share else no_examples(start.facts)
    rows = joined(dataset, start.facts, again)
    new_rows = len(dataset.train.labels)
    recipe, plan = fitted(start, learning_spec(start, changes, new_rows), new_rows, len(again))
    held_out, _ = split_rows(len(rows.train.labels), recipe, len(again))
    new, check, measured = (rows.train, held_out), _part(stored[1], rows.train), _part(to_check(*stored), rows.train)
    return Work(start, recipe, plan, rows, new_rows, share, (new, measured), (new, check))


def _part(examples: Examples, otherwise: Split) -> Part:
    """Return all of some examples as places of a split, which must be one also where there are none."""
    split = otherwise if examples.rows is None else Split(examples.rows, examples.labels)
    return split, np.arange(len(examples))


def examples_of(
    path: Path, facts: InputFacts, source: Dataset | None, folder: Path, most_bytes: int
) -> tuple[Examples, Examples]:
    """Return the kept examples of a model, and some of a data set that it learnt from before."""
    stored = read_kept(kept_file(path), facts)
    if source is None:
        return stored
    split, file = joined(source, facts, no_examples(facts)).train, folder / "kept.safetensors"
    order = generator(0, Draw.KEPT).permutation(len(split.labels))
    cut = int(CHECK_SHARE * len(order))
    keep(file, facts, stored, ((split, order[cut:]), (split, order[:cut])), most_bytes, 0)
    return read_kept(file, facts)


def keep_examples(path: Path, place: Path, work: Work, stored: tuple[Examples, Examples], most_bytes: int) -> None:
    """Bring the kept examples up to date with the new rows, those learnt from and those held out; write them apart."""
    split, held_out = work.rows.train, work.parts[0][1]
    facts, seed = work.start.facts, work.recipe.train.seed
    offers = (split, OtherRows(work.new_rows, held_out)), (split, held_out)
    like = kept_file(path) if kept_file(path).exists() else path
    if like == path:  # so that the way back leads to none
        none, nothing = no_examples(facts), (split, held_out[:0])
        keep(place.with_name(OLD_KEPT), facts, (none, none), (nothing, nothing), 0, seed, like)
    keep(place, facts, stored, offers, most_bytes, seed, like)
