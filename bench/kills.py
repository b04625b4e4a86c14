"""Kills ``ffedge train`` at random moments, lets it go on, and compares the end with a run that nobody killed.

    python bench/kills.py --kills 200       # about 10 minutes; needs torch for its engine

Variants, schedules and engines take turns. A checkpoint is written after every step, so that many kills come while one
is written. The weights (model.onnx) and the metrics must be the same, bit for bit.
"""

import itertools
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, table, write_results

from ffedge.compare.child import variables

SETTINGS = list(itertools.product(("onnx", "torch"), ("greedy", "interleaved"), ("ff", "fcff", "acff")))
FLAGS = ["--widths", "96,64", "--epochs", "6", "--batch-size", "64", "--checkpoint-every", "1", "--threads", "1"]
NOT_COMPUTED = {"seconds", "rss_start_bytes", "rss_peak_bytes"}
ENVIRONMENT = variables() | {"OMP_NUM_THREADS": "1"}


def write_data(path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 640)
    inputs = rng.integers(0, 90, (640, 8, 8))
    inputs[np.arange(640), labels + 2] += 120
    np.savez(path, x=inputs.astype(np.uint8), y=labels)


def command(folder: Path, data: Path, engine: str, schedule: str, variant: str) -> list[str]:
    """Return the command that begins a run, or goes on with it where there is a checkpoint."""
    begun = any(path.stem.isdecimal() for path in (folder / "checkpoint").glob("*.safetensors"))
    flags = [*FLAGS, "--engine", engine, "--schedule", schedule, "--variant", variant, "--data", str(data)]
    how = ["--resume", "--checkpoint-every", "1"] if begun else [*flags, "--force"]
    return [sys.executable, "-m", "ffedge", "train", *how, "--out", str(folder)]


def outcome(folder: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """Return the model, and the metrics but for times and memory."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics = [{key: value for key, value in line.items() if key not in NOT_COMPUTED} for line in lines]
    return (folder / "model.onnx").read_bytes(), metrics


def try_setting(setting: tuple[str, str, str], kills: int, draw: random.Random, root: Path) -> dict[str, Any]:
    """Kill one setting's run so many times, starting it anew whenever it came to its end first."""
    data, whole = root / "data.npz", root / "whole"
    began = time.perf_counter()
    subprocess.run(command(whole, data, *setting), check=True, capture_output=True, env=ENVIRONMENT)
    seconds, wanted = time.perf_counter() - began, outcome(whole)
    done = equal = ends = 0
    while done < kills or ends == 0:
        folder, this_run = root / f"run-{ends}", 0
        while True:
            with subprocess.Popen(
                command(folder, data, *setting), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT
            ) as process:
                try:
                    wait = draw.uniform(0, 0.8 * seconds) if done < kills and this_run < 8 else None
                    _, err = process.communicate(timeout=wait)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    done, this_run = done + 1, this_run + 1
                    continue
            if process.returncode:
                raise RuntimeError(f"{setting}, after {this_run} kills: {err.decode().splitlines()[-1]}")
            break
        ends += 1
        equal += outcome(folder) == wanted
    return {"setting": "-".join(setting), "kills": done, "ends": ends, "equal": equal, "seconds_unkilled": seconds}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=200, help="in all settings together")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, results = random.Random(options.seed), []
    for index, setting in enumerate(SETTINGS):
        kills = options.kills // len(SETTINGS) + (index < options.kills % len(SETTINGS))
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder) / "data.npz")
            results.append(try_setting(setting, kills, draw, Path(folder)))
        print(results[-1], file=sys.stderr, flush=True)
    print(
        table(
            ["setting", "kills", "ends", "equal"], [[r["setting"], r["kills"], r["ends"], r["equal"]] for r in results]
        )
    )
    total = {key: sum(result[key] for result in results) for key in ("kills", "ends", "equal")}
    print(f"{total['kills']} kills; {total['equal']} of {total['ends']} runs ended as the run that nobody killed")
    write_results("kills", options, {"total": total, "settings": results}, ["torch"], flags=FLAGS)


if __name__ == "__main__":
    main()
