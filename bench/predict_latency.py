"""Latency and throughput of prediction, MNIST 784-500-500: ffedge's model file beside torch and beside a backprop MLP.

A model is trained for one epoch in a process of its own; another process then times all arms, block by block in turns
(A B C ... A B C ...), on the same test images, the batch changing from call to call. Ratios are taken within a round.
What an arm takes as its input is ready in memory: raw uint8 for the ONNX models, which scale inside; scaled float32 for
torch, which is kind to it. README.md says how to read the result.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import HERE, child, medians, ratios, spread, table, write_results

PACKAGES = ("torch", "onnx")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--block-s", type=float, default=0.2, help="least seconds of one arm's turn")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the result file")
    return parser


def summary(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Return the rounds, medians, and how many times faster each ffedge arm is."""
    ours = [name for name in seconds if name.startswith("ffedge")]
    faster = ratios(seconds, [(other, mine) for mine in ours for other in seconds if other not in ours])
    return {
        "call_s": seconds,
        "call_s_median": medians(seconds),
        "ratio": faster,
        "ratio_median": medians(faster),
    }


def report(size: str, result: dict[str, Any]) -> str:
    """Lay out milliseconds, throughput and ratios."""
    rows = [
        (name, spread([1e3 * s for s in rounds], 3), f"{int(size) / statistics.median(rounds):,.0f}")
        for name, rounds in result["call_s"].items()
    ]
    times = table((f"batch {size}", "ms a call", "images/s"), rows)
    return f"{times}\n\n{table(('', 'times faster'), [(n, spread(r)) for n, r in result['ratio'].items()])}\n"


def main() -> None:
    options = arguments().parse_args()
    settings = {key: value for key, value in vars(options).items() if key != "out"}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        print("training a model for one epoch", file=sys.stderr)
        child("predict_arms", {"run": str(run)}, options.threads, tries=1)
        model = run / "model.onnx"
        settings["model_bytes"] = model.stat().st_size
        print("timing", file=sys.stderr)
        result = child("predict_arms", settings | {"model": str(model)}, options.threads)
    sizes = {size: summary(seconds) for size, seconds in result.pop("call_s").items()}
    for size, values in sizes.items():
        print(report(size, values))
    print("labels unlike the torch loop's, of 10000:", result["labels_unlike_torch"])
    print("test accuracy:", result["accuracy"])
    print(f"cores busy elsewhere: {result['cores_elsewhere']:.2f}")
    path = write_results("predict-latency", settings, result | {"batch_size": sizes}, options.out, PACKAGES)
    print(path.name)


if __name__ == "__main__":
    main()
