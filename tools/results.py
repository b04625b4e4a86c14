"""The committed result files that README shows: which file serves, what made it, and what stands in it.

A file is ``bench/results/<name>-<date>-<machine>.json``, or ``…-run1.json``, ``…-run2.json`` where a measurement was
taken several times. The newest date of a name serves, with all its runs; older files stay as history.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffedge.compare.arms import Work
from ffedge.compare.measure import Measure
from ffedge.compare.memory import Point
from ffedge.errors import FfedgeError

ROOT = Path(__file__).resolve().parents[1]
MACHINE = "x86_64-2cores"  # whose results README shows
WIDE = ",".join(["2000"] * 8)
WIDE_ARMS = (
    "ffedge-ff-adam,ffedge-acff-adam,ffedge-ff-sgd,"
    "backprop-adam,backprop-adam-hook,backprop-adam-ort-inplace,backprop-sgd"
)
SPEED_ARMS = "ffedge-ff-adam,ffedge-acff-adam,backprop-adam,backprop-adam-ort-inplace,backprop-sgd"
DEFAULT = "--data mnist-mini --variants acff --epochs 20"  # what the first command of README trains
AGAIN = '--reading "gamma: 0.3" --reading "gamma: 0.3, theta once" --reading "scope: previous"'  # gained at first
WIDER = "--variants acff --epochs 60 --threads 1 --seeds 0 1 2"  # chosen on a split: docs/recipe.md
PAPER = ("paper", "paper-whole", "paper-whole-fashion")  # its arms on few rows, over seeds, and on the paper's own
COMMANDS = {  # what makes each result; it stands in README beside the numbers
    "accuracy": "python bench/accuracy.py --epochs 20 --seeds 0 1 2 3 4",
    "accuracy-wide-shifts": (
        f"python bench/accuracy.py --data fashion-mnist {WIDER} --name accuracy-wide-shifts "
        "-- --widths 1000,1000 --shift 1 --shift-share 0.3"
    ),
    "accuracy-wide-shifts-mnist": (
        f"python bench/accuracy.py --data mnist {WIDER} --name accuracy-wide-shifts-mnist "
        "-- --widths 1000,1000 --shift 1 --input-dropout 0.1 --holdout 0"
    ),
    "accuracy-default": f"python bench/accuracy.py {DEFAULT} --name accuracy-default",
    "depth": "python bench/depth.py --data fashion-mnist --depths 1 2 4 --seeds 0 1 2 --threads 1",
    "depth-deep": (
        "python bench/depth.py --data fashion-mnist --depths 1 2 4 8 16 --seeds 0 --threads 1 --name depth-deep"
    ),
    "tables": "python bench/tables.py --seeds 10 11 --threads 1",
    "memory-4x500": "ffedge bench --memory",
    "memory-8x2000": f"ffedge bench --memory --widths {WIDE} --rows 600 --arms {WIDE_ARMS}",
    "memory-depth": "ffedge bench --memory --sweep depth --widths 500",
    "peers-memory": "python bench/peers_memory.py --runs 3",
    "epoch-time": "python bench/epoch_time.py --rounds 3",
    "predict-latency": "python bench/predict_latency.py",
    "forms": "python bench/forms.py --epochs 4 --seeds 0",
    "speed": f"ffedge bench --speed --arms {SPEED_ARMS} --repeat 1",
    "budget": "python bench/budget.py --specs 100",
    "budget-speed": "python bench/budget.py --speed",
    "kills": "python bench/kills.py --kills 200",
    "paper": "ffedge bench --paper --rows 5000",
    "paper-whole": "ffedge bench --paper --repeat 1 --data mnist",
    "paper-whole-fashion": "ffedge bench --paper --repeat 1 --data fashion-mnist",
    "paper-points": "ffedge bench --paper --open-points --data mnist",
    "paper-points-again": f"ffedge bench --paper --open-points --data mnist --seed 3 --repeat 5 {AGAIN}",
    "deploy": "python bench/deploy.py --forms exact pruned head int8 pruned-int8 head-int8",
    "learn": "python bench/learn.py --seeds 0 --epochs 3 --threads 1",
    "accuracy-spiking": ("python bench/accuracy.py --preset spiking --epochs 20 --seeds 0 1 2 --name accuracy-spiking"),
    "spikes": "python bench/spikes.py",
    "time-to-accuracy": "python bench/time_to_accuracy.py",
    "rejection": "python bench/rejection.py --seeds 0 1 2",
    "drift": "python bench/drift.py --seeds 0 1 2",
}


def newest(name: str, root: Path = ROOT) -> list[Path]:
    """Return the files of a result's newest date, in order.

    Raises
    ------
    FfedgeError
        There is none.
    """
    folder, pattern = root / "bench" / "results", re.compile(rf"{name}-(\d{{4}}-\d\d-\d\d)-{MACHINE}(-run\d+)?\.json")
    dated = [(found[1], path) for path in sorted(folder.glob("*.json")) if (found := pattern.fullmatch(path.name))]
    if not dated:
        raise FfedgeError(
            f"bench/results: holds no {name}-<date>-{MACHINE}.json. Make it with: {COMMANDS[name]} "
            "(bench/README.md says how to keep the file)"
        )
    last = max(date for date, _ in dated)
    return [path for date, path in dated if date == last]


def read(name: str, root: Path = ROOT) -> list[Any]:
    """Return the documents of a result's newest files.

    Raises
    ------
    FfedgeError
        There is none, or one is not JSON.
    """
    documents = []
    for path in newest(name, root):
        try:
            documents.append(json.loads(path.read_text()))
        except ValueError as error:
            raise FfedgeError(f"bench/results/{path.name}: is not JSON ({error}). Make it anew") from error
    return documents


def only(documents: Sequence[Any]) -> tuple[Any, Any]:
    """Return the settings and results of a script's document, which holds all its rounds."""
    if len(documents) > 1:
        raise FfedgeError(
            f"bench/results: holds {len(documents)} files of {documents[0]['benchmark']} and {documents[0]['date']}, "
            "and one must serve. Remove the others"
        )
    return documents[0]["settings"], documents[0]["results"]


def measures(documents: Sequence[Any], value: int | None = None) -> dict[str, list[Any]]:
    """Return what `ffedge bench` measured of each arm at one value of a sweep, a dictionary a run."""
    found: dict[str, list[Any]] = {}
    for document in documents:
        for point in document["points"]:
            if point["value"] == value:
                for runs in point["runs"]:
                    found.setdefault(runs[0]["arm"], []).extend(runs)
    return found


def works(documents: Sequence[Any]) -> dict[int | None, Work]:
    """Return the work at each value of a sweep; under None where there is no sweep."""
    lists = [(point["value"], point["work"]) for point in documents[0]["points"]]
    return {value: Work(**work | {"widths": tuple(work["widths"])}) for value, work in lists}


def points(documents: Sequence[Any]) -> list[Point]:
    """Return a sweep as `ffedge.compare` draws it, with all runs."""
    return [
        Point(value, work, [[Measure.read(run) for run in runs] for runs in measures(documents, value).values()])
        for value, work in works(documents).items()
    ]
