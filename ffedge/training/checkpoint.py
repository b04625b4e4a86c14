"""Checkpoints: what a run needs to go on, bit for bit, from where it stopped.

A generation holds the layers that are learning, with their moments, and the place in the schedule. It is written
beside the others, synced and renamed, and two are kept: if power fails while one is written, the one before is whole.
A layer that has learnt is written once, into a file of its own; generations name it and its checksum. What has not
begun to learn is not kept, as the seed gives it back.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ffedge.errors import DataError, ModelError
from ffedge.files import atomic_file, make_folder, writing
from ffedge.json_text import parse
from ffedge.network import InputFacts
from ffedge.recipe import ALL_ROWS, Recipe
from ffedge.tensors import MAX_HEADER_BYTES, TensorFile, write_tensors

Layer = dict[str, NDArray[Any]]
State = list[Layer]
KEEP = 2
MOST_FACTS_BYTES = MAX_HEADER_BYTES * 3 // 4  # of a header, which tells more


@dataclass(frozen=True)
class Place:
    """Where a run stands: the next batch to learn from, and what the epoch and stage have summed so far."""

    stage: int = 0
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    sums: tuple[tuple[int, float, float, float], ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError for what no run can have written."""
        whole = (self.stage, self.epoch, self.step, *(item[0] for item in self.sums if item))
        if not all(type(number) is int and 0 <= number < 1 << 63 for number in whole):
            raise ValueError(f"place must be whole numbers from 0, got {whole}")
        numbers = [self.seconds, *(number for item in self.sums for number in item)]
        if any(len(item) != 4 for item in self.sums) or not all(isinstance(n, int | float) for n in numbers):
            raise ValueError(f"place must have four numbers a layer, got {self.sums}")


@dataclass(frozen=True)
class Generation:
    """A whole checkpoint.

    Attributes
    ----------
    state : the layers by number, read-only views of files (`ffedge.tensors.TensorFile`); empty where not begun.
    about : what it says of its run.
    kept : checksums of the finished layers' files.
    torn : file names of newer generations that are not whole, each with the reason.
    """

    path: Path
    place: Place
    state: State
    about: dict[str, Any]
    kept: dict[int, str]
    torn: tuple[str, ...] = ()


def check_holds(facts: InputFacts, name: str) -> None:
    """Raise DataError where the offsets and scales of a data set's inputs are more than a checkpoint holds."""
    if len(json.dumps(facts.to_dict())) > MOST_FACTS_BYTES:
        raise DataError(
            f"{name}: has {facts.size:,} inputs, and an offset or a scale of each is more than a checkpoint holds. Use "
            "`scaling='standard'`, or fewer inputs, such as smaller pictures"
        )


class Checkpoints:
    """The generations and the finished layers in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: dict[int, str] = {}  # checksums of the finished layers

    def generations(self) -> list[Path]:
        """Return the files, the newest first."""
        numbered = (path for path in self.folder.glob("*.safetensors") if path.stem.isdecimal())
        return sorted(numbered, key=lambda path: int(path.stem), reverse=True)

    def keep(self, layer: int, arrays: Layer, *, finished: bool) -> Layer:
        """Write a layer into a file of its own; return its arrays as views of that file.

        Parameters
        ----------
        finished : whether the layer has learnt; one that has not can be drawn again, and no generation names it.
        """
        initial = self.folder / f"initial-{layer:02d}.safetensors"
        path = self._layer_file(layer) if finished else initial
        self._write(path, arrays, {})
        if finished:
            with writing(self.folder):
                initial.unlink(missing_ok=True)
        file = TensorFile(path)
        if finished:
            self._kept[layer] = file.metadata["sha256"]
        return file.arrays

    def save(self, state: State, place: Place, about: dict[str, Any]) -> Path:
        """Write the next generation, of the layers that are learning; drop those before the last two.

        Parameters
        ----------
        state : the layers by number, empty where a layer is not learning.
        """
        present = self.generations()
        path = self.folder / f"{int(present[0].stem) + 1 if present else 0:06d}.safetensors"
        tensors = {f"layers.{i}.{name}": value for i, layer in enumerate(state) for name, value in layer.items()}
        texts = {"place": asdict(place), "about": about, "kept": self._kept, "layers": len(state)}
        self._write(path, tensors, {key: json.dumps(value, sort_keys=True) for key, value in texts.items()})
        with writing(self.folder):
            for old in present[KEEP - 1 :]:
                old.unlink()
        return path

    def newest(self) -> Generation:
        """Read the newest generation that is whole, with the layers that it names.

        Raises
        ------
        ModelError
            There is none.
        """
        torn: list[str] = []
        for path in self.generations():
            try:
                return self._read(path, tuple(torn))
            except (OSError, IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
                torn.append(f"{path.name}: {error}")
        content = f"only torn files ({'; '.join(torn)})" if torn else "no checkpoint"
        raise ModelError(f"{self.folder}: holds {content}. Train anew, with `force` instead of `resume`")

    def load(self, about: dict[str, Any], rows: int = ALL_ROWS) -> Generation:
        """Read the newest whole generation, and go on from it.

        Parameters
        ----------
        about : the recipe (``spec``) and the data that it must be of.
        rows : that are trained on.

        Raises
        ------
        ModelError
            There is none, or it belongs to another spec or to other data.
        """
        newest = self.newest()
        for key in ("spec", "data"):
            stored, given = newest.about.get(key), json.loads(json.dumps(about[key]))
            stored = _as_today(stored, rows) if key == "spec" else stored
            if stored != given:
                raise ModelError(
                    f"{newest.path}: was made with another {key}{_difference(stored, given)}. "
                    "Resume with what the run began with, or start anew in another folder"
                )
        self._kept = dict(newest.kept)
        return newest

    def _layer_file(self, layer: int) -> Path:
        return self.folder / f"layer-{layer:02d}.safetensors"

    def _write(self, path: Path, tensors: Layer, texts: dict[str, str]) -> None:
        with writing(self.folder):
            make_folder(self.folder)
        with atomic_file(path) as temporary:
            write_tensors(temporary, tensors, texts)

    def _read(self, path: Path, torn: tuple[str, ...]) -> Generation:
        file = TensorFile(path)
        file.check()
        place, about, finished = (parse(file.metadata[name]) for name in ("place", "about", "kept"))
        if not all(isinstance(part, dict) for part in (place, about, finished)):
            raise TypeError("place, about and kept must be objects")
        place["sums"] = tuple(tuple(item) for item in place["sums"])
        state: State = [{} for _ in range(_count(file.metadata["layers"]))]
        for name, value in file.arrays.items():
            index, parameter = name.removeprefix("layers.").split(".", 1)
            state[int(index)][parameter] = value
        kept = {int(i): str(digest) for i, digest in finished.items()}
        for i, digest in kept.items():
            layer = TensorFile(self._layer_file(i))
            if layer.check() != digest:
                raise ValueError(f"{layer.path.name} is another run's")
            state[i] = layer.arrays
        return Generation(path, Place(**place), state, about, kept, torn)


def _count(text: str) -> int:
    count = parse(text)
    if not isinstance(count, int) or not 1 <= count <= 1024:
        raise ValueError(f"layers must be a number, got {text[:20]}")
    return count


def _as_today(stored: Any, rows: int) -> Any:
    """Return the recipe of a checkpoint as this ffedge writes it; what is none stays what it is."""
    try:
        return Recipe.from_dict(stored, rows).to_dict()
    except ValueError:
        return stored


def _difference(stored: Any, given: Any) -> str:
    """Name the first field in which two specs differ."""
    if not isinstance(stored, dict) or not isinstance(given, dict):
        return ""
    for part, fields in given.items():
        before = stored.get(part)
        if isinstance(before, dict) and isinstance(fields, dict):
            for field, value in fields.items():
                if before.get(field) != value:
                    return f" ({field} {before.get(field)!r}, now {value!r})"
    return ""
