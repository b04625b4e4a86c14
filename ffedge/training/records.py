"""What a run records: a line for each layer and epoch, and the report at its end. Units stand in the names."""

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from numpy.typing import NDArray

from ffedge import json_text
from ffedge.errors import ModelError, one_line
from ffedge.files import regular_file, writing
from ffedge.json_text import parse
from ffedge.recipe import Recipe
from ffedge.version import __version__

REPORT_FORMAT = 2


@dataclass(frozen=True)
class EpochRecord:
    """One layer's epoch.

    Attributes
    ----------
    layer, epoch : both count from 0.
    loss : mean over the epoch's batches.
    goodness_positive, goodness_negative : mean goodness of true and of wrong labels, before each step.
    accuracy : of this layer alone on the held-out rows, 0 to 1; None without held-out rows.
    accuracy_sum : of the sum of all layers so far.
    seconds : of training; evaluation and checkpoints apart. Layers that learn in turns share it equally.
    """

    layer: int
    epoch: int
    loss: float
    goodness_positive: float
    goodness_negative: float
    accuracy: float | None
    accuracy_sum: float | None
    gamma: float | None
    seconds: float
    rate: float
    rss_start_bytes: int
    rss_peak_bytes: int

    @classmethod
    def read(cls, line: str) -> Self:
        """Read a line of metrics.jsonl; ValueError or TypeError where ffedge cannot have written it."""
        record = cls(**parse(line))
        _check_types(record)
        return record


@dataclass
class LayerRecord:
    """One layer's whole training; `state_bytes` counts its weights and moments."""

    index: int
    epochs: int
    seconds: float
    rss_start_bytes: int
    rss_peak_bytes: int
    state_bytes: int
    loss: float
    accuracy: float | None
    accuracy_sum: float | None
    gamma: float | None


def layer_records(
    epochs: Sequence[EpochRecord], state: Sequence[Mapping[str, NDArray[Any]]], moments: int
) -> list[LayerRecord]:
    """Sum up the epochs of each layer that has learnt; `moments` of each weight are in memory beside it."""
    result = []
    for layer, arrays in enumerate(state):
        mine = [record for record in epochs if record.layer == layer]
        if not mine:
            continue
        last, weight_bytes = mine[-1], sum(array.nbytes for name, array in arrays.items() if "." not in name)
        result.append(
            LayerRecord(
                index=layer,
                epochs=len(mine),
                seconds=sum(record.seconds for record in mine),
                rss_start_bytes=mine[0].rss_start_bytes,
                rss_peak_bytes=max(record.rss_peak_bytes for record in mine),
                state_bytes=weight_bytes * (1 + moments),
                loss=last.loss,
                accuracy=last.accuracy,
                accuracy_sum=last.accuracy_sum,
                gamma=last.gamma,
            )
        )
    return result


def versions() -> dict[str, str]:
    """Return the versions of ffedge and of what computes."""
    import numpy
    import onnxruntime

    return {
        "ffedge": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, system."""
    model = platform.machine()  # where no name is told; platform.processor() would start a process to ask
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = (line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line)
        model = next(named, model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
    }


@dataclass
class Report:
    """The content of report.json; accuracies are fractions, 0 to 1; a balanced one is the mean of the classes'.

    Of a run that was resumed, `seconds` holds what layers learnt in the processes before, and the peak is that of all.
    """

    spec: dict[str, Any]
    data: dict[str, Any]
    input: dict[str, Any]
    layers: list[LayerRecord]
    test_accuracy: float | None
    train_accuracy: float
    train_accuracy_rows: int
    seconds: float
    rss_peak_bytes: int
    import_bytes: int
    model_sha256: str
    model_bytes: int
    in_place: bool
    test_balanced_accuracy: float | None = None  # older reports lack it
    train_balanced_accuracy: float | None = None
    chosen: dict[str, Any] = dataclasses.field(default_factory=dict)
    plan: dict[str, Any] | None = None
    stopped: str | None = None
    format: int = REPORT_FORMAT
    versions: dict[str, str] = dataclasses.field(default_factory=versions)
    machine: dict[str, Any] = dataclasses.field(default_factory=machine)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a report.json.

        Raises
        ------
        ModelError
            There is none, it is damaged, or another version of ffedge wrote it.
        """
        try:
            with regular_file(path) as file:
                content = parse(file.read().decode())
            content["layers"] = [LayerRecord(**layer) for layer in content["layers"]]
            report = cls(**content)
            report._check()
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror}). Pass the folder of a finished run") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path}: is no report that this ffedge can read ({error})") from error
        return report

    def __repr__(self) -> str:
        """Say what the run reached, in a line."""
        test = "no test rows" if self.test_accuracy is None else f"test accuracy {self.test_accuracy:.2%}"
        took = f"{self.seconds:.1f} s, peak {self.rss_peak_bytes / 2**20:.0f} MiB"
        rule, widths = self.spec["rule"]["variant"], ", ".join(map(str, self.spec["network"]["widths"][:8]))
        name = one_line(str(self.data["name"]))[:80]
        return f"<Report of {rule} ({widths}) on {name}: {test}, train {self.train_accuracy:.2%}, {took}>"

    def to_json(self) -> str:
        """Return the report as indented JSON."""
        return json_text.text(dataclasses.asdict(self), indent=1)

    def _check(self) -> None:
        for record in (self, *self.layers):
            _check_types(record)
        if self.format != REPORT_FORMAT:
            raise ValueError(f"it has report format {self.format}, this ffedge reads {REPORT_FORMAT}")
        widths = Recipe.from_dict(self.spec).network.widths
        if wrong := [layer.index for layer in self.layers if not 0 <= layer.index < len(widths)]:
            raise ValueError(f"it has a layer {wrong[0]}, but the network {len(widths)}")
        if not isinstance(self.data.get("name"), str):
            raise ValueError("data must have a name")


def _check_types(record: Any) -> None:
    """Raise ValueError where a field of a dataclass that was read from a file is not of its type."""
    for name, hint in get_type_hints(type(record)).items():
        kinds = [get_origin(kind) or kind for kind in (get_args(hint) if isinstance(hint, UnionType) else (hint,))]
        value = getattr(record, name)
        fits = isinstance(value, tuple(kinds)) or (float in kinds and type(value) is int)
        if not fits or (isinstance(value, bool) and bool not in kinds):
            raise ValueError(f"{name} must be {' or '.join(kind.__name__ for kind in kinds)}, got {value!r}")
        if isinstance(value, int) and abs(value) >= 1 << 63:
            raise ValueError(f"{name} must fit 64 bits, got a number of {value.bit_length()}")


def append_line(path: Path, record: EpochRecord) -> None:
    """Add a record to metrics.jsonl; FfedgeError where the disk is full."""
    with writing(path), path.open("a") as file:
        file.write(json_text.text(dataclasses.asdict(record)) + "\n")
