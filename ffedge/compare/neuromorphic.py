"""A network as numbers, as spikes, and a backprop MLP of the same widths: accuracy by NeuroBench's metrics.

Each is trained here, on the same rows with the same seed and as many epochs, a layer's or the MLP's. Operations come
first, energy is an estimate.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.compare import figures
from ffedge.compare.spike_points import (
    Point,
    Tally,
    blocks,
    chosen_margin,
    constants_of_energy,
    points_of_spikes,
)
from ffedge.data import Dataset, load
from ffedge.data.stream import OtherRows
from ffedge.errors import FfedgeError
from ffedge.network import InputFacts
from ffedge.predict.predictor import Predictor
from ffedge.spec import Spec
from ffedge.spikes import SpikingNetwork, check_installed, read
from ffedge.spikes.export import export_nir
from ffedge.spikes.metrics import workload_of_mlp, workload_of_model
from ffedge.training.folder import StoredRun
from ffedge.training.loop import split_rows
from ffedge.training.run import train

TIMESTEPS = (8, 16, 32, 64, 128, 256, 512)
QUICK_TIMESTEPS = (8, 32, 128)
CALIBRATED = 256  # timesteps for which thresholds are chosen
CHOOSING = 1000  # held-out rows by which a margin is chosen
CAVEATS = (
    "The first layer's product with the input, a constant current, is counted once a sample; NeuroBench's package, "
    "which runs a network as it is given, would count it in each timestep and for each class.",
    "Energy is operations times a constant for each, of a process of 2014: an order of magnitude, not a measurement.",
    "It leaves out neuron updates (each adds its current and compares in every timestep; at an AC's price they may "
    "cost as much as the ACs), memory traffic, which costs more than arithmetic on most chips, clocks, leakage "
    "and the host that reads the goodness.",
    "Forward-Forward tries every class: its operations are those of all classes; the MLP runs once. It learns for so "
    "many epochs in each layer, the MLP in all.",
)


@dataclass(frozen=True)
class Choice:
    """What to compare.

    Attributes
    ----------
    rows : of the test split that are measured; None takes all.
    """

    out: Path
    data: str = "mnist"
    data_dir: str | None = None
    widths: tuple[int, ...] = (500, 500)
    variant: str = "ff"
    epochs: int = 15
    batch_size: int = 256
    rows: int | None = None
    seed: int = 0
    threads: int = 2
    timesteps: tuple[int, ...] = TIMESTEPS


def compare(choice: Choice, say: Callable[[str], None] = lambda _: None) -> tuple[list[Point], list[str]]:
    """Train, export and measure; return the points, and what was left out.

    Raises
    ------
    FfedgeError
        The data or the folder cannot be used, or nir is not installed.
    """
    check_installed()
    points, notes = list[Point](), list[str]()
    directory = Path(choice.data_dir) if choice.data_dir else None
    dataset = load(choice.data, directory)
    split = dataset.test or dataset.train
    rows = np.arange(min(len(split.labels), choice.rows or len(split.labels)))
    run = choice.out / "run"
    say("training")
    _train(choice, run, directory)
    trained = StoredRun.read(run)
    recipe, facts, layers = trained.recipe, trained.facts, trained.layers()
    held_out, learnt = split_rows(len(dataset.train.labels), recipe)
    choosing = held_out[:CHOOSING] if len(held_out) else learnt[np.arange(min(CHOOSING, len(learnt)))]
    if not len(held_out):
        notes.append("no rows were held out: margins were chosen on rows that were learnt from")
    say("model.onnx")
    predictor, tally = Predictor(run / "model.onnx", choice.threads), Tally()
    networks = [_exported(choice, run, reset, directory) for reset in ("subtract", "zero")]
    for raw, true in blocks(split, rows):
        scaled = networks[0].scaled(raw)  # by the facts of the input, which both have
        tally.add(workload_of_model(recipe, facts, layers, raw, scaled), predictor.predict(raw).label, true)
    points.append(tally.point("model.onnx", "numbers"))
    for network in networks:
        say(f"spikes, reset {network.reset}")
        margin = chosen_margin(network, choice.timesteps, dataset.train, choosing)
        found = points_of_spikes(network, choice.timesteps, split, rows)
        points += [dataclasses.replace(p, chosen=p.margin == margin) if p.margin else p for p in found]
    say("backprop")
    try:
        points.append(_backprop(choice, facts, dataset, split, rows, learnt))
    except ModuleNotFoundError:
        notes.append("backprop was left out: it needs torch. Run: pip install 'ffedge[torch]'")
    return points, notes


def document(choice: Choice, points: Sequence[Point], notes: Sequence[str]) -> dict[str, Any]:
    """Return everything that was chosen and found."""
    settings = {k: v for k, v in dataclasses.asdict(choice).items() if k not in ("out", "data_dir")}
    return {
        "settings": settings | {"preset": "spiking", "calibrated_timesteps": CALIBRATED},
        "energy": constants_of_energy(),
        "caveats": list(CAVEATS),
        "notes": list(notes),
        "points": [dataclasses.asdict(point) for point in points],
    }


def draw(points: Sequence[Point], out: Path) -> list[Path]:
    """Draw accuracy over synaptic operations; FfedgeError where matplotlib is not installed."""
    plt = figures.pyplot()
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    groups = [("subtract", False), ("subtract", True), ("zero", False), ("zero", True)]
    for reset, early in groups:
        own = [p for p in points if p.reset == reset and (p.margin is not None) == early]
        label = f"spikes, reset {reset}, {'early decision' if early else 'fixed timesteps'}"
        axes.plot([_operations(p) for p in own], [100 * p.accuracy for p in own], "s--" if early else "o-", label=label)
    for kind, marker in (("numbers", "*"), ("backprop", "D")):
        own = [p for p in points if p.kind == kind]
        axes.plot(
            [_operations(p) for p in own],
            [100 * p.accuracy for p in own],
            marker,
            markersize=11,
            linestyle="none",
            label={"numbers": "model.onnx (MACs)", "backprop": "backprop MLP (MACs)"}[kind],
        )
    axes.set_xscale("log")
    axes.set_xlabel("effective synaptic operations of a sample (MACs + ACs)")
    axes.set_ylabel("accuracy, %")
    axes.set_ylim(bottom=max(80.0, min(100 * p.accuracy for p in points)))
    axes.legend(fontsize="small")
    return figures.saved(figure, out)


def _operations(point: Point) -> float:
    return point.workload.effective_macs + point.workload.effective_acs


def _train(choice: Choice, run: Path, directory: Path | None) -> None:
    spec = Spec.make(
        "spiking",
        variant=choice.variant,
        widths=choice.widths,
        epochs=choice.epochs,
        batch_size=choice.batch_size,
        seed=choice.seed,
        threads=choice.threads,
    )
    resume = (run / "checkpoint").is_dir()
    train(spec, choice.data, run, data_dir=directory, resume=resume)


def _exported(choice: Choice, run: Path, reset: Any, directory: Path | None) -> SpikingNetwork:
    path = choice.out / f"{reset}.nir"
    export_nir(run, path, timesteps=CALIBRATED, reset=reset, data_dir=directory, force=True)
    return read(path)


def _backprop(
    choice: Choice, facts: InputFacts, dataset: Dataset, split: Any, rows: NDArray[np.int64], learnt: OtherRows
) -> Point:
    """Train an MLP on the rows that ffedge learnt from, with Adam at 0.001, falling linearly to 0, and measure it."""
    import torch

    from ffedge.reference.backprop import Backprop

    torch.set_num_threads(choice.threads)
    net = Backprop(choice.widths, facts, optimizer="adam", rate=0.001, form="plain", seed=choice.seed)
    rng, count = np.random.default_rng(choice.seed), len(learnt)
    for epoch in range(choice.epochs):
        order = rng.permutation(count)
        for start in range(0, count, choice.batch_size):
            part = learnt[np.sort(order[start : start + choice.batch_size])]
            raw = dataset.train.inputs.take(part).reshape(len(part), -1)
            net.learn(raw, dataset.train.labels[part].astype(np.int64), 1 - (epoch + start / count) / choice.epochs)
    linear = [m for m in net.layers.modules() if isinstance(m, torch.nn.Linear)]
    weights = [layer.weight.detach().numpy() for layer in linear]
    biases = [layer.bias.detach().numpy() for layer in linear]
    tally = Tally()
    offset, scale = (np.array(values, np.float32) for values in (facts.offset, facts.scale))
    for raw, true in blocks(split, rows):
        x = (raw.reshape(len(raw), -1).astype(np.float32) - offset) * scale
        workload, labels = workload_of_mlp(weights, biases, x)
        tally.add(workload, labels, true)
    return tally.point("backprop MLP", "backprop")


def write(choice: Choice, points: Sequence[Point], notes: Sequence[str]) -> tuple[list[Path], str | None]:
    """Write neuromorphic.json and the figure; return the files, and why there is no figure."""
    path = choice.out / "neuromorphic.json"
    path.write_text(json.dumps(document(choice, points, notes), indent=1) + "\n")
    try:
        return [path, *draw(points, choice.out / "neuromorphic")], None
    except FfedgeError as error:
        return [path], str(error)
