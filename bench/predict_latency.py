"""Latency and throughput of prediction, MNIST 784-500-500: ffedge's model file beside torch and beside a backprop MLP.

What ``ffedge bench --inference`` measures (`ffedge.compare.inference`), with a watch on what else the machine does: a
child that was disturbed runs again. README.md says how to read the result.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from common import HERE, child, table, write_results

from ffedge.compare.arms import Work
from ffedge.compare.inference import BATCH_SIZES, BLOCK_S, ROUNDS, Choice, compare, sentences, summary
from ffedge.compare.rounds import spread_text

PACKAGES = ("torch", "onnx")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=list(BATCH_SIZES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--block-s", type=float, default=BLOCK_S, help="least seconds of one arm's turn")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the result file")
    return parser


def report(size: str, result: dict[str, Any]) -> str:
    """Lay out milliseconds, throughput and ratios."""
    rows = [
        (name, spread_text([1e3 * s for s in rounds], 3), f"{int(size) / result['call_s_median'][name]:,.0f}")
        for name, rounds in result["call_s"].items()
    ]
    times = table((f"batch {size}", "ms a call", "images/s"), rows)
    return f"{times}\n\n{table(('', 'ratio of times'), [(n, spread_text(r)) for n, r in result['ratio'].items()])}\n"


def main() -> None:
    options = arguments().parse_args()
    settings = {key: value for key, value in vars(options).items() if key != "out"}
    work = Work("mnist", widths=(500, 500), epochs=1, threads=options.threads)
    choice = Choice(work, batch_sizes=tuple(options.batch_sizes), rounds=options.rounds, block_s=options.block_s)

    def ask(request: dict[str, Any]) -> Any:
        print("timing" if "model" in request else "training a model for one epoch", file=sys.stderr)
        return child("ffedge.compare", request, options.threads, **({} if "model" in request else {"tries": 1}))

    found = compare(choice, child=ask)
    sizes = {size: summary(seconds) for size, seconds in found["call_s"].items()}
    for size, values in sizes.items():
        print(report(size, values))
    print("\n".join(sentences(found)))
    print(f"labels unlike the first arm's, of {found['samples']}:", found["labels_unlike_the_first"])
    print("test accuracy:", found["accuracy"])
    print(f"cores busy elsewhere: {found['cores_elsewhere']:.2f}")
    rest = {key: value for key, value in found.items() if key != "call_s"}
    print(write_results("predict-latency", settings, rest | {"batch_size": sizes}, options.out, PACKAGES).name)


if __name__ == "__main__":
    main()
