"""A training without a run folder: what comes of it are the bytes of a model file."""

import tempfile
from pathlib import Path

from ffedge.data import Dataset
from ffedge.errors import TrainingError
from ffedge.meter import PeakMeter
from ffedge.model.calibration import Calibration
from ffedge.model.write import write_model
from ffedge.network import InputFacts, Layers, initial_state
from ffedge.recipe import Recipe, held_out
from ffedge.resolve import resolve
from ffedge.spec import Spec
from ffedge.training.checkpoint import Place
from ffedge.training.facts import measure
from ffedge.training.loop import Diverged, Loop
from ffedge.training.odd import without_absurd
from ffedge.training.train import make_engine
from ffedge.training.watch import Journal, Watcher
from ffedge.version import __version__


class _Calibrated(Journal):
    """Keeps what counts as known."""

    calibration: Calibration | None = None

    def calibrated(self, calibration: Calibration) -> None:
        self.calibration = calibration


class _Quiet(Loop):
    """Looks at the rows that were held out at a layer's end alone, as nobody reads the epochs' records."""

    def _record(self, stage: int, epoch: int, rss_start: int) -> None:
        if epoch + 1 == self.recipe.train.epochs:
            super()._record(stage, epoch, rss_start)


def trained_model(spec: Spec, dataset: Dataset, watcher: Watcher | None = None) -> bytes:
    """Train a network on a data set and return its model file; rows that are absurd are left out, as `train` does.

    A batch of more rows than there are takes them all.

    Raises
    ------
    DataError
        The data cannot be used.
    TrainingError
        A loss is not a number.
    ValueError
        The spec does not fit the data.
    """
    watcher, journal = watcher or Watcher(), _Calibrated()
    dataset, _, odd = without_absurd(dataset)
    if odd:
        watcher.note(odd)
    facts = measure(dataset, spec.network.scaling)
    rows = len(dataset.train.labels)
    if isinstance(spec.train.batch_size, int):
        spec = spec.with_train(batch_size=min(spec.train.batch_size, rows - held_out(rows, spec.train.holdout)))
    if spec.train.cache == "auto":  # without a folder there is no place for what is kept
        spec = spec.with_train(cache="none")
    recipe = resolve(spec, facts, rows)
    engine = make_engine(recipe, facts, [{} for _ in recipe.network.widths])
    try:
        _Quiet(recipe, dataset, facts, engine, journal, watcher, PeakMeter()).train(Place(), lambda: False)
    except Diverged as error:
        raise TrainingError(str(error)) from error
    return _file(recipe, facts, engine.state(), dataset, journal.calibration)


def untrained_model(spec: Spec, dataset: Dataset, rows: int) -> bytes:
    """Return the model file of a network that has not begun to learn, for a `Learner`.

    Parameters
    ----------
    dataset : the first rows, by which inputs are scaled.
    rows : that a training is set up for.
    """
    facts = measure(dataset, spec.network.scaling)
    recipe = resolve(spec, facts, rows)
    return _file(recipe, facts, initial_state(recipe, facts), dataset, None)


def _file(
    recipe: Recipe, facts: InputFacts, layers: Layers, dataset: Dataset, calibration: Calibration | None
) -> bytes:
    about = {"version": __version__, "data": {"name": dataset.name, "sha256": dataset.sha256}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_model(path, recipe, facts, layers, about, calibration)
        return path.read_bytes()
