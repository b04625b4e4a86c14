"""A run's state on disk: each generation one safetensors file, written beside its place, synced and renamed.

The two newest generations stay. Which step comes next, the sums of the epoch under way and what is needed to refuse
another run's checkpoint stand in the file's metadata.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ffedge.errors import ModelError
from ffedge.json_text import parse
from ffedge.spec import MAX_LAYERS
from ffedge.training.records import atomic_file, writing

KEEP = 2
State = list[dict[str, NDArray[Any]]]
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a run stands: the next batch to learn from, and what the epoch and stage have summed so far."""

    stage: int = 0
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    sums: tuple[tuple[int, float, float, float], ...] = ()


class Checkpoints:
    """The generations in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._safe: Path | None = None  # the newest that outlives a power cut

    def generations(self) -> list[Path]:
        """Return the files, the newest first."""
        numbered = (path for path in self.folder.glob("*.safetensors") if path.stem.isdecimal())
        return sorted(numbered, key=lambda path: int(path.stem), reverse=True)

    def save(self, state: State, place: Place, identity: dict[str, Any], *, sync: bool = True) -> Path:
        """Write the next generation; drop those before the last two, but not the newest that was synced."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        present = self.generations()
        path = self.folder / f"{int(present[0].stem) + 1 if present else 0:06d}.safetensors"
        tensors = {f"layers.{i}.{name}": value for i, layer in enumerate(state) for name, value in layer.items()}
        metadata = {"place": json.dumps(asdict(place)), "identity": json.dumps(identity, sort_keys=True)}
        with atomic_file(path, sync=sync) as temporary:
            save_file(tensors, temporary, metadata)
        for old in present[KEEP - 1 :]:
            if sync or old != self._safe:
                old.unlink()
        self._safe = path if sync else self._safe
        return path

    def about(self) -> tuple[dict[str, Any], Path]:
        """Return what the newest whole generation says of its run, and its path."""
        return self._first_whole(lambda path: (_identity(_metadata(path)), path))

    def load(self, identity: dict[str, Any]) -> tuple[State, Place]:
        """Read the newest generation that is whole.

        Raises
        ------
        ModelError
            There is none, or it belongs to another spec or to other data.
        """
        return self._first_whole(lambda path: self._read(path, identity))

    def _first_whole(self, read: Callable[[Path], T]) -> T:
        torn = []
        for path in self.generations():
            try:
                result = read(path)
                self._safe = path
                return result
            except (SafetensorError, OSError, AttributeError, KeyError, TypeError, ValueError):
                torn.append(path.name)
        found = f"only torn files ({', '.join(torn)})" if torn else "no checkpoint"
        raise ModelError(f"{self.folder}: holds {found}. Start anew without --resume")

    def _read(self, path: Path, identity: dict[str, Any]) -> tuple[State, Place]:
        metadata = _metadata(path)
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        stored = _identity(metadata)
        for key, value in json.loads(json.dumps(identity)).items():
            if stored.get(key) != value:
                raise ModelError(
                    f"{path}: was made with another {key}{_difference(stored.get(key), value)}. "
                    "Resume with what the run began with, or start anew in another folder"
                )
        place = parse(metadata["place"])
        place["sums"] = tuple(tuple(item) for item in place["sums"])
        state: State = []
        for name, value in tensors.items():
            index, parameter = name.removeprefix("layers.").split(".", 1)
            if not 0 <= int(index) < MAX_LAYERS:
                raise ValueError(f"{name}: there can be no such layer")
            state.extend({} for _ in range(int(index) + 1 - len(state)))
            state[int(index)][parameter] = np.array(value)  # a copy of its own, writable and aligned
        return state, Place(**place)


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="numpy") as file:
        return file.metadata() or {}


def _identity(metadata: dict[str, str]) -> dict[str, Any]:
    stored = parse(metadata["identity"])
    if not isinstance(stored, dict):
        raise TypeError("identity must be an object")
    return stored


def _difference(stored: Any, given: Any) -> str:
    """Name the first field in which two specs differ."""
    if isinstance(stored, dict) and isinstance(given, dict):
        for part in given:
            for field, value in given[part].items() if isinstance(given[part], dict) else ():
                before = stored.get(part, {}).get(field)
                if before != value:
                    return f" ({field} {before!r}, now {value!r})"
    return ""
