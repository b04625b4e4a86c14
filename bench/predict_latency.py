"""Latency and throughput of prediction, MNIST 784-500-500: ffedge's model file and its forms beside torch and an MLP.

What ``ffedge bench --inference`` measures (`ffedge.compare.inference`), with more ways to predict (`predict_ways`) and
a watch on what else the machine does: a child that was disturbed runs again. README.md says how to read the result.
"""

import sys
from typing import Any

from common import arguments, child, table, write_results
from predict_ways import ALL

from ffedge.compare.arms import Work
from ffedge.compare.inference import Timing, taken
from ffedge.compare.runner import spread_text

PACKAGES = ("torch", "onnx")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=Timing.rounds)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=list(Timing.batch_sizes))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--block-s", type=float, default=Timing.block_s, help="least seconds of one arm's turn")
    parser.add_argument("--arms", nargs="+", choices=ALL, default=ALL)
    options = parser.parse_args()
    work = Work("mnist", widths=(500, 500), epochs=1, threads=options.threads)
    timing = Timing(work, tuple(options.arms), tuple(options.batch_sizes), options.rounds, options.block_s)

    def ask(request: dict[str, Any]) -> Any:
        print("timing" if "model" in request else "training a model for one epoch", file=sys.stderr)
        return child("predict_ways", request, options.threads, **({} if "model" in request else {"tries": 1}))

    found = taken(timing, child=ask)
    for size, result in found["batch_size"].items():
        rows = [
            (name, spread_text([1e3 * s for s in rounds], 3), f"{int(size) / result['call_s_median'][name]:,.0f}")
            for name, rounds in result["call_s"].items()
        ]
        print(table((f"batch {size}", "ms a call", "images/s"), rows), end="\n\n")
        print(table(("", "ratio of times"), [(n, spread_text(r)) for n, r in result["ratio"].items()]), end="\n\n")
    print(f"labels unlike the first arm's, of {found['samples']}:", found["labels_unlike_the_first"])
    print("test accuracy:", found["accuracy"])
    print(f"cores busy elsewhere: {found['cores_elsewhere']:.2f}")
    write_results("predict-latency", options, found, PACKAGES)


if __name__ == "__main__":
    main()
