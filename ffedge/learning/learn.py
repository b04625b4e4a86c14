"""``ffedge learn``: a model file and new rows in; the same file out, which knows more, and the old one beside it."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge import json_text
from ffedge.data import Data, Dataset, Reading, Split, load
from ffedge.data.matched import numbers_in, unknown_classes
from ffedge.data.stream import OtherRows, split_rows
from ffedge.errors import ModelError, StoppedError, TrainingError, one_line
from ffedge.learning.anchor import Anchor
from ffedge.learning.classes import Start, opened, with_classes
from ffedge.learning.files import OLD_KEPT, alone, previous_file, replaced
from ffedge.learning.guard import MAX_DROP, Measured, to_check, unchecked_classes
from ffedge.learning.rows import joined
from ffedge.learning.session import fitted, learning_spec, make_engine
from ffedge.meter import PeakMeter, rss_bytes
from ffedge.model.file import missing
from ffedge.model.write import write_model
from ffedge.network import InputFacts
from ffedge.pages import release_libraries, return_large_blocks
from ffedge.recipe import Recipe
from ffedge.training.checkpoint import Checkpoints, Place
from ffedge.training.disk import check_room, learning_bytes
from ffedge.training.evaluator import Evaluator
from ffedge.training.loop import Diverged, Interrupted, Loop
from ffedge.training.memory import Plan
from ffedge.training.odd import without_odd
from ffedge.training.records import LayerRecord
from ffedge.training.replay import CHECK_SHARE, KEPT_BYTES, Examples, keep, kept_file, no_examples, read_kept
from ffedge.training.shown import shows_progress
from ffedge.training.step import BatchLearner
from ffedge.training.watch import Journal, Watcher

Places = NDArray[np.int64]
Part = tuple[Split, Places]
REPLAY_SHARE = 0.5
FEW_STEPS = 100  # of a layer


@dataclass
class Learning:
    """What `learn` did.

    Attributes
    ----------
    rows : new ones, those held out included.
    odd_rows, odd : how many beside these are odd (`ffedge.model.readings`) and were left out; why, in a sentence.
    kept_rows : examples that were learnt again.
    new, kept : accuracy on new rows that were held out, and on kept examples that are never learnt from; of a class
        that has none of these, on those that are.
    unchecked : classes that the model knew and of which no examples are kept: what it forgot of them is not known.
    accepted : whether the file was replaced; `refused` says why not.
    layers : a record of each layer that learnt.
    plan : of memory (`ffedge.training.memory.Plan`).
    """

    model: str
    spec: dict[str, Any]
    rows: int
    odd_rows: int
    odd: str | None
    kept_rows: int
    classes_added: list[str]
    new: Measured
    kept: Measured
    unchecked: list[str]
    accepted: bool
    refused: str | None
    layers: list[LayerRecord]
    seconds: float
    rss_peak_bytes: int
    import_bytes: int
    plan: dict[str, Any]
    previous: str | None = None

    def __repr__(self) -> str:
        """Say what became of the model, in a line."""
        became = "replaced" if self.accepted else f"refused: {self.refused}"
        parts = [
            f"{name} rows {held.before:.2%} -> {held.after:.2%}"
            for name, held in (("new", self.new), ("kept", self.kept))
            if held.before is not None and held.after is not None
        ]
        return f"<Learning {one_line(', '.join([self.model, *parts, became]))[:400]}>"

    def to_json(self) -> str:
        """Return it as indented JSON."""
        return json_text.text(dataclasses.asdict(self), indent=1)


@shows_progress
def learn(
    model: str | Path,
    data: Data,
    *,
    add_classes: Sequence[str] = (),
    add_new: bool = False,
    layers: Sequence[int] | None = None,
    replay_share: float = REPLAY_SHARE,
    replay_from: Data | None = None,
    kept_bytes: int = KEPT_BYTES,
    max_drop: float = MAX_DROP,
    force: bool = False,
    anchor: float = 0.0,
    data_dir: Path | None = None,
    label: str | None = None,
    reading: Reading | None = None,
    watcher: Watcher | None = None,
    progress: bool = True,
    stop: Callable[[], bool] = lambda: False,
    **changes: Any,
) -> Learning:
    """Go on training from a model file alone, and replace it; the old one stays beside it (see `roll_back`).

    Parameters
    ----------
    data : new rows, as for `ffedge.train`; their train split.
    add_classes : names of classes that the model is to know beside its own.
    add_new : add every other class of the rows, too.
    layers : those that learn; None takes all.
    replay_share : of each batch that is taken from the kept examples, where there are any.
    replay_from : rows to take kept examples from, beside those that the model has: what it learnt from before.
    kept_bytes : room for kept examples beside the model, for the next time; 0 keeps none.
    max_drop : how far accuracy on a held-out share of the new rows, or of the kept examples, may fall.
    reading : what the data's files leave open.
    watcher : is told of every batch and epoch, and shows what it likes.
    progress : show how it goes on stderr, where no `watcher` is passed.
    force : learn although there are classes of which no examples are kept, so that nothing shows what is forgotten.
    anchor : share of the way back to where it stood that each weight goes after each step, against forgetting; those of
        added classes are free, and 1 lets nothing else learn.
    label : of a table, the name of the label's column; None takes the one that the model learnt from.
    changes : fields of `ffedge.spec_parts.TrainSpec` that the file's learning step leaves open
        (`ffedge.learning.session`).

    Raises
    ------
    FfedgeError
        The file carries no learning step, the data do not fit it, no examples of a class that it knows are kept,
        learning failed, or the budget is too small.
    ValueError
        A change, a layer or a share that cannot be.
    """
    started, imported, meter = time.perf_counter(), rss_bytes(), PeakMeter()
    release_libraries()
    return_large_blocks()
    if not 0 <= replay_share < 1:
        raise ValueError(f"`replay_share` must be in [0, 1), got {replay_share}")
    path = Path(model)
    if not path.is_file():
        raise ModelError(f"{path}: {missing(path)}")
    with alone(path) as (path, folder):
        stood, before = path.stat(), opened(path)
        hear, facts = watcher or Watcher(), before.facts

        def read(source: Data, label: str | None = None) -> Dataset:
            return load(
                source,
                data_dir,
                one_class=True,
                finite=False,
                table=facts.table,
                label=label,
                reading=reading,
                shape=facts.shape,
                hear=hear,
                stop=stop,
            )

        loaded = read(data, label)
        dataset, odd, told = without_odd(loaded, before.facts)
        added = [*add_classes, *(_new_classes(dataset, before, add_classes) if add_new else ())]
        start = with_classes(before, added) if added else before
        source = None
        if replay_from is not None:
            source = without_odd(read(replay_from), start.facts)[0]
        stored = _examples(path, start.facts, source, folder, max(kept_bytes, KEPT_BYTES))
        work = _prepare(start, dataset, stored, replay_share, changes)
        active = _layers(layers, work.recipe)
        rows, moments = work.new_rows + len(stored[0]) + len(stored[1]), work.plan.disk_bytes
        held = before.n_bytes if anchor else 0
        check_room(folder, learning_bytes(work.recipe, start.facts, rows, kept_bytes) + moments + held, "learning")
        unchecked = unchecked_classes(path, before.facts, to_check(*stored), force=force)
        for note in loaded.notes:
            hear.note(f"{loaded.name}: {note}")
        hold = _anchor(anchor, before, start, active, folder / "anchor")
        loop = work.loop(folder / "layers", hear, meter, active, hold)
        if loop.steps < FEW_STEPS and not {"epochs", "batch_size"} & set(changes):
            hear.note(
                f"{work.new_rows:,} rows make {loop.steps} steps a layer by the stored epochs and batch size, and may "
                "teach little. With auto for both they make more"
            )
        was = work.accuracies(loop.evaluator if before is start else work.evaluator(before, folder / "before"))
        _train(loop, stop, path)
        now = work.accuracies(loop.evaluator)
        new, kept = (Measured(len(rows), a, b) for (_, rows), a, b in zip(work.parts, was, now, strict=True))
        refused = _refusal(path, new, kept, max_drop, grows=bool(added), still=anchor == 1)
        if refused is None:
            count = {"rows": work.new_rows} | ({"odd_rows": odd} if odd else {})
            metadata = start.learnt_from(name=dataset.name, sha256=dataset.sha256, **count)
            known = before.calibration  # which stays where nothing tells of classes that today's rows lack
            if len(stored[1]) and not unchecked:
                known = loop.evaluator.calibration(work.not_learnt)
            with replaced(path, folder, stood) as (place, examples):
                write_model(place, start.recipe, start.facts, loop.engine.state(), metadata, known)
                if kept_bytes:
                    _keep(path, examples, work, stored, kept_bytes)
        return Learning(
            model=str(path),
            spec=work.recipe.to_dict(),
            rows=work.new_rows,
            odd_rows=odd,
            odd=told,
            kept_rows=work.kept_rows,
            classes_added=added,
            new=new,
            kept=kept,
            unchecked=unchecked,
            accepted=refused is None,
            refused=refused,
            layers=loop.layer_records(),
            seconds=time.perf_counter() - started,
            rss_peak_bytes=max(meter.peak(), meter.whole_bytes, imported),
            import_bytes=imported,
            plan=work.plan.to_dict(),
            previous=str(previous_file(path)) if refused is None else None,
        )


@dataclass(frozen=True)
class _Work:
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
        return [evaluator.accuracy(split, rows) if len(rows) else None for split, rows in self.parts]


def _prepare(
    start: Start, dataset: Dataset, stored: tuple[Examples, Examples], share: float, changes: dict[str, Any]
) -> _Work:
    again = stored[0] if share else no_examples(start.facts)
    rows = joined(dataset, start.facts, again)
    new_rows = len(dataset.train.labels)
    recipe, plan = fitted(start, learning_spec(start, changes, new_rows), new_rows, len(again))
    held_out, _ = split_rows(len(rows.train.labels), recipe, len(again))
    new, check, measured = (rows.train, held_out), _part(stored[1], rows.train), _part(to_check(*stored), rows.train)
    return _Work(start, recipe, plan, rows, new_rows, share, (new, measured), (new, check))


def _part(examples: Examples, otherwise: Split) -> Part:
    """Return all of some examples as places of a split, which must be one also where there are none."""
    split = otherwise if examples.rows is None else Split(examples.rows, examples.labels)
    return split, np.arange(len(examples))


def _layers(layers: Sequence[int] | None, recipe: Recipe) -> list[int]:
    count = len(recipe.network.widths)
    if layers is not None and (not layers or not all(0 <= layer < count for layer in layers)):
        raise ValueError(f"`layers` must be numbers from 0 to {count - 1}, got {','.join(map(str, layers)) or 'none'}")
    return sorted(set(range(count) if layers is None else layers))


def _anchor(share: float, before: Start, start: Start, layers: list[int], folder: Path) -> Anchor:
    files = Checkpoints(folder)
    return Anchor(share, before, start, layers, lambda layer, arrays: files.keep(layer, arrays, finished=True))


def _examples(
    path: Path, facts: InputFacts, source: Dataset | None, folder: Path, most_bytes: int
) -> tuple[Examples, Examples]:
    """Return the kept examples of a model, and some of a data set that it learnt from before."""
    stored = read_kept(kept_file(path), facts)
    if source is None:
        return stored
    split, file = joined(source, facts, no_examples(facts)).train, folder / "kept.safetensors"
    order = np.random.default_rng(0).permutation(len(split.labels))
    cut = int(CHECK_SHARE * len(order))
    keep(file, facts, stored, ((split, order[cut:]), (split, order[:cut])), most_bytes, 0)
    return read_kept(file, facts)


def _train(loop: Loop, stop: Callable[[], bool], path: Path) -> None:
    try:
        loop.train(Place(), stop)
    except Diverged as error:
        raise TrainingError(f"{path}: stands as it was: {error}") from error
    except Interrupted as error:
        raise StoppedError(f"{path}: learning was stopped; the file stands as it was") from error


def _refusal(path: Path, new: Measured, kept: Measured, max_drop: float, *, grows: bool, still: bool) -> str | None:
    """Say why a model must not take the place of the one before, in one line; None where it may.

    Parameters
    ----------
    grows : whether it knows more classes, among which the old ones are harder to tell.
    still : whether only these have learnt.
    """
    remedy = "Use a smaller `rate`, fewer `epochs` or a larger `replay_share`"
    if grows:
        less = "fewer `epochs`" if still else "`anchor=1`, by which only the added classes learn,"
        remedy = f"Use {less} or a larger `max_drop`, as more classes are harder to tell"
    for held, what in ((kept, "kept examples"), (new, "held-out new rows")):
        if lost := held.lost(what, max_drop):
            return f"{path}: stands as it was: {lost}. {remedy}"
    return None


def _new_classes(dataset: Dataset, before: Start, named: Sequence[str]) -> list[str]:
    known = (*before.facts.classes, *named)
    return unknown_classes(dataset, dataset.train, numbers_in(dataset, known))


def _keep(path: Path, place: Path, work: _Work, stored: tuple[Examples, Examples], most_bytes: int) -> None:
    """Bring the kept examples up to date with the new rows, those learnt from and those held out; write them apart."""
    split, held_out = work.rows.train, work.parts[0][1]
    facts, seed = work.start.facts, work.recipe.train.seed
    offers = (split, OtherRows(work.new_rows, held_out)), (split, held_out)
    like = kept_file(path) if kept_file(path).exists() else path
    if like == path:  # so that the way back leads to none
        none, nothing = no_examples(facts), (split, held_out[:0])
        keep(place.with_name(OLD_KEPT), facts, (none, none), (nothing, nothing), 0, seed, like)
    keep(place, facts, stored, offers, most_bytes, seed, like)
