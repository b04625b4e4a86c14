"""A network as numbers, as spikes by timesteps and early decisions, and a backprop MLP, by NeuroBench's metrics.

    python bench/spikes.py                                                   # an hour or two
    python bench/spikes.py --class-goodness groups --resets subtract --timesteps 8 16 32 64 \\
        --calibrated 64 --epochs 8
    python bench/spikes.py --data mnist-mini --widths 100,100 --epochs 8 --rows 200 --timesteps 8 32 128

With groups one run tells all classes. Each is trained here, on the same rows with the same seed and as many epochs, a
layer's or the MLP's. The preset and the factors of the thresholds were chosen on training rows; the test rows are read
once. Operations count; energy is an estimate (`CAVEATS`).
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, pyplot, save_figure, settings_of, table, write_results
from spike_metrics import workload_of_mlp, workload_of_model
from spike_points import ENERGY, Point, Tally, blocks, chosen_margin, points_of_spikes

from ffedge.compare.arms import ARMS
from ffedge.compare.backprop import build
from ffedge.data import Dataset, load
from ffedge.data.stream import split_rows
from ffedge.network import InputFacts
from ffedge.predict.predictor import Predictor
from ffedge.recipe import Recipe
from ffedge.spec import Spec
from ffedge.spikes import read
from ffedge.spikes.export import export_nir
from ffedge.training.folder import StoredRun
from ffedge.training.train import train

TIMESTEPS = (8, 16, 32, 64, 128, 256, 512)
CHOOSING = 1000  # held-out rows by which a margin is chosen
CAVEATS = (
    "The first layer's product with the input, a constant current, is counted once a sample; NeuroBench's package, "
    "which runs a network as it is given, would count it in each timestep and for each class.",
    "Energy is operations times a constant for each, of a process of 2014: an order of magnitude, not a measurement.",
    "It leaves out neuron updates (each adds its current and compares in every timestep; at an AC's price they may "
    "cost as much as the ACs), memory traffic, which costs more than arithmetic on most chips, clocks, leakage "
    "and the host that reads the goodness.",
    "Where Forward-Forward tries every class, its operations are those of all classes; the MLP, and groups, run once. "
    "It learns for so many epochs in each layer, the MLP in all.",
    "The offset of the inputs is folded into the first bias, of the MLP too: an input of 0 costs nothing.",
)
COLUMNS = ("timesteps", "accuracy %", "MACs", "ACs", "updates", "activation sparsity", "energy nJ")


def main() -> None:
    """Compare on each data set and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--widths", type=lambda text: tuple(map(int, text.split(","))), default=(500, 500))
    parser.add_argument("--variant", default="ff")
    parser.add_argument("--class-goodness", choices=("tried", "groups"), default="tried")
    parser.add_argument("--resets", nargs="+", choices=("subtract", "zero"), default=["subtract", "zero"])
    parser.add_argument("--calibrated", type=int, default=256, help="timesteps for which thresholds are chosen")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rows", type=int, help="of the test split (default: all)")
    parser.add_argument("--timesteps", nargs="+", type=int, default=list(TIMESTEPS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("bench-spikes"), help="folder of the runs; whole ones stay")
    options = parser.parse_args()
    found = {}
    for data in options.data:
        points = compare(data, options)
        rows = [
            [
                p.name,
                f"{p.timesteps:.1f}",
                f"{100 * p.accuracy:.2f}",
                *(f"{getattr(p.workload, n):.0f}" for n in ("effective_macs", "effective_acs", "neuron_updates")),
                f"{p.workload.activation_sparsity:.4f}",
                f"{p.energy_nj:.0f}",
            ]
            for p in points
        ]
        print(table([data, *COLUMNS], rows), flush=True)
        draw(points, options.work / f"spikes-{Path(data).stem}.svg")
        settings = settings_of(options) | {
            "data": data,
            "preset": "spiking",
            "calibrated_timesteps": options.calibrated,
        }
        plain = [dataclasses.asdict(point) for point in points]
        found[data] = {"settings": settings, "energy": ENERGY, "caveats": CAVEATS, "points": plain}
    print("\n".join(CAVEATS))
    name = "spikes" if options.class_goodness == "tried" else f"spikes-{options.class_goodness}"
    write_results(name, options, found, ["onnxruntime", "torch", "nir"])


def compare(data: str, options: argparse.Namespace) -> list[Point]:
    """Train, export and measure."""
    dataset, folder = load(data), options.work / Path(data).stem
    split = dataset.test or dataset.train
    rows = np.arange(min(len(split.labels), options.rows or len(split.labels)))
    run = trained(data, folder / "run", options)
    stored = StoredRun.read(run)
    recipe, facts, layers = stored.recipe, stored.facts, stored.layers()
    held_out, _ = split_rows(len(dataset.train.labels), recipe)
    predictor, tally = Predictor(run / "model.onnx", options.threads), Tally()
    networks = []
    for reset in options.resets:
        path = folder / f"{reset}.nir"
        export_nir(run, path, timesteps=options.calibrated, reset=reset, force=True)
        networks.append(read(path))
    say(data, "model.onnx")
    for raw, true in blocks(split, rows):
        scaled = networks[0].scaled(raw)  # by the facts of the input, which both have
        tally.add(workload_of_model(recipe, facts, layers, raw, scaled), predictor.predict(raw).label, true)
    points = [tally.point("model.onnx", "numbers")]
    for network in networks:
        say(data, f"spikes, reset {network.reset}")
        margin = chosen_margin(network, options.timesteps, dataset.train, held_out[:CHOOSING])
        found = points_of_spikes(network, options.timesteps, split, rows)
        points += [dataclasses.replace(p, chosen=p.margin == margin) if p.margin else p for p in found]
    say(data, "backprop")
    return [*points, backprop_point(facts, dataset, split, rows, recipe, options)]


def say(data: str, text: str) -> None:
    print(f"{data}: {text}", file=sys.stderr, flush=True)


def trained(data: str, run: Path, options: argparse.Namespace) -> Path:
    """Train a network that spikes can carry; a run that stands there goes on."""
    say(data, "training")
    names = ("class_goodness", "variant", "widths", "epochs", "batch_size", "seed", "threads")
    spec = Spec.make("spiking", **{name: getattr(options, name) for name in names})
    return train(spec, data, run, resume=(run / "checkpoint").is_dir()).path


def backprop_point(
    facts: InputFacts, dataset: Dataset, split: Any, rows: Any, recipe: Recipe, options: argparse.Namespace
) -> Point:
    """Train an MLP on the rows that ffedge learnt from, with Adam at 0.001, falling linearly to 0, and measure it."""
    import torch

    _, learnt = split_rows(len(dataset.train.labels), recipe)
    net = build(ARMS["backprop-adam"], recipe.network.dense_units, facts, 0.001, recipe.train)
    rng, count, size = np.random.default_rng(options.seed), len(learnt), options.batch_size
    for epoch in range(options.epochs):
        order = rng.permutation(count)
        for start in range(0, count, size):
            part = learnt[np.sort(order[start : start + size])]
            raw = dataset.train.inputs.take(part).reshape(len(part), -1)
            net.learn(raw, dataset.train.labels[part].astype(np.int64), 1 - (epoch + start / count) / options.epochs)
    linear = [m for m in net.layers.modules() if isinstance(m, torch.nn.Linear)]
    weights = [layer.weight.detach().numpy() for layer in linear]
    biases = [layer.bias.detach().numpy() for layer in linear]
    tally = Tally()
    offset, scale = (np.array(values, np.float32) for values in (facts.offset, facts.scale))
    biases[0] = biases[0] - weights[0] @ np.broadcast_to(offset * scale, weights[0].shape[1])
    for raw, true in blocks(split, rows):
        workload, labels = workload_of_mlp(weights, biases, raw.reshape(len(raw), -1) * scale)
        tally.add(workload, labels, true)
    return tally.point("backprop MLP", "backprop")


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw accuracy over synaptic operations."""
    figure, axes = pyplot().subplots(figsize=(8, 5), layout="constrained")
    for reset, early in (("subtract", False), ("subtract", True), ("zero", False), ("zero", True)):
        own = [p for p in points if p.reset == reset and (p.margin is not None) == early]
        label = f"spikes, reset {reset}, {'early decision' if early else 'fixed timesteps'}"
        axes.plot(*_curve(own), "s--" if early else "o-", label=label)
    for kind, marker, label in (("numbers", "*", "model.onnx (MACs)"), ("backprop", "D", "backprop MLP (MACs)")):
        own = [p for p in points if p.kind == kind]
        axes.plot(*_curve(own), marker, markersize=11, linestyle="none", label=label)
    axes.set_xscale("log")
    axes.set_xlabel("effective synaptic operations of a sample (MACs + ACs)")
    axes.set_ylabel("accuracy, %")
    axes.set_ylim(bottom=max(80.0, min(100 * p.accuracy for p in points)))
    axes.legend(fontsize="small")
    save_figure(figure, path)


def _curve(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    operations = [p.workload.effective_macs + p.workload.effective_acs for p in points]
    return operations, [100 * p.accuracy for p in points]


if __name__ == "__main__":
    main()
