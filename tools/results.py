"""The committed result files that README shows: which file serves, what made it, and what stands in it.

A file is ``bench/results/<name>-<date>-<machine>.json``, or ``…-run1.json``, ``…-run2.json`` where a measurement was
taken several times. The newest date of a name serves, with all its runs; older files stay as history.
"""

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffedge.compare.runner import median_of
from ffedge.errors import FfedgeError

ROOT = Path(__file__).resolve().parents[1]
MACHINE = "x86_64-2cores"  # whose results the documents show
WIDE = ",".join(["2000"] * 8)
WIDE_ARMS = (
    "ffedge-ff-adam,ffedge-acff-adam,ffedge-ff-sgd,"
    "backprop-adam,backprop-adam-hook,backprop-adam-ort-inplace,backprop-sgd"
)
SPEED_ARMS = "ffedge-ff-adam,ffedge-acff-adam,backprop-adam,backprop-adam-ort-inplace,backprop-sgd"
DEFAULT = "--data mnist-mini --variants acff --epochs 20"  # what README's first command trains
AGAIN = '--reading "gamma: 0.3" --reading "gamma: 0.3, theta once" --reading "scope: previous"'  # gained at first
WIDER = "--variants acff --epochs 60 --threads 1 --seeds 0 1 2"  # chosen on a split: bench/RECIPE.md
ONE_PASS = "--data fashion-mnist mnist --variants acff --epochs 20 --seeds 0 1 2 --threads 1"
SMALL = "--data cifar-10 --variants acff --preset pictures-small --epochs 20 --seeds 0 1 --threads 1"
HALF = "--engine torch --precision bfloat16 --chunk-size 64"
GREY = "--data fashion-mnist --variants acff --preset pictures-small --epochs 20 --seeds 0 --threads 1"
COMMANDS = {  # what makes each result; it stands in README beside the numbers
    "accuracy": "python bench/accuracy.py --epochs 20 --seeds 0 1 2 3 4",
    "accuracy-wide-shifts": (
        f"python bench/accuracy.py --data fashion-mnist {WIDER} --name accuracy-wide-shifts "
        "-- --widths 1000,1000 --shift 1 --shift-share 0.3"
    ),
    "accuracy-wide-readout": (
        "python bench/accuracy.py --data fashion-mnist --variants acff --epochs 40 --seeds 0 1 2 --threads 0 --name "
        "accuracy-wide-readout -- --widths 1000,1000,1000 --class-goodness readout --schedule interleaved --shift 1 "
        "--shift-share 0.5 --engine torch --precision bfloat16 --holdout 0"
    ),
    "accuracy-wide-shifts-mnist": (
        f"python bench/accuracy.py --data mnist {WIDER} --name accuracy-wide-shifts-mnist "
        "-- --widths 1000,1000 --shift 1 --input-dropout 0.1 --holdout 0"
    ),
    "accuracy-groups": (
        f"python bench/accuracy.py {ONE_PASS} --name accuracy-groups -- --class-goodness groups --schedule interleaved"
    ),
    "accuracy-readout": (
        f"python bench/accuracy.py {ONE_PASS} --name accuracy-readout "
        "-- --class-goodness readout --schedule interleaved"
    ),
    "accuracy-pictures-small": f"python bench/accuracy.py {SMALL} --name accuracy-pictures-small -- --size 32",
    "accuracy-pictures-grey": f"python bench/accuracy.py {GREY} --name accuracy-pictures-grey",
    "accuracy-pictures-bfloat16": (
        "python bench/accuracy.py --data mnist --variants acff --preset pictures-small --epochs 20 --seeds 0 1 2 "
        f"--threads 0 --name accuracy-pictures-bfloat16 -- {HALF}"
    ),
    "accuracy-pictures-wide": (
        "python bench/accuracy.py --data cifar-10 --variants ff --preset pictures --epochs 20 --seeds 0 1 2 "
        f"--threads 0 --name accuracy-pictures-wide -- --size 32 --widths 96c3p2,192c3,384c3p2,384c3 {HALF}"
    ),
    "accuracy-pictures-top-groups": (
        "python bench/accuracy.py --data cifar-10 --variants ff --preset pictures --epochs 22 --seeds 0 --threads 0 "
        "--name accuracy-pictures-top-groups -- --size 32 --widths 80c3,160c3p2,160c3,320c3p2,320c3,320c3p2,320c3 "
        "--class-goodness top-groups --engine torch --precision bfloat16 --chunk-size 256 --holdout 0"
    ),
    "class-goodness": "python bench/class_goodness.py",
    "accuracy-default": f"python bench/accuracy.py {DEFAULT} --name accuracy-default",
    "depth": "python bench/depth.py --data fashion-mnist --depths 1 2 4 --seeds 0 1 2 --threads 1",
    "depth-deep": (
        "python bench/depth.py --data fashion-mnist --depths 1 2 4 8 16 --seeds 0 --threads 1 --name depth-deep"
    ),
    "tables": "python bench/tables.py --seeds 10 11 --threads 1",
    "csv-peers": "python bench/csv_peers.py --seeds 0 1 2",
    "memory-4x500": "python bench/backprop.py --memory",
    "memory-8x2000": f"python bench/backprop.py --memory --widths {WIDE} --rows 600 --arms {WIDE_ARMS}",
    "memory-depth": "python bench/backprop.py --memory --sweep depth --widths 500",
    "depth-time": "python bench/depth_time.py",
    "conv-memory": "python bench/conv_memory.py",
    "peers-memory": "python bench/peers_memory.py --runs 3",
    "epoch-time": "python bench/epoch_time.py --rounds 3",
    "threads": "python bench/threads.py",
    "predict-latency": "python bench/predict_latency.py",
    "forms": "python bench/forms.py --epochs 4 --seeds 0",
    "speed": f"python bench/backprop.py --speed --arms {SPEED_ARMS} --repeat 1",
    "budget": "python bench/budget.py --specs 200",
    "budget-learner": "python bench/budget.py --learners 20 --seed 1",
    "budget-speed": "python bench/budget.py --speed",
    "fleet": "python bench/fleet.py",
    "kills": "python bench/kills.py --kills 200",
    "paper": "python bench/paper.py --rows 5000",
    "paper-whole": "python bench/paper.py --seeds 0 --data mnist",
    "paper-whole-fashion": "python bench/paper.py --seeds 0 --data fashion-mnist",
    "paper-points": "python bench/paper.py --readings --data mnist",
    "paper-points-again": f"python bench/paper.py --readings --data mnist --seeds 3 4 5 6 7 {AGAIN}",
    "deploy": "python bench/deploy.py --forms exact pruned head int8 pruned-int8 head-int8",
    "learn": "python bench/learn.py --seeds 0 --epochs 3 --threads 1",
    "few-shot": "python bench/few_shot.py --seeds 0",
    "forgetting": "python bench/forgetting.py --seeds 0 1",
    "accuracy-spiking": ("python bench/accuracy.py --preset spiking --epochs 20 --seeds 0 1 2 --name accuracy-spiking"),
    "spikes": "python bench/spikes.py",
    "spikes-groups": (
        "python bench/spikes.py --class-goodness groups --resets subtract --timesteps 8 16 32 64 --calibrated 64 "
        "--epochs 8"
    ),
    "spikes-pictures": "python bench/spikes_pictures.py runs/cifar",
    "time-to-accuracy": "python bench/time_to_accuracy.py",
    "time-to-accuracy-one-pass": (
        "python bench/time_to_accuracy.py --arms ffedge ffedge-groups ffedge-readout backprop-tuned backprop "
        "backprop-ort --name time-to-accuracy-one-pass"
    ),
    "rejection": "python bench/rejection.py --seeds 0 1 2",
    "serving": "python bench/serving.py",
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


def points(documents: Sequence[Any]) -> list[dict[str, Any]]:
    """Return a measurement of memory value by value of its sweep, the runs of all its files together."""
    merged = []
    for same in zip(*(document["points"] for document in documents), strict=True):
        of_arms = zip(*(point["runs"] for point in same), strict=True)
        runs = [list(itertools.chain(*files)) for files in of_arms]
        merged.append(same[0] | {"runs": runs, "measures": [median_of(own) for own in runs]})
    return merged
