"""``ffedge learn``: a model file and new rows in; the same file out, which knows more, and the old one beside it."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ffedge.data import Data, Dataset, Reading, load
from ffedge.data.matched import numbers_in, unknown_classes
from ffedge.errors import ModelError, StoppedError, TrainingError, refuse_text
from ffedge.learning.anchor import Anchor
from ffedge.learning.classes import Start, opened, with_classes
from ffedge.learning.files import alone, previous_file, replaced
from ffedge.learning.guard import MAX_DROP, Measured, to_check, unchecked_classes
from ffedge.learning.result import Learning
from ffedge.learning.work import examples_of, keep_examples, prepare
from ffedge.meter import PeakMeter, rss_bytes
from ffedge.model.file import missing
from ffedge.model.write import write_model
from ffedge.pages import release_libraries, return_large_blocks
from ffedge.recipe import Recipe
from ffedge.training.checkpoint import Checkpoints, Place
from ffedge.training.disk import check_room, learning_bytes
from ffedge.training.loop import Diverged, Interrupted, Loop
from ffedge.training.odd import without_odd
from ffedge.training.replay import KEPT_BYTES
from ffedge.training.shown import shows_progress
from ffedge.training.watch import Watcher

REPLAY_SHARE = 0.5
FEW_STEPS = 100  # of a layer
FEW = (
    "{:,} rows make {} steps a layer by the stored epochs and batch size, and may teach little. With auto for both "
    "they make more"
)


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
    refuse_text(add_classes, "add_classes")
    path = Path(model)
    if not path.is_file():
        raise ModelError(f"{path}: {missing(path)}")
    with alone(path) as (path, folder):
        stood, before = path.stat(), opened(path)
        hear, facts = watcher or Watcher(), before.facts
        read = partial(
            load,
            data_dir=data_dir,
            one_class=True,
            finite=False,
            table=facts.table,
            reading=reading,
            shape=facts.shape,
            hear=hear,
            stop=stop,
        )
        loaded = read(data, label=label)
        dataset, odd, told = without_odd(loaded, before.facts)
        added = [*add_classes, *(_new_classes(dataset, before, add_classes) if add_new else ())]
        start = with_classes(before, added) if added else before
        places = numbers_in(dataset, start.facts.classes)
        for at, name in enumerate(start.facts.classes):
            if name in add_classes and at not in places:
                hear.note(f"{dataset.name}: has no row of the class {name!r}. It is added, and nothing is known of it")
        source = None
        if replay_from is not None:
            source = without_odd(read(replay_from), start.facts)[0]
        stored = examples_of(path, start.facts, source, folder, max(kept_bytes, KEPT_BYTES))
        work = prepare(start, dataset, stored, replay_share, changes)
        active = _layers(layers, work.recipe)
        rows = work.new_rows + len(stored[0]) + len(stored[1])
        beside = work.plan.disk_bytes + (before.n_bytes if anchor else 0)
        check_room(folder, learning_bytes(work.recipe, start.facts, rows, kept_bytes) + beside, "learning")
        unchecked = unchecked_classes(path, before.facts, to_check(*stored), force=force)
        for note in loaded.notes:
            hear.note(f"{loaded.name}: {note}")
        loop = work.loop(
            folder / "layers", hear, meter, active, _anchor(anchor, before, start, active, folder / "anchor")
        )
        if loop.steps < FEW_STEPS and not {"epochs", "batch_size"} & set(changes):
            hear.note(FEW.format(work.new_rows, loop.steps))
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
                    keep_examples(path, examples, work, stored, kept_bytes)
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


def _layers(layers: Sequence[int] | None, recipe: Recipe) -> list[int]:
    count = len(recipe.network.widths)
    if layers is not None and (not layers or not all(0 <= layer < count for layer in layers)):
        raise ValueError(f"`layers` must be numbers from 0 to {count - 1}, got {','.join(map(str, layers)) or 'none'}")
    return sorted(set(range(count) if layers is None else layers))


def _anchor(share: float, before: Start, start: Start, layers: list[int], folder: Path) -> Anchor:
    files = Checkpoints(folder)
    return Anchor(share, before, start, layers, lambda layer, arrays: files.keep(layer, arrays, finished=True))


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
