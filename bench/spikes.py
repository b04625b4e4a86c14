"""A network as spikes: accuracy by timesteps, early decisions, and synaptic operations beside numbers and backprop.

    python bench/spikes.py --data mnist fashion-mnist

For each data set what ``ffedge bench --neuromorphic`` does, into one result file, and a figure in bench/figures. The
preset and the factors of the thresholds were chosen on training rows; the test rows are read once.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from common import HERE, table, write_results

from ffedge.compare.neuromorphic import TIMESTEPS, Choice, compare, document, draw


def main() -> None:
    """Compare on each data set and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--variant", default="ff")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--rows", type=int, help="of the test split (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("bench-spikes"), help="folder of the runs; whole ones stay")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    found = {data: measure(data, arguments) for data in arguments.data}
    settings = {key: value for key, value in vars(arguments).items() if key not in ("out", "work")}
    print(write_results("spikes", settings, found, arguments.out, packages=["onnxruntime", "torch", "nir"]))


def measure(data: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Return what was found on one data set; print it and draw it."""
    folder = chosen.work / data
    folder.mkdir(parents=True, exist_ok=True)
    choice = Choice(
        folder,
        data,
        variant=chosen.variant,
        epochs=chosen.epochs,
        rows=chosen.rows,
        seed=chosen.seed,
        threads=chosen.threads,
        timesteps=TIMESTEPS,
    )
    points, notes = compare(choice, lambda text: print(f"{data}: {text}", file=sys.stderr, flush=True))
    rows = [
        [
            p.name,
            f"{p.timesteps:.1f}",
            f"{100 * p.accuracy:.2f}",
            f"{p.workload.effective_macs:.0f}",
            f"{p.workload.effective_acs:.0f}",
            f"{p.workload.neuron_updates:.0f}",
            f"{p.workload.activation_sparsity:.4f}",
            f"{p.energy_nj:.0f}",
        ]
        for p in points
    ]
    print(
        table([data, "timesteps", "accuracy %", "MACs", "ACs", "updates", "activation sparsity", "energy nJ"], rows),
        flush=True,
    )
    figure = next(path for path in draw(points, folder / f"spikes-{data}") if path.suffix == ".svg")
    text = re.sub(r" *<dc:date>.*?</dc:date>\n", "", figure.read_text())
    (HERE / "figures" / figure.name).write_text(text.rstrip() + "\n")
    return document(choice, points, notes)


if __name__ == "__main__":
    main()
