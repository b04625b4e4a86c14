"""Backprop of the network that a preset for pictures chooses: the same layers, epochs, batches and augmented pictures.

    python bench/conv_backprop.py --data cifar-10 --size 32 --preset pictures-small --epochs 20 --seeds 0 1 2

Convolutions with batch normalisation, relu and pooling, and a linear head on what the last one passes on, in torch:
cross-entropy with ffedge's smoothing, AdamW with its rate, weight decay and cooldown, none of which was tuned for
backprop; products in bfloat16 where asked. The test set is read once a run, at its end.
"""

import argparse
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from common import Lines, arguments, table, write_results
from numpy.typing import NDArray
from torch import Tensor, nn

import ffedge
from ffedge.data import Dataset, Split
from ffedge.data.stream import Stream, split_rows
from ffedge.layers.conv import WORDS
from ffedge.network import InputFacts
from ffedge.pages import keep_freed_blocks
from ffedge.recipe import Recipe
from ffedge.resolve import resolve
from ffedge.training.facts import measure

BLOCK_ROWS = 500


def main() -> None:
    """Train every seed, and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--data", default="cifar-10")
    parser.add_argument("--size", type=int, help="side of the pictures of a folder")
    parser.add_argument("--preset", default="pictures-small")
    parser.add_argument("--widths", type=lambda text: tuple(text.split(",")), help="other layers than the preset's")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--held-out", action="store_true", help="test on held-out rows, to choose by")
    parser.add_argument("--name", default="conv-backprop", help="of the result file")
    parser.add_argument("--kept", type=Path, default=Path("conv-backprop.jsonl"), help="results so far, a line each")
    chosen = parser.parse_args()
    lines = Lines(chosen.kept)
    asked = {key: value for key, value in vars(chosen).items() if key not in ("seeds", "kept", "name", "out")}
    runs = [lines.take(asked | {"seed": seed}, partial(run, chosen, seed)) for seed in chosen.seeds]
    each = [100 * found["test_accuracy"] for found in runs]
    row = [chosen.data, f"{statistics.mean(each):.2f} ({' '.join(f'{value:.2f}' for value in each)})"]
    print(table(["data", "test accuracy %, mean (each seed)"], [row]))
    write_results(chosen.name, chosen, runs, ["torch"])


def run(chosen: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train once; return what it reached."""
    keep_freed_blocks()
    dataset = ffedge.load(chosen.data, reading=ffedge.Reading(size=(chosen.size, chosen.size) if chosen.size else None))
    widths = {} if chosen.widths is None else {"widths": chosen.widths}
    spec = ffedge.Spec.make(chosen.preset, epochs=chosen.epochs, seed=seed, **widths)
    facts = measure(dataset, spec.network.scaling)
    recipe = resolve(spec, facts, len(dataset.train.labels))
    held_out, began = split_rows(len(dataset.train.labels), recipe)[0], time.process_time()
    net = trained(recipe, facts, dataset, chosen.rate, half=chosen.precision == "bfloat16")
    seconds = time.process_time() - began
    split, rows = (dataset.train, held_out) if chosen.held_out or dataset.test is None else (dataset.test, None)
    return {
        "test_accuracy": accuracy(net, split, np.arange(len(split.labels)) if rows is None else rows),
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "layers": list(recipe.network.widths),
        "cpu_s": seconds,
    }


class Net(nn.Module):
    """Convolutions and a linear head, of raw rows [N, I]."""

    def __init__(self, recipe: Recipe, facts: InputFacts, *, half: bool) -> None:
        super().__init__()
        self._shape, self._half = facts.shape, half
        self._offset, self._scale = torch.tensor(facts.offset), torch.tensor(facts.scale)
        *sides, channels = facts.picture or (*facts.shape[:2], 1)
        layers: list[nn.Module] = []
        for word in recipe.network.widths:
            found = WORDS.fullmatch(str(word))
            if found is None or found[3] or found[4] == "a":
                raise ValueError(f"--widths: {word!r} must be a convolution of stride 1, pooled to the largest")
            made, kernel, pool = int(found[1]), int(found[2]), int(found[5] or 1)
            layers += [nn.Conv2d(channels, made, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(made)]
            layers += [nn.ReLU(), *([nn.MaxPool2d(pool)] if pool > 1 else [])]
            channels, sides = made, [side // pool for side in sides]
        self._layers = nn.Sequential(*layers, nn.Flatten()).to(memory_format=torch.channels_last)
        self._head = nn.Linear(channels * sides[0] * sides[1], facts.n_classes)

    def forward(self, raw: NDArray[Any]) -> Tensor:
        """Return the scores [N, C]."""
        x = (torch.from_numpy(raw).float() - self._offset) * self._scale
        picture = x.view(-1, *self._shape) if len(self._shape) == 3 else x.view(-1, *self._shape, 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            features = self._layers(picture.permute(0, 3, 1, 2))
        return self._head(features.float())


def trained(recipe: Recipe, facts: InputFacts, dataset: Dataset, rate: float, *, half: bool) -> Net:
    """Return a network that has learnt by backprop from the batches that ffedge's would get."""
    torch.manual_seed(recipe.train.seed)
    train, net = recipe.train, Net(recipe, facts, half=half)
    rows = split_rows(len(dataset.train.labels), recipe)[1]
    whole = recipe.with_train(chunk_size=train.batch_size).train  # batch normalisation goes by the batch
    stream = Stream(dataset.train.inputs, dataset.train.labels, rows, whole, facts.size)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=train.weight_decay, fused=True)
    steps = train.epochs * stream.batches
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * train.cooled(1.0 - step / steps)
        for chunk in stream.chunks(0, *divmod(step, stream.batches)):
            true = torch.from_numpy(chunk.labels)
            loss = F.cross_entropy(net(chunk.raw), true, label_smoothing=recipe.rule.smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
    return net


@torch.no_grad()
def accuracy(net: Net, split: Split, rows: NDArray[np.int64]) -> float:
    """Return the share of some rows that get their label."""
    net.eval()
    parts = np.array_split(rows, -(-len(rows) // BLOCK_ROWS))
    answers = (net(split.inputs.take(part).reshape(len(part), -1)).argmax(1).numpy() for part in parts)
    found = [answer == split.labels[part] for answer, part in zip(answers, parts, strict=True)]
    return float(np.concatenate(found).mean())


if __name__ == "__main__":
    main()
