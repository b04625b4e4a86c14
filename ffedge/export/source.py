"""What a form is made from: a model as trained, and the rows that it learnt from and that were held out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ffedge.data import NAMES, Reading, Split, load
from ffedge.data.cache_folder import passing_folder
from ffedge.data.matched import matched
from ffedge.data.stream import OtherRows, spread_evenly
from ffedge.errors import FfedgeError, ModelError
from ffedge.files import regular_file
from ffedge.model.file import Model
from ffedge.network import InputFacts, Layers
from ffedge.predict.predictor import Predictor
from ffedge.recipe import Recipe
from ffedge.training.folder import StoredRun
from ffedge.training.odd import split_as_trained


@dataclass(frozen=True)
class Trained:
    """A model as `ffedge train` wrote it.

    Attributes
    ----------
    name : of the folder or file, for errors.
    model : the file's bytes.
    predictor : the model, loaded on one thread.
    layers : W, b, V of each layer; gamma where the layers collaborate, whose values are `gammas` too.
    source : the data set that it learnt from, as the run was given it; None where only its name and hash are known.
    reading : how it was to be read.
    """

    name: str
    model: bytes
    predictor: Predictor
    recipe: Recipe
    facts: InputFacts
    layers: Layers
    gammas: list[float]
    source: str | None
    reading: Reading | None = None


@dataclass(frozen=True)
class HeldOut:
    """The training split of a data set, and which of its rows were held out."""

    split: Split
    held_out: NDArray[np.int64]
    learnt: OtherRows

    def spread(self, count: int) -> NDArray[np.int64]:
        """Return up to `count` rows that were learnt from, evenly spread."""
        return self.learnt[spread_evenly(len(self.learnt), count)]


def read_trained(place: Path) -> Trained:
    """Read a run's newest checkpoint as a model, or a model file.

    Raises
    ------
    ModelError
        It cannot be read, or is an exported form, which has no weights as trained.
    """
    source = reading = None
    if place.is_dir():
        run = StoredRun.read(place)
        source, reading = run.source, run.reading
        with passing_folder() as folder:
            run.write(folder / "model.onnx")
            model = (folder / "model.onnx").read_bytes()
    else:
        try:
            with regular_file(place) as file:
                model = file.read()
        except OSError as error:
            raise ModelError(
                f"{place}: cannot be read ({error.strerror}). Pass a run folder or a model.onnx"
            ) from error
    content = Model(model, str(place))
    return Trained(
        name=str(place),
        model=model,
        predictor=Predictor(model, threads=1),
        recipe=content.recipe,
        facts=content.facts,
        layers=content.layers(),
        gammas=content.gammas,
        source=source,
        reading=reading,
    )


def open_rows(trained: Trained, data: str | None, data_dir: Path | None) -> HeldOut:
    """Open the data set that a model learnt from, and split its rows as training did.

    Parameters
    ----------
    data : a name or path; None takes what the run or the model tells.

    Raises
    ------
    FfedgeError
        The data set is not known or not the one of the training, or no rows were held out.
    """
    about = trained.predictor.metadata.get("data")
    about = about if isinstance(about, dict) else {}
    learnt_from = str(trained.source or about.get("name"))
    if data is None and trained.source is None and learnt_from not in NAMES:  # a stranger's model opens no files
        raise FfedgeError(
            f"{trained.name}: learnt from {learnt_from!r}, which ffedge does not know by name. Pass `data`"
        )
    facts, source = trained.facts, data or learnt_from
    dataset = load(source, data_dir, table=facts.table, reading=trained.reading, shape=facts.shape)
    if dataset.sha256 != about.get("sha256"):
        raise FfedgeError(
            f"{trained.name}: learnt from other data than {dataset.name} (their sha256 differs), so that its held-out "
            "rows are not known. Pass `data` with what it was trained on"
        )
    held_out, learnt = split_as_trained(dataset, trained.recipe)
    if not len(held_out):
        raise FfedgeError(f"{trained.name}: no rows were held out to choose by. Train with `holdout=0.05`")
    return HeldOut(matched(dataset, dataset.train, trained.facts.classes), held_out, learnt)
