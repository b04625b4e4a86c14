"""Planned against measured peak memory of ``ffedge train``, and what a budget costs in time.

    python bench/budget.py --specs 100        # drawn specs under drawn budgets: does each hold, how close is the plan
    python bench/budget.py --speed            # 784-500-500 and 784-4x2000: seconds against budget

Each training is the whole command in a process of its own; its peak is VmHWM, imports and library pages included.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import MIB, arguments, ffedge, table, write_results

MOST_WORK = 4e10  # multiplications of a drawn training, so that 100 end within minutes
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
    """Draw 1 to 16 layers, 16 to 2000 wide, 2 to 100 classes, batches of 1 to 1024, that end within seconds."""
    while True:
        layers, batch = int(rng.integers(1, 17)), int(2 ** rng.uniform(0, 10))
        widths = [int(16 * 125 ** rng.uniform(0, 1)) for _ in range(layers)]
        inputs, classes = int(16 * 62 ** rng.uniform(0, 1)), int(2 * 50 ** rng.uniform(0, 1))
        rows = max(batch + batch // 20 + 8, classes * 3, 64)
        sizes = [inputs, *widths]
        work = sum(a * b for a, b in zip(sizes, widths, strict=False)) * rows * (layers * 3 + classes)
        if work < MOST_WORK:
            break
    flags = {
        "widths": ",".join(map(str, widths)),
        "batch-size": str(batch),
        "variant": str(rng.choice(["ff", "fcff", "acff"])),
        "optimizer": str(rng.choice(["adam", "momentum", "sgd"], p=[0.7, 0.15, 0.15])),
        "schedule": str(rng.choice(["greedy", "interleaved"], p=[0.75, 0.25])),
        "negatives": str(rng.choice(["hard", "fresh", "hard-sum"])),
        "scope": str(rng.choice(["previous", "all"])),
        "loss": str(rng.choice(["contrastive", "logistic", "symmetric"])),
        "norm": str(rng.choice(["rms", "unit", "layer"])),
        "n-negatives": str(int(rng.integers(1, min(classes, 5)))),
        "input-dropout": str(rng.choice(["0", "0.2"])),
        "epochs": "1",
        "holdout": "0.02",
    }
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
                "seconds": time.perf_counter() - began,
            }
        )
        print(line(results[-1]), file=sys.stderr, flush=True)
    return results


def line(result: dict[str, Any]) -> str:
    sizes = "  ".join(f"{n} {result[n + '_bytes'] / MIB:.1f}" for n in ("floor", "budget", "planned", "measured"))
    kept = "holds" if result["measured_bytes"] <= result["budget_bytes"] else "BROKEN"
    share = result["measured_bytes"] / result["planned_bytes"]
    return (
        f"{result['index']:3d} {kept}  {sizes}  measured/planned {share:.3f}  chunk {result['chunk_size']}"
        f" of {result['flags']['batch-size']}, tile {result['tile_bytes'] // 1024} KiB, moments in {result['moments']}"
        f"  {result['inputs']} inputs, {result['classes']} classes, {result['flags']['widths']}"
    )


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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    if options.specs:
        results = try_specs(options.specs, options.seed)
        shares = [r["measured_bytes"] / r["planned_bytes"] for r in results]
        found = {
            "kept": sum(r["measured_bytes"] <= r["budget_bytes"] for r in results),
            "of": len(results),
            "measured_by_planned": dict(
                zip(("least", "median", "most"), np.quantile(shares, (0, 0.5, 1)), strict=True)
            ),
            "runs": results,
        }
        print(f"{found['kept']} of {found['of']} budgets kept; measured / planned: {found['measured_by_planned']}")
        write_results("budget", options, found, ["onnxruntime"])
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
