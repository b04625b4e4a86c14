"""Seconds of one training epoch, MNIST 784-500-500: ffedge beside two Forward-Forward peers and two of backprop.

Each arm is a new process; the arms take turns (A B C ... A B C ...), and ratios are taken within a round. Every arm
trains the same number of epochs, and the last one counts: all before it are warm-up. What an epoch's seconds hold, and
the settings of each arm, stand in `epoch_arms`; how to read the result, in README.md.
"""

import argparse
import statistics
import sys
from typing import Any

from common import arguments, child, table, write_results
from epoch_arms import FFEDGE, PEERS

from ffedge.compare.runner import medians, ratios, spread_text

ARMS = [*FFEDGE, *PEERS]
PACKAGES = ("torch", "fflib", "scikit-learn")


def measure(options: argparse.Namespace, threads: int) -> dict[str, Any]:
    """Run all rounds on so many threads."""
    seconds: dict[str, list[float]] = {name: [] for name in options.arms}
    accuracy: dict[str, list[float]] = {name: [] for name in options.arms}
    elsewhere: dict[str, list[float]] = {name: [] for name in options.arms}
    for turn in range(options.rounds):
        for name in options.arms:
            request = {"name": name, "epochs": options.epochs, "batch_size": options.batch_size, "threads": threads}
            answer = child("epoch_arms", request | {"seed": turn}, threads)
            seconds[name].append(answer["epoch_s"][-1])
            accuracy[name].append(answer["test_accuracy"])
            elsewhere[name].append(answer["cores_elsewhere"])
            print(f"threads {threads}, round {turn}: {name} {seconds[name][-1]:.2f} s", file=sys.stderr)
    pairs = [(a, b) for a in seconds for b in seconds if a in FFEDGE and b in PEERS]
    within = ratios(seconds, pairs)
    return {
        "epoch_s": seconds,
        "epoch_s_median": medians(seconds),
        "test_accuracy": accuracy,
        "cores_elsewhere": elsewhere,
        "ratio": within,
        "ratio_median": medians(within),
    }


def report(threads: int, result: dict[str, Any], epochs: int) -> str:
    """Lay out medians, ranges and ratios."""
    times = [
        (
            name,
            spread_text(rounds),
            f"{100 * statistics.median(result['test_accuracy'][name]):.1f} %",
            f"{max(result['cores_elsewhere'][name]):.2f}",
        )
        for name, rounds in result["epoch_s"].items()
    ]
    ratio = [(name, spread_text(rounds)) for name, rounds in result["ratio"].items()]
    heading = f"threads: {threads}; median [least, greatest] of the rounds"
    columns = ("arm", "epoch, s", f"accuracy after {epochs}", "busy elsewhere")
    return "\n\n".join([heading, table(columns, times), table(("within a round", "ratio of times"), ratio)])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2, help="of each arm, at least 2; the last one counts")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="each count is measured on its own")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    options = parser.parse_args()
    if options.epochs < 2:
        parser.error("--epochs must be at least 2: the first one warms up")
    results = {f"threads_{threads}": measure(options, threads) for threads in options.threads}
    for threads in options.threads:
        print(report(threads, results[f"threads_{threads}"], options.epochs), end="\n\n")
    rules = {name: FFEDGE[name] for name in options.arms if name in FFEDGE}
    write_results("epoch-time", options, results, PACKAGES, ffedge=rules)


if __name__ == "__main__":
    main()
