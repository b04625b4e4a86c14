"""How well a network tells what it does not know: ffedge's score and margin beside max softmax of backprop.

    python bench/rejection.py --seeds 0 1 2       # about half an hour on one core; needs torch

Networks are trained on one data set; the other one, noise, and test images taken apart are what they do not know. The
rule was chosen on held-out rows of MNIST's training split against other strange images (mixed, turned, inverted and
blurred ones, strokes); the sets here were read once, for this report.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from common import PATHS, arguments, table, write_results

from ffedge.compare.child import ask
from ffedge.compare.runner import thread_variables

OTHER = {"mnist": "fashion-mnist", "fashion-mnist": "mnist"}
RULES = ("score and margin", "max softmax")
NETWORKS = ("ffedge", "backprop")


def main() -> None:
    """Train and judge every combination and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", default=list(OTHER))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--variant", default="acff")
    parser.add_argument("--coverage", type=float, default=0.95)
    parser.add_argument("--data-dir", type=Path, help="where MNIST and Fashion-MNIST are looked for first")
    options = parser.parse_args()
    runs = []
    for seed in options.seeds:
        for data in options.data:
            for network in NETWORKS:
                runs.append(measure(data, network, seed, options))
                print(f"{data} {network} seed {seed}: {runs[-1]['accuracy']:.4f}", file=sys.stderr, flush=True)
    for data in options.data:
        print(shown([run for run in runs if run["data"] == data]))
    write_results("rejection", options, runs, ["onnxruntime", "torch"])


def measure(data: str, network: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one network in a process of its own and return what it tells."""
    request = {"data": data, "other": OTHER[data], "network": network, "seed": seed}
    more = {name: getattr(options, name) for name in ("epochs", "variant", "coverage")}
    folder = str(options.data_dir) if options.data_dir else None
    return request | ask("rejection_arms", request | more | {"data_dir": folder}, thread_variables(1) | PATHS)


def shown(runs: list[dict[str, Any]]) -> str:
    """Return the table of one data set: medians over seeds, in per cent."""
    names = list(runs[0][RULES[0]]["auroc"])
    rows = []
    for network in NETWORKS:
        for rule in RULES:
            own = [run[rule] for run in runs if run["network"] == network]
            areas = [f"{100 * statistics.median(o['auroc'][n] for o in own):.1f}" for n in names]
            rest = [100 * statistics.median(o[key] for o in own) for key in ("risk_at_coverage", "coverage", "risk")]
            rows.append([f"{network}, {rule}", *areas, *(f"{value:.2f}" for value in rest)])
    return table([runs[0]["data"], *names, "risk at coverage", "coverage", "risk by threshold"], rows)


if __name__ == "__main__":
    main()
