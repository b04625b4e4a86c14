"""Planned against measured peak memory of ``ffedge train`` and ``ffedge learn``, and what a budget costs in time.

    python bench/budget.py --specs 200        # drawn specs under drawn budgets: does each hold, how close is the plan
    python bench/budget.py --learners 60      # the same of an `ffedge.Learner`, which learns from minibatches
    python bench/budget.py --speed            # 784-500-500 and 784-4x2000: seconds against budget

Each training is the whole command in a process of its own, and so is each learning on from its model; a peak is VmHWM,
imports and library pages included.
"""

import dataclasses
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import MIB, PATHS, arguments, ffedge, table, write_results

from ffedge.compare.child import ask

MOST_WORK = 2e10  # multiplications of a drawn training, so that 200 end within the hour
NETWORKS = {  # data, widths, batch size; mnist-mini is MNIST's first 6,000 rows
    "784-500-500, MNIST": ("mnist", "500,500", 256),
    "784-4x2000, mnist-mini": ("mnist-mini", "2000,2000,2000,2000", 64),
}


@dataclass(frozen=True)
class Drawn:
    """A spec as flags, and the shape of the data that it is for."""

    flags: dict[str, str]
    rows: int
    inputs: int
    classes: int
    floats: bool


def draw(rng: np.random.Generator) -> Drawn:
    """Draw 1 to 16 layers, 16 to 2000 wide, 2 to 1000 classes, batches of 1 to 1024, 1 to 16 threads: some seconds."""
    classes = int(2 * 500 ** rng.uniform(0, 1))
    while True:
        layers, batch = int(rng.integers(1, 17)), int(2 ** rng.uniform(0, 10))
        widths = [int(16 * 125 ** rng.uniform(0, 1)) for _ in range(layers)]
        inputs = int(16 * 62 ** rng.uniform(0, 1))
        rows = max(batch + batch // 2 + 8, classes * 3, 64)
        sizes = [inputs, *widths]
        work = sum(a * b for a, b in zip(sizes, widths, strict=False)) * rows * (layers * 3 + classes)
        if work < MOST_WORK:
            break
    cached = layers > 1 and rng.uniform() < 0.2
    flags = {
        "widths": ",".join(map(str, widths)),
        "batch-size": str(batch),
        "variant": str(rng.choice(["ff", "fcff", "acff"])),
        "optimizer": str(rng.choice(["adam", "momentum", "sgd"], p=[0.7, 0.15, 0.15])),
        "schedule": str(rng.choice(["greedy", "interleaved"], p=[0.75, 0.25])),
        "negatives": str(rng.choice(["hard", "fresh", "hard-sum"])),
        "loss": str(rng.choice(["contrastive", "logistic", "symmetric"])),
        "norm": str(rng.choice(["rms", "unit", "layer"])),
        "n-negatives": str(int(rng.integers(1, min(classes, 5)))),
        "input-dropout": str(rng.choice(["0", "0.2"])),
        "threads": str(int(rng.integers(1, 17))),
        "epochs": "1",
        "holdout": str(rng.choice(["0.02", "0.3"])),
    }
    if flags["variant"] != "ff":
        flags["scope"] = str(rng.choice(["previous", "all"]))
    if cached:
        flags |= {"cache": "activations", "schedule": "greedy", "input-dropout": "0"}
        flags["negatives"] = str(rng.choice(["hard", "fresh", "fixed"]))
    for name in ("norm", "schedule", "scope") if layers == 1 else ():  # which play no part there
        flags.pop(name, None)
    return Drawn(flags, rows, inputs, classes, bool(rng.integers(0, 2)))


def write_data(drawn: Drawn, path: Path, rng: np.random.Generator) -> None:
    labels = np.arange(drawn.rows) % drawn.classes
    inputs = rng.integers(0, 256, (drawn.rows, drawn.inputs), dtype=np.uint8)
    np.savez(path, x=inputs.astype(np.float32) if drawn.floats else inputs, y=labels)


def train(flags: dict[str, str], *more: str) -> dict[str, Any]:
    """Run ``ffedge train`` and return what it prints."""
    return ffedge("train", *(word for name, value in flags.items() for word in (f"--{name}", value)), *more)


def try_specs(count: int, seed: int) -> list[dict[str, Any]]:
    results = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        drawn = draw(rng)
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data.npz"
            write_data(drawn, data, rng)
            flags = drawn.flags | {"data": str(data)}
            free = train(flags, "--plan")["peak_bytes"]
            floor = train(flags | {"memory-budget": "100GiB"}, "--plan")["floor_bytes"]
            budget = int(1.01 * floor + rng.uniform(0, 1.2) * max(free - floor, 0))
            began = time.perf_counter()
            report = train(flags | {"memory-budget": str(budget), "out": str(Path(folder) / "run")})
            seconds, learnt = time.perf_counter() - began, learn_on(drawn, Path(folder), rng)
        plan = report["plan"]
        results.append(
            {
                "index": index,
                "flags": drawn.flags,
                "inputs": drawn.inputs,
                "classes": drawn.classes,
                "rows": drawn.rows,
                "floor_bytes": floor,
                "budget_bytes": budget,
                "planned_bytes": plan["peak_bytes"],
                "measured_bytes": report["rss_peak_bytes"],
                "chunk_size": plan["chunk_size"],
                "tile_bytes": plan["tile_bytes"],
                "moments": plan["moments"],
                "parts": plan["parts"],
                "seconds": seconds,
                "learn": learnt,
            }
        )
        print(line(results[-1]), file=sys.stderr, flush=True)
    return results


def learn_on(drawn: Drawn, folder: Path, rng: np.random.Generator) -> dict[str, Any]:
    """Learn on from the model under a drawn budget, from some new rows and the kept ones; every third time a class."""
    more = dataclasses.replace(drawn, rows=int(drawn.rows * rng.uniform(0.3, 1.5)) + 8)
    flags = {"data": str(folder / "new.npz"), "epochs": "1", "max-drop": "1", "threads": str(int(rng.integers(1, 17)))}
    if rng.uniform() < 0.3 and drawn.classes < 1000:
        more, flags["add-class"] = dataclasses.replace(more, classes=drawn.classes + 1), str(drawn.classes)
    write_data(more, folder / "new.npz", rng)
    model = folder / "run" / "model.onnx"
    floor = least_of(str(run_learn(model, flags | {"memory-budget": "1MiB"})))
    budget = int(floor * rng.uniform(1.01, 1.3))
    learnt = run_learn(model, flags | {"memory-budget": str(budget)})
    return {
        "flags": {name: value for name, value in flags.items() if name != "data"},
        "rows": more.rows,
        "kept_rows": learnt["kept_rows"],
        "floor_bytes": floor,
        "budget_bytes": budget,
        "planned_bytes": learnt["plan"]["peak_bytes"],
        "measured_bytes": learnt["rss_peak_bytes"],
        "parts": learnt["plan"]["parts"],
    }


def least_of(refusal: str) -> float:
    """Return the bytes that a refused budget should have had."""
    return float(re.findall(r"at least ([0-9.]+) MiB", refusal)[0]) * MIB


def try_learners(count: int, seed: int) -> list[dict[str, Any]]:
    """Train drawn specs, and let a Learner go on from each under a drawn budget."""
    results = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        drawn = draw(rng)
        with tempfile.TemporaryDirectory() as folder:
            data, run = Path(folder) / "data.npz", Path(folder) / "run"
            write_data(drawn, data, rng)
            train(drawn.flags | {"data": str(data), "out": str(run)})
            request = {"model": str(run / "model.onnx"), "threads": int(drawn.flags["threads"]), "seed": index}
            request |= {"batches": 20, "out": str(Path(folder) / "after.onnx")}
            floor = least_of(ask("learner_peak", request | {"budget": MIB}, PATHS)["refused"])
            budget = int(floor * rng.uniform(1.01, 1.3))
            found = ask("learner_peak", request | {"budget": budget}, PATHS)
        plan = found.pop("plan")
        about = {"index": index, "flags": drawn.flags, "inputs": drawn.inputs, "classes": drawn.classes}
        sizes = {"floor_bytes": floor, "budget_bytes": budget, "planned_bytes": plan["peak_bytes"]}
        results.append(about | sizes | found | {"parts": plan["parts"]})
        kept = "holds" if holds(results[-1]) else "BROKEN"
        print(index, kept, f"{share_of(results[-1]):.3f}", about, file=sys.stderr, flush=True)
    return results


def run_learn(model: Path, flags: dict[str, str]) -> Any:
    """Run ``ffedge learn``; return what it prints, or the error that refuses it."""
    try:
        return ffedge(
            "learn", model, "--force", *(word for name, value in flags.items() for word in (f"--{name}", value))
        )
    except RuntimeError as error:
        return error


def line(result: dict[str, Any]) -> str:
    sizes = "  ".join(f"{n} {result[n + '_bytes'] / MIB:.1f}" for n in ("floor", "budget", "planned", "measured"))
    kept, share, learnt = "holds" if holds(result) else "BROKEN", share_of(result), result["learn"]
    return (
        f"{result['index']:3d} {kept}  {sizes}  measured/planned {share:.3f}"
        f"  learn {'holds' if holds(learnt) else 'BROKEN'} {share_of(learnt):.3f}  {result['flags']['threads']} threads"
        f", chunk {result['chunk_size']}"
        f" of {result['flags']['batch-size']}, tile {result['tile_bytes'] // 1024} KiB, moments in {result['moments']}"
        f"  {result['inputs']} inputs, {result['classes']} classes, {result['flags']['widths']}"
    )


def holds(result: dict[str, Any]) -> bool:
    return bool(result["measured_bytes"] <= result["budget_bytes"])


def share_of(result: dict[str, Any]) -> float:
    return float(result["measured_bytes"] / result["planned_bytes"])


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how many budgets were kept, and the least, median and largest share of the plan that was measured."""
    quantiles = np.quantile(list(map(share_of, results)), (0, 0.5, 1)).tolist()
    shares = dict(zip(("least", "median", "most"), quantiles, strict=True))
    return {"kept": sum(map(holds, results)), "of": len(results), "measured_by_planned": shares}


def try_budgets() -> list[dict[str, Any]]:
    """Train one epoch of each network under budgets from its floor up to what it takes without one."""
    results = []
    for name, (data, widths, batch) in NETWORKS.items():
        flags = {"data": data, "widths": widths, "batch-size": str(batch), "epochs": "1"}
        free = train(flags, "--plan")["peak_bytes"]
        floor = train(flags | {"memory-budget": "100GiB"}, "--plan")["floor_bytes"]
        for share in (1.0, 0.75, 0.5, 0.25, 0.1, 0.0):
            budget = int(1.01 * floor + share * max(0, 1.01 * free - 1.01 * floor))
            with tempfile.TemporaryDirectory() as folder:
                report = train(flags | {"memory-budget": str(budget), "out": str(Path(folder) / "run")})
            results.append(
                {
                    "network": name,
                    "budget_bytes": budget,
                    "planned_bytes": report["plan"]["peak_bytes"],
                    "measured_bytes": report["rss_peak_bytes"],
                    "training_seconds": sum(layer["seconds"] for layer in report["layers"]),
                    "test_accuracy": report["test_accuracy"],
                    "plan": {key: report["plan"][key] for key in ("chunk_size", "tile_bytes", "moments")},
                }
            )
            print(results[-1], file=sys.stderr, flush=True)
    return results


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--specs", type=int, default=0, help="how many specs to draw")
    parser.add_argument("--learners", type=int, default=0, help="how many specs to draw for a Learner")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    if options.specs:
        results = try_specs(options.specs, options.seed)
        learnt = summary([each["learn"] for each in results])
        found = summary(results) | {"learn": learnt, "runs": results}
        for what, of in (("train", found), ("learn", learnt)):
            print(f"{what}: {of['kept']} of {of['of']} budgets kept; measured / planned: {of['measured_by_planned']}")
        write_results("budget", options, found, ["onnxruntime"])
    if options.learners:
        results = try_learners(options.learners, options.seed)
        found = summary(results) | {"runs": results}
        print(f"Learner: {found['kept']} of {found['of']} budgets kept; {found['measured_by_planned']}")
        write_results("budget-learner", options, found, ["onnxruntime"])
    if options.speed:
        results = try_budgets()
        columns = ("budget_bytes", "measured_bytes")
        rows = [
            [r["network"], *(f"{r[c] / MIB:.1f}" for c in columns), f"{r['training_seconds']:.1f}"] for r in results
        ]
        print(table(["network", "budget MiB", "measured MiB", "s"], rows))
        write_results("budget-speed", options, results, ["onnxruntime"])


if __name__ == "__main__":
    main()
