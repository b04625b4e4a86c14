"""Peak memory of training, MNIST 784-500-500: ffedge beside two Forward-Forward peers and two of backprop.

    python bench/peers_memory.py --runs 3

The arms are those of `epoch_time`, each run in a process of its own; `epoch_arms` says what is measured. README.md says
how to read the result.
"""

import statistics
import sys

from common import MIB, arguments, child, table, write_results
from epoch_arms import FFEDGE, PEERS

from ffedge.compare.runner import spread_text

ARMS = [*FFEDGE, *PEERS]
PACKAGES = ("torch", "fflib", "scikit-learn")
KEPT = ("import_bytes", "data_bytes", "rss_peak_bytes", "test_accuracy")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=3, help="of each arm; they take turns")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    options = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {name: {key: [] for key in KEPT} for name in options.arms}
    for turn in range(options.runs):
        for name in options.arms:
            request = {"name": name, "epochs": options.epochs, "batch_size": options.batch_size, "seed": turn}
            answer = child("epoch_arms", request | {"threads": options.threads}, options.threads, tries=1)
            for key in KEPT:
                results[name][key].append(answer[key])
            print(f"run {turn}: {name} {answer['rss_peak_bytes'] / MIB:.0f} MiB", file=sys.stderr)
    print(table(("MiB, median [least, greatest]", "process", "imports", "data", "the rest"), map(row, results.items())))
    write_results("peers-memory", options, results, PACKAGES)


def row(item: tuple[str, dict[str, list[float]]]) -> list[str]:
    """Return a row of the table; the rest is what training takes over imports and data."""
    name, found = item
    imports, data, peak = (found[key] for key in KEPT[:3])
    rest = [(p - i - d) / MIB for p, i, d in zip(peak, imports, data, strict=True)]
    whole = [p / MIB for p in peak]
    return [
        name,
        spread_text(whole, 0),
        *(f"{statistics.median(x) / MIB:.0f}" for x in (imports, data)),
        spread_text(rest, 1),
    ]


if __name__ == "__main__":
    main()
