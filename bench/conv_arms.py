"""The arms of `conv_memory`: six convolutions of ffedge, and the same ones with a linear head in torch by backprop.

``backprop`` normalises by the statistics of its batch. In micro-batches these would be of one or eight pictures, and
gradients would not add up to the batch's: there, statistics are frozen, as ffedge's are with ``--statistics stored``.
Frozen ones make the gradient of any micro-batches the same but for rounding.
"""

import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import ffedge
from ffedge.compare.child import serve
from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.layers.conv import WORDS
from ffedge.meter import PeakMeter, rss_bytes
from ffedge.pages import release_libraries, return_large_blocks

CLASSES, SIDE, COLOURS = 10, 32, 3
TINY_ROWS = 32
FFEDGE: dict[str, dict[str, Any]] = {
    "ffedge-greedy": {"schedule": "greedy"},
    "ffedge-interleaved": {"schedule": "interleaved"},
    "ffedge-stored-8": {"schedule": "greedy", "statistics": "stored", "chunk_size": 8},
    "ffedge-stored-1": {"schedule": "greedy", "statistics": "stored", "chunk_size": 1},
}
MICRO = {"backprop": 0, "backprop-micro-8": 8, "backprop-micro-1": 1}  # samples at once, 0: the batch


def noise(rows: int, seed: int = 0) -> tuple[Any, Any]:
    """Return pictures [N, 32, 32, 3] of bytes and labels [N]: what they show changes neither memory nor time."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (rows, SIDE, SIDE, COLOURS), np.uint8), np.arange(rows) % CLASSES


def train_ffedge(name: str, x: Any, y: Any, widths: tuple[str, ...], batch_size: int, seed: int) -> list[float]:
    """Train a run of one epoch of each layer, as ``ffedge train`` does; return its seconds, the end's left out."""
    names = tuple(map(str, range(CLASSES)))
    asked = FFEDGE[name] | {"widths": widths, "batch_size": batch_size, "seed": seed}
    spec = ffedge.Spec.make(**asked, threads=1, epochs=1, holdout=0.0, weight_decay=0.0)
    with tempfile.TemporaryDirectory() as folder:
        run = ffedge.train(spec, Dataset("noise", Split(ArrayRows(x), y), None, names, ""), Path(folder) / "run")
        lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [sum(line["seconds"] for line in lines)]


def convolutional(micro: int) -> Any:
    """Return the class of a network in torch that takes its batches in parts of `micro` samples (0: whole)."""
    import torch
    from torch import Tensor, nn

    from ffedge.compare.backprop import Backprop

    class Convolutional(Backprop):
        """Convolutions, batch normalisation, relu, pooling; a linear head."""

        def made_layers(self, widths: tuple[Any, ...], facts: Any) -> list[nn.Module]:
            """Return the hidden layers and the head."""
            inputs, side, result = COLOURS, SIDE, list[nn.Module]()
            for word in widths:
                found = WORDS.fullmatch(word)
                assert found is not None
                channels, kernel, pool = int(found[1]), int(found[2]), int(found[5] or 1)
                parts = [nn.Conv2d(inputs, channels, kernel, padding="same", bias=False), nn.BatchNorm2d(channels)]
                pooled = [nn.MaxPool2d(pool)] if pool > 1 else []
                result.append(nn.Sequential(*parts, nn.ReLU(), *pooled))
                inputs, side = channels, side // pool
            head = nn.Sequential(nn.Flatten(), nn.Linear(inputs * side * side, facts.n_classes))
            for layer in result:
                layer.train(not micro)
            return [*result, head]

        def logits(self, raw: Tensor) -> Tensor:
            """Return the head's outputs [N, C] of rows [N, I]."""
            return super().logits(raw.view(-1, SIDE, SIDE, COLOURS).permute(0, 3, 1, 2).contiguous())

        def backward(self, x: Tensor, true: Tensor, samples: int) -> float:
            """Add the gradients part by part; return the loss."""
            size = micro or samples
            parts = zip(x.split(size), true.split(size), strict=True)
            return sum(super(Convolutional, self).backward(*part, samples) for part in parts)

    torch.set_num_threads(1)
    return Convolutional


def train_backprop(name: str, x: Any, y: Any, widths: tuple[str, ...], batch_size: int, seed: int) -> list[float]:
    """Train for one epoch; return its seconds."""
    from ffedge.compare.arms import Arm
    from ffedge.network import InputFacts

    facts = InputFacts(x.shape[1:], "uint8", tuple(map(str, range(CLASSES))), offset=(127.5,), scale=(1 / 64,))
    net = convolutional(MICRO[name])(Arm(name, "adam"), widths, facts, 1e-3, seed)
    order, began = np.random.default_rng(seed).permutation(len(y)), time.perf_counter()
    for rows in np.split(order, range(batch_size, len(order), batch_size)):
        net.learn(x[rows].reshape(len(rows), -1), y[rows])
    return [time.perf_counter() - began]


def run_arm(request: dict[str, Any]) -> dict[str, Any]:
    """Run one arm in this process: ``name``, ``widths``, ``rows``, ``batch_size``, ``seed``.

    Memory is measured as `ffedge.compare.memory.measure` does: ``import_bytes`` is resident once a small net of the
    kind has been trained twice and the rows stand in memory, ``rss_peak_bytes`` the most from then on.
    """
    name, widths, rows = request["name"], tuple(request["widths"]), request["rows"]
    train = train_ffedge if name in FFEDGE else train_backprop
    small = tuple(f"{math.ceil(int(word.split('c')[0]) / 16)}c{word.split('c')[1]}" for word in widths)
    return_large_blocks()
    for _ in range(2):
        release_libraries()
        train(name, *noise(TINY_ROWS), small, TINY_ROWS // 2, request["seed"])
    x, y = noise(rows, request["seed"])
    imported, meter = rss_bytes(), PeakMeter()
    meter.start()
    seconds = train(name, x, y, widths, request["batch_size"], request["seed"])
    return {"import_bytes": imported, "rss_peak_bytes": max(meter.peak(), meter.whole_bytes), "seconds": seconds[0]}


if __name__ == "__main__":
    serve(run_arm)
