"""A network as numbers, as spikes, and a backprop MLP of the same widths: accuracy by NeuroBench's metrics.

Each is trained here, on the same rows with the same seed and epochs; operations come first, energy is an estimate.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.compare import figures
from ffedge.data import Dataset, load
from ffedge.errors import FfedgeError
from ffedge.network import InputFacts
from ffedge.runtime import Predictor
from ffedge.spec import Spec
from ffedge.spikes import SpikingNetwork, read
from ffedge.spikes.export import export_nir
from ffedge.spikes.metrics import Workload, workload_of_mlp, workload_of_model, workload_of_spikes
from ffedge.spikes.simulate import Decisions, Run, samples_at_once
from ffedge.training.folder import trained_network
from ffedge.training.loop import split_rows
from ffedge.training.run import train

TIMESTEPS = (8, 16, 32, 64, 128, 256, 512)
QUICK_TIMESTEPS = (8, 32, 128)
CALIBRATED = 256  # timesteps for which thresholds are chosen
MARGINS = (0.02, 0.05, 0.1, 0.2)
LOSS = 0.001  # of accuracy, on held-out rows, that the chosen margin may cost
CHOOSING = 1000  # held-out rows by which a margin is chosen
ROWS = 250
CAVEATS = (
    "Energy is operations times a constant for each, of a process of 2014: an order of magnitude, not a measurement.",
    "It leaves out memory traffic, which costs more than arithmetic on most chips, what neurons do themselves "
    "(each adds its current and compares in every timestep), clocks, leakage and the host that reads the goodness.",
    "Forward-Forward tries every class: its operations are those of all classes; the MLP runs once.",
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


@dataclass(frozen=True)
class Point:
    """One way to predict: its accuracy (0 to 1), its workload, and the energy of a sample.

    Attributes
    ----------
    kind : ``numbers`` (model.onnx), ``spikes`` or ``backprop``.
    timesteps : mean of a sample; 0 where there are none.
    chosen : by held-out rows, among the margins.
    """

    name: str
    kind: str
    reset: str | None
    margin: float | None
    timesteps: float
    accuracy: float
    workload: Workload
    energy_nj: float
    chosen: bool = False


def energy_nj(workload: Workload) -> float:
    """Estimate the energy of a sample's synaptic operations, in nJ."""
    constants = constants_of_energy()
    picojoules = workload.effective_macs * constants["mac_pj"] + workload.effective_acs * constants["ac_pj"]
    return float(picojoules / 1000)


def constants_of_energy() -> dict[str, Any]:
    """Return the constants and where they come from."""
    found: dict[str, Any] = json.loads((files("ffedge.compare") / "energy.json").read_text())
    return found


def compare(choice: Choice, say: Callable[[str], None] = lambda _: None) -> tuple[list[Point], list[str]]:
    """Train, export and measure; return the points, and what was left out.

    Raises
    ------
    FfedgeError
        The data or the folder cannot be used, or nir is not installed.
    """
    directory = Path(choice.data_dir) if choice.data_dir else None
    dataset = load(choice.data, directory)
    split = dataset.test or dataset.train
    rows = np.arange(min(len(split.labels), choice.rows or len(split.labels)))
    run = choice.out / "run"
    say("training")
    _train(choice, run, directory)
    spec, facts, layers, _ = trained_network(run)
    held_out, learnt = split_rows(len(dataset.train.labels), spec)
    choosing = (held_out if len(held_out) else learnt[np.arange(len(learnt))])[:CHOOSING]
    points, notes = [], list[str]()
    say("model.onnx")
    predictor, hits, parts = Predictor(run / "model.onnx", choice.threads), 0, list[Part]()
    network = _exported(choice, run, "subtract", directory)
    for raw, true in _blocks(split, rows):
        hits += int((predictor.predict(raw).label == true).sum())
        parts.append((workload_of_model(spec, facts, layers, raw, network.scaled(raw)), len(raw), len(raw)))
    points.append(_point("model.onnx", "numbers", parts, hits))
    for reset in ("subtract", "zero"):
        say(f"spikes, reset {reset}")
        network = _exported(choice, run, reset, directory)
        margin = _margin(network, choice, dataset.train, choosing)
        points += [
            dataclasses.replace(point, chosen=point.margin == margin) if point.margin else point
            for point in _spikes(network, choice, split, rows)
        ]
    say("backprop")
    try:
        points.append(_backprop(choice, facts, dataset, split, rows))
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


Part = tuple[Workload, int, int]  # of some samples, their number, and their timesteps in all


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


def _blocks(split: Any, rows: NDArray[np.int64], size: int = ROWS) -> Iterator[tuple[Any, Any]]:
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield split.inputs.take(part), split.labels[part]


def _spikes(network: SpikingNetwork, choice: Choice, split: Any, rows: NDArray[np.int64]) -> list[Point]:
    """Measure fixed timesteps and early decisions in one run of the rows."""
    fixed = {count: _Sum() for count in sorted(choice.timesteps)}
    early = {margin: _Sum() for margin in MARGINS}
    for raw, true in _blocks(split, rows, samples_at_once(network)):
        run, most = Run(network, raw), max(choice.timesteps)
        ends = {margin: _End(network, raw, margin) for margin in MARGINS}
        while run.timesteps < most:
            run.step()
            scores = run.scores()
            for end in ends.values():
                end.see(run, scores, last=run.timesteps == most)
            if found := fixed.get(run.timesteps):
                found.add(network, raw, true, scores.argmax(axis=1), run.counts, np.full(len(raw), run.timesteps))
        for margin, end in ends.items():
            early[margin].add(network, raw, true, end.label, end.counts, end.taken)
    name = f"spikes, reset {network.reset}"
    return [
        *(_point(f"{name}, {n} timesteps", "spikes", s.parts, s.hits, network.reset) for n, s in fixed.items()),
        *(_point(f"{name}, margin {m:g}", "spikes", s.parts, s.hits, network.reset, m) for m, s in early.items()),
    ]


class _Sum:
    """What was found on the rows so far, of one way to decide."""

    def __init__(self) -> None:
        self.hits, self.parts = 0, list[Part]()

    def add(
        self,
        network: SpikingNetwork,
        raw: Any,
        true: Any,
        label: NDArray[np.int64],
        counts: list[NDArray[np.float32]],
        taken: NDArray[np.int64],
    ) -> None:
        self.hits += int((label == true).sum())
        self.parts.append((workload_of_spikes(network, raw, counts, taken), len(raw), int(taken.sum())))


class _End:
    """The label, spikes and timesteps of each of some samples when its decision first held, or at the last timestep."""

    def __init__(self, network: SpikingNetwork, raw: Any, margin: float) -> None:
        self._decisions, self._open = Decisions(len(raw), margin), np.ones(len(raw), np.bool_)
        self._classes = network.facts.n_classes
        self.label, self.taken = np.zeros(len(raw), np.int64), np.zeros(len(raw), np.int64)
        rows = len(raw) * self._classes
        self.counts = [np.zeros((rows, len(layer.b)), np.float32) for layer in network.layers]

    def see(self, run: Run, scores: NDArray[np.float32], *, last: bool) -> None:
        now = self._open & (self._decisions.see(scores) | last)
        if not now.any():
            return
        self._open &= ~now
        self.label[now], self.taken[now] = scores[now].argmax(axis=1), run.timesteps
        rows = np.repeat(now, self._classes)
        for kept, counts in zip(self.counts, run.counts, strict=True):
            kept[rows] = counts[rows]


def _margin(network: SpikingNetwork, choice: Choice, split: Any, rows: NDArray[np.int64]) -> float:
    """Choose the smallest margin that loses at most `LOSS` on the rows kept for choosing."""
    found = _spikes(network, choice, split, rows)
    whole = next(p for p in found if p.timesteps == max(choice.timesteps))
    good = [p.margin for p in found if p.margin and p.accuracy >= whole.accuracy - LOSS]
    return min(good, default=max(MARGINS))


def _backprop(choice: Choice, facts: InputFacts, dataset: Dataset, split: Any, rows: NDArray[np.int64]) -> Point:
    """Train an MLP with Adam at 0.001, falling linearly to 0, and measure it."""
    import torch

    from ffedge.reference.backprop import Backprop

    torch.set_num_threads(choice.threads)
    net = Backprop(choice.widths, facts, optimizer="adam", rate=0.001, form="plain", seed=choice.seed)
    rng, count = np.random.default_rng(choice.seed), len(dataset.train.labels)
    for epoch in range(choice.epochs):
        order = rng.permutation(count)
        for start in range(0, count, choice.batch_size):
            part = np.sort(order[start : start + choice.batch_size])
            raw = dataset.train.inputs.take(part).reshape(len(part), -1)
            net.learn(raw, dataset.train.labels[part].astype(np.int64), 1 - (epoch + start / count) / choice.epochs)
    linear = [m for m in net.layers.modules() if isinstance(m, torch.nn.Linear)]
    weights = [layer.weight.detach().numpy() for layer in linear]
    biases = [layer.bias.detach().numpy() for layer in linear]
    hits, parts = 0, list[Part]()
    offset, scale = (np.array(values, np.float32) for values in (facts.offset, facts.scale))
    for raw, true in _blocks(split, rows):
        x = (raw.reshape(len(raw), -1).astype(np.float32) - offset) * scale
        workload, labels = workload_of_mlp(weights, biases, x)
        hits += int((labels == true).sum())
        parts.append((workload, len(raw), len(raw)))
    return _point("backprop MLP", "backprop", parts, hits)


def _point(
    name: str, kind: str, parts: list[Part], hits: int, reset: str | None = None, margin: float | None = None
) -> Point:
    samples = np.array([count for _, count, _ in parts])
    steps = np.array([total for _, _, total in parts])

    def mean(field: str) -> float:
        weights = steps if field == "activation_sparsity" else samples
        return float(np.average([getattr(w, field) for w, _, _ in parts], weights=weights))

    means = {f.name: mean(f.name) for f in dataclasses.fields(Workload)}
    workload = Workload(**means | {"footprint_bytes": parts[0][0].footprint_bytes})  # type: ignore[arg-type]
    timesteps = float(steps.sum() / samples.sum()) if kind == "spikes" else 0.0
    return Point(name, kind, reset, margin, timesteps, hits / int(samples.sum()), workload, energy_nj(workload))


def write(choice: Choice, points: Sequence[Point], notes: Sequence[str]) -> tuple[list[Path], str | None]:
    """Write neuromorphic.json and the figure; return the files, and why there is no figure."""
    path = choice.out / "neuromorphic.json"
    path.write_text(json.dumps(document(choice, points, notes), indent=1) + "\n")
    try:
        return [path, *draw(points, choice.out / "neuromorphic")], None
    except FfedgeError as error:
        return [path], str(error)
