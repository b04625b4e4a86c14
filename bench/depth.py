"""Test accuracy by depth: ffedge beside backpropagation, tuned with the same care, over seeds.

    python bench/depth.py --data mnist fashion-mnist --depths 1 2 4 8 16 --seeds 0 1 2

A layer of ffedge never sees the layers above it (greedy, listening to those below at most), so a net of 16 layers holds
the shallower ones of the same seed, bit for bit: one is trained, and each depth is the sum of its first layers.
Backprop is trained anew at each depth, in torch, on inputs scaled as ffedge's, with input dropout 0.2, label smoothing
0.05, AdamW, decay 0.05, and a rate that rises for 200 steps and falls linearly to 0. ``--split`` trains both sides on
50,000 of the training rows and measures on the other 10,000: by that choices are made. Results are kept as they come,
so that a run can be stopped and begun again.
"""

import argparse
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Lines, arguments, scaling_of, table, write_results
from numpy.typing import NDArray

Array = NDArray[Any]
SPLIT_ROWS = 50_000
BLOCK = 500
DROPOUT, SMOOTHING, DECAY, BATCH, WARM_UP = 0.2, 0.05, 0.05, 256, 200


def main() -> None:
    """Measure what is not there yet, and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--depths", nargs="+", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--variant", default="acff")
    parser.add_argument("--epochs", type=int, default=20, help="of each layer; of backprop's whole net")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--split", action="store_true", help="measure on rows of the training set")
    parser.add_argument("--arms", nargs="+", default=["ffedge", "backprop"], choices=["ffedge", "backprop"])
    parser.add_argument("--name", help="of the result file; depth, or depth-split, where none is given")
    parser.add_argument("--kept", type=Path, default=Path("depth.jsonl"), help="results so far, a line each")
    options = parser.parse_args()
    lines = Lines(options.kept)
    runs = [
        lines.take(
            {"data": data, "arm": arm, "seed": seed, "depth": depth}, partial(measure, options, data, arm, seed, depth)
        )
        for data in options.data
        for seed in options.seeds
        for arm in options.arms
        for depth in ([max(options.depths)] if arm == "ffedge" else options.depths)
    ]
    print(table(["data, arm", *(f"{depth} layers" for depth in options.depths)], rows(options, runs)))
    name = options.name or ("depth-split" if options.split else "depth")
    write_results(name, options, runs, ["onnxruntime", "torch"])


def measure(options: argparse.Namespace, data: str, arm: str, seed: int, depth: int) -> dict[str, Any]:
    """Train one net; return its accuracies by depth, and seconds."""
    x, y, x_test, y_test = splits(data, split=options.split)
    began = time.perf_counter()
    if arm == "ffedge":
        found = ffedge_accuracies(x, y, x_test, y_test, seed, depth, options)
    else:
        found = {"accuracy": {str(depth): backprop_accuracy(x, y, x_test, y_test, seed, depth, options)}}
    return found | {"seconds": time.perf_counter() - began}


def splits(data: str, *, split: bool) -> tuple[Array, Array, Array, Array]:
    """Return the training and test images and labels, or those of a split of the training set."""
    import ffedge

    found = ffedge.load(data)
    x, y = found.train.inputs.take(np.arange(len(found.train.labels))), np.asarray(found.train.labels)
    if not split:
        assert found.test is not None
        return x, y, found.test.inputs.take(np.arange(len(found.test.labels))), np.asarray(found.test.labels)
    order = np.random.default_rng(12345).permutation(len(y))
    kept, held = order[:SPLIT_ROWS], order[SPLIT_ROWS:]
    return x[kept], y[kept], x[held], y[held]


def ffedge_accuracies(
    x: Array, y: Array, x_test: Array, y_test: Array, seed: int, depth: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Train as `ffedge train` does; return the accuracy of the first layers' sum at each depth, and of each layer."""
    import ffedge

    spec = ffedge.Spec.make(
        variant=options.variant,
        widths=(options.width,) * depth,
        epochs=options.epochs,
        seed=seed,
        threads=options.threads,
        holdout=0.0,
        cache="none",  # else the noise of a deep network differs from a shallower one's
    )
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.npz"
        np.savez(data, x_train=x, y_train=y)
        run = ffedge.train(spec, data, Path(folder) / "run")
        predictor = ffedge.Predictor(run.model, threads=options.threads)
        parts = [x_test[start : start + BLOCK] for start in range(0, len(x_test), BLOCK)]
        goodness = np.concatenate([predictor.predict(part, layers=True).goodness for part in parts])
    sums = goodness.cumsum(axis=1)
    each = [float((goodness[:, layer].argmax(axis=1) == y_test).mean()) for layer in range(depth)]
    return {
        "accuracy": {str(d): float((sums[:, d - 1].argmax(axis=1) == y_test).mean()) for d in range(1, depth + 1)},
        "layer_accuracy": each,
        "spec": run.report.spec,
    }


def backprop_accuracy(
    x: Array, y: Array, x_test: Array, y_test: Array, seed: int, depth: int, options: argparse.Namespace
) -> float:
    """Train an MLP of the same widths by backprop; return its accuracy."""
    import torch

    import ffedge

    torch.set_num_threads(options.threads)
    torch.manual_seed(seed)
    offset, scale = scaling_of(ffedge.load([(x, y)]))
    inputs, tested = (torch.from_numpy((a.reshape(len(a), -1) - offset) * scale) for a in (x, x_test))
    labels = torch.from_numpy(y.astype(np.int64))
    net = backprop_net((inputs.shape[1], *[options.width] * depth, int(y.max()) + 1))
    train_backprop(net, inputs, labels, backprop_rate(depth), options.epochs)
    net.eval()
    with torch.no_grad():
        found = torch.cat([net(part).argmax(1) for part in tested.split(BLOCK)]).numpy()
    return float((found == y_test).mean())


def backprop_net(sizes: Sequence[int], *, residual: bool = False) -> Any:
    """Return an MLP in torch; `residual`: with batch norm in each layer, and a skip past each as wide as its input."""
    import torch

    class Hidden(torch.nn.Module):
        """A hidden layer, normed, and beside it what it read."""

        def __init__(self, inputs: int, units: int) -> None:
            super().__init__()
            self.linear, self.norm = torch.nn.Linear(inputs, units), torch.nn.BatchNorm1d(units)
            self._skips = inputs == units

        def forward(self, x: Any) -> Any:
            """Return its activity [N, H]."""
            y = torch.relu(self.norm(self.linear(x)))
            return x + y if self._skips else y

    *hidden, last = itertools.pairwise(sizes)
    linears = [(torch.nn.Linear(*size), torch.nn.ReLU()) for size in hidden]
    parts = [Hidden(*size) for size in hidden] if residual else [part for pair in linears for part in pair]
    net = torch.nn.Sequential(torch.nn.Dropout(DROPOUT), *parts, torch.nn.Linear(*last))
    for module in [module for module in net[:-1].modules() if isinstance(module, torch.nn.Linear)]:
        torch.nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        torch.nn.init.zeros_(module.bias)
    return net


def train_backprop(net: Any, inputs: Any, labels: Any, rate: float, epochs: int) -> None:
    """Train a net on scaled inputs [N, I] and labels [N]."""
    import torch
    from torch.nn import functional

    parameters = list(net.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, fused=True)
    batches = len(labels) // BATCH
    for step in range(steps := batches * epochs):
        if step % batches == 0:
            order = torch.randperm(len(labels))
        chosen = order[step % batches * BATCH :][:BATCH]
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs[chosen]), labels[chosen], label_smoothing=SMOOTHING).backward()
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0 - step / steps, (step + 1) / WARM_UP)
        optimizer.step()


def backprop_rate(depth: int) -> float:
    """Return the rate for a depth: 1e-3 up to 4 layers, then as 1 / sqrt(depth)."""
    return 1e-3 / math.sqrt(max(1.0, depth / 4))


def rows(options: argparse.Namespace, runs: list[dict[str, Any]]) -> list[list[str]]:
    """Return a row of percents for each data set and arm: mean (each seed)."""
    result = []
    for data in options.data:
        for arm in options.arms:
            own = [run for run in runs if (run["data"], run["arm"]) == (data, arm)]
            cells = []
            for depth in options.depths:
                each = [100 * run["accuracy"][str(depth)] for run in own if str(depth) in run["accuracy"]]
                cells.append(f"{statistics.mean(each):.2f} ({' '.join(f'{value:.2f}' for value in each)})")
            result.append([f"{data}, {arm}", *cells])
    return result


if __name__ == "__main__":
    main()
