"""The run folder: model.onnx, report.json, metrics.jsonl, checkpoint/. An existing one is never overwritten unasked."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ffedge.data import Dataset, Reading
from ffedge.errors import FfedgeError, ModelError
from ffedge.files import atomic_file, locked, regular_file, sync, writing
from ffedge.model.calibration import Calibration
from ffedge.network import InputFacts, check_state, initial_layer, layers_of
from ffedge.recipe import Recipe
from ffedge.training.checkpoint import Checkpoints, Generation, Place, State
from ffedge.training.records import EpochRecord, append_line
from ffedge.training.watch import Journal
from ffedge.version import __version__

LEFT_OVER = re.compile(r"\..+\.tmp")  # what a killed run was writing
BEFORE = ".before.tmp"  # where a run stands that is being replaced, until there is a checkpoint of the new one
KEPT = re.compile(r"\.?(\d+|(layer|initial)-\d+)\.safetensors(\.tmp)?")
CONTENT = {"model.onnx", "report.json", "metrics.jsonl", "checkpoint", "model.kept.safetensors"}
CONTENT |= {"model.onnx.previous", "model.kept.safetensors.previous"}  # of `ffedge learn`


class RunFolder(Journal):
    """Writes a run's files; as the loop's journal it keeps every epoch's records and state."""

    def __init__(
        self,
        path: Path,
        recipe: Recipe,
        facts: InputFacts,
        dataset: Dataset,
        source: str,
        chosen: dict[str, Any],
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.checkpoints = self._layers = Checkpoints(path / "checkpoint")
        self.path, self._recipe, self._facts = path, recipe, facts
        self._rows = len(dataset.train.labels) - recipe.train.held_out(len(dataset.train.labels))
        self.identity: dict[str, Any] = {"spec": recipe.to_dict(), "data": dataset.sha256}
        self._about = self.identity | {"input": facts.to_dict(), "name": dataset.name, "source": source}
        self._about |= {"chosen": chosen, "reading": (reading or Reading()).to_dict()}

    @property
    def chosen(self) -> dict[str, Any]:
        """What was left open and chosen by the data when the run began."""
        choice: dict[str, Any] = self._about["chosen"]
        return choice

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Make the folder, and keep other processes that train out of it.

        Raises
        ------
        FfedgeError
            Another one is in it, or it cannot be made.
        """
        busy = f"{self.path}: another process trains there. Choose another `out`, or wait"
        with contextlib.ExitStack() as stack:
            with self._making():
                stack.enter_context(locked(self.path, busy))
                _settle(self.path)
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # the next one does it
                    _settle(self.path)

    def create(self, *, force: bool) -> None:
        """Empty the folder; a run in it stands aside until the new one has a checkpoint.

        Raises
        ------
        FfedgeError
            Something stands there already (with `force`: something that is no run).
        """
        with self._making():
            present = {path.name for path in self.path.iterdir()}
            strange = {name for name in present - CONTENT if not LEFT_OVER.fullmatch(name)}
            inside = self.path / "checkpoint"
            if inside.is_dir():
                strange |= {f"checkpoint/{p.name}" for p in inside.iterdir() if not KEPT.fullmatch(p.name)}
            if strange and force:
                raise FfedgeError(f"{self.path}: is no run folder (it holds {min(strange)}). Choose another `out`")
            begun = strange or present & {"model.onnx", "report.json"} or self.checkpoints.generations()
            if begun and not force:  # a run that was killed before its first checkpoint is no loss
                raise FfedgeError(f"{self.path}: exists already. Choose another `out`, or use `resume` or `force`")
            for name in present - CONTENT:
                _remove(self.path / name)
            if begun:
                (self.path / BEFORE).mkdir()
            for name in sorted(present & CONTENT):  # the checkpoint before all others: without, they are put back
                target = self.path / name
                target.rename(self.path / BEFORE / name) if begun else _remove(target)

    @property
    def replaces(self) -> bool:
        """Whether a run stands aside, which this one replaces with its first checkpoint."""
        return (self.path / BEFORE).is_dir()

    @contextlib.contextmanager
    def _making(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FfedgeError(f"{self.path}: cannot be made ({error.strerror}). Choose another `out`") from error

    def restore(self) -> Generation:
        """Read the checkpoint, and the records of the epochs before it; later ones are dropped from metrics.jsonl."""
        newest = self.checkpoints.load(self.identity, self._rows)
        with _checkpoint_used(newest.path):
            check_state(self._recipe, self._facts, newest.state)
            self._about["chosen"] = dict(newest.about.get("chosen", {}))  # there is none in older ones
        with writing(self.path):
            for folder in (self.path, self.checkpoints.folder):
                for left in (path for path in folder.iterdir() if LEFT_OVER.fullmatch(path.name) and path.is_file()):
                    left.unlink()
        self._restore_records(newest.place)
        return newest

    def _restore_records(self, place: Place) -> None:
        path = self.path / "metrics.jsonl"
        try:
            text = ""
            if path.exists():
                with regular_file(path) as file:
                    text = file.read().decode()
            lines = text[: text.rfind("\n") + 1].splitlines()  # a kill may have torn the last one
            self.records = [record for line in lines if _before(record := EpochRecord.read(line), place, self._recipe)]
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(f"{path}: is damaged ({error}). Train anew, with `force` instead of `resume`") from error
        with atomic_file(path) as temporary:
            temporary.touch()
            for record in self.records:
                append_line(temporary, record)

    def epoch(self, records: list[EpochRecord]) -> None:
        """Add the records to metrics.jsonl."""
        super().epoch(records)
        for record in records:
            append_line(self.path / "metrics.jsonl", record)

    def calibrated(self, calibration: Calibration) -> None:
        """Keep what counts as known in the checkpoints from now on."""
        self._about |= calibration.to_dict()

    def checkpoint(self, state: State, place: Place) -> None:
        """Write a checkpoint; the epochs before it are on the disk first."""
        metrics = self.path / "metrics.jsonl"
        if metrics.exists():
            with writing(metrics):
                sync(metrics)
        self.checkpoints.save(state, place, self._about)
        with writing(self.path):
            _settle(self.path)


@dataclass(frozen=True)
class StoredRun:
    """What a run's newest whole checkpoint holds, checked.

    Attributes
    ----------
    state : the layers by number, views of the checkpoint's files; empty where a layer has not begun to learn.
    source : the data that the run began with, as they were given to it.
    reading : how they were to be read.
    data : their name and sha256.
    known : of what counts as known, once all layers have learnt.
    """

    recipe: Recipe
    facts: InputFacts
    state: State
    source: str
    reading: Reading
    data: dict[str, Any]
    known: Calibration | None

    @classmethod
    def read(cls, run: Path, *, though_learnt: bool = False) -> Self:
        """Read a run folder.

        Parameters
        ----------
        though_learnt : also where the run's model has gone on learning, so that it is more than the checkpoint.

        Raises
        ------
        ModelError
            There is no checkpoint that can be read, or the model has learnt since.
        """
        if not though_learnt:
            _refuse_learnt(run / "model.onnx")
        generation = Checkpoints(run / "checkpoint").newest()
        about = generation.about
        with _checkpoint_used(generation.path):
            recipe, facts = Recipe.from_dict(about["spec"]), InputFacts.from_dict(about["input"])
            check_state(recipe, facts, generation.state)
            data = {"name": about["name"], "sha256": about["data"]}
            known = Calibration.from_dict(about)
            reading = Reading.from_dict(about.get("reading", {}))  # there is none in older ones
            return cls(recipe, facts, generation.state, str(about["source"]), reading, data, known)

    def layers(self) -> State:
        """Return every layer's parameters; those that have not begun to learn are drawn."""
        layers = zip(self.state, layers_of(self.recipe, self.facts), strict=True)
        return [state or initial_layer(self.recipe, layer) for state, layer in layers]

    def write(self, out: Path) -> None:
        """Write the model to a file that nobody reads yet."""
        from ffedge.model.write import write_model  # which a training needs at its end

        about = {"version": __version__, "data": self.data}
        write_model(out, self.recipe, self.facts, self.layers(), about, self.known)


def export(run: Path, out: Path, *, force: bool = False) -> list[int]:
    """Write the model of a run's newest checkpoint, also of a run that is not at its end.

    Returns
    -------
    list
        The layers that have not begun to learn, whose weights are as drawn.

    Raises
    ------
    FfedgeError
        `out` exists (without `force`), or there is no checkpoint that can be read.
    """
    check_free(out, force=force)
    stored = StoredRun.read(run)
    with atomic_file(out) as temporary:
        stored.write(temporary)
    return [layer for layer, arrays in enumerate(stored.state) if not arrays]


def check_free(out: Path, *, force: bool, name: str = "out") -> None:
    """Raise FfedgeError where a file to write exists, without `force`; `name` is of the argument that names it."""
    if out.exists() and not force:
        raise FfedgeError(f"{out}: exists already. Choose another `{name}`, or use `force`")


def _refuse_learnt(model: Path) -> None:
    """Raise ModelError where a run's model has learnt since: what stands for it would lack that, or replace it."""
    if not model.is_file():
        return
    from ffedge.model.file import Model

    try:
        learnt = Model(model).metadata.get("learnt")
    except ModelError:  # a damaged one is nothing to lose
        return
    if learnt:
        raise ModelError(
            f"{model}: has learnt since it was trained, and the run's checkpoint has not. Use the file itself, or move "
            "it away to go on with the run"
        )


@contextlib.contextmanager
def _checkpoint_used(path: Path) -> Iterator[None]:
    """Turn what a checkpoint lacks, whole though it is, into one line."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: cannot be used ({error}). Train anew, with `force` instead of `resume`") from error


def _before(record: EpochRecord, place: Place, recipe: Recipe) -> bool:
    stage = record.layer if recipe.train.schedule == "greedy" else 0
    return (stage, record.epoch) < (place.stage, place.epoch)


def put_back(path: Path) -> None:
    """Give a run its place again that a killed one was to replace, unless another process trains there."""
    if (path / BEFORE).is_dir():
        with contextlib.suppress(FfedgeError), writing(path), locked(path, ""):
            _settle(path)


def _settle(path: Path) -> None:
    """Give a run that stands aside its place again, or remove it where the one after it has a checkpoint."""
    before = path / BEFORE
    if not before.is_dir() or before.is_symlink():
        return
    if not Checkpoints(path / "checkpoint").generations():
        for target in sorted(before.iterdir(), reverse=True):  # the checkpoint after all others
            _remove(path / target.name)
            target.rename(path / target.name)
    shutil.rmtree(before)


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if there is one."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def next_folder(root: Path, variant: str, data: str) -> Path:
    """Return the first of <root>/<variant>-<data>-<n> that is free."""
    numbers = (path.name.rpartition("-")[2] for path in root.glob(f"{variant}-{data}-*"))
    return root / f"{variant}-{data}-{max((int(n) for n in numbers if n.isdecimal()), default=0) + 1}"
