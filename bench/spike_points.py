"""Ways to predict, measured over rows: accuracy, workload, and an estimate of the energy.

Shape letters: N samples, C classes, R = N * C rows, H neurons of a layer.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spike_metrics import Workload, workload_of_spikes

from ffedge.spikes import SpikingNetwork
from ffedge.spikes.network import Floats
from ffedge.spikes.simulate import Decisions, Run, samples_at_once

MARGINS = (0.02, 0.05, 0.1, 0.2)
LOSS = 0.001  # of accuracy that a chosen margin may cost
ROWS = 250
ENERGY: dict[str, Any] = {
    "process": "45 nm, 0.9 V",
    "source": "M. Horowitz, Computing's energy problem, ISSCC 2014, figure 1.1.9: "
    "float32 multiply 3.7 pJ and add 0.9 pJ",
    "mac_pj": 4.6,
    "ac_pj": 0.9,
}
Ints = NDArray[np.int64]


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
    picojoules = workload.effective_macs * ENERGY["mac_pj"] + workload.effective_acs * ENERGY["ac_pj"]
    return float(picojoules / 1000)


class Tally:
    """What was found so far on the rows of one way to predict."""

    def __init__(self) -> None:
        self._hits, self._samples, self._steps = 0, list[int](), list[int]()
        self._workloads = list[Workload]()

    def add(self, workload: Workload, label: Ints, true: Ints, taken: Ints | None = None) -> None:
        """Count some samples: their labels [N] as given and as they are, and the timesteps taken [N], if any."""
        self._hits += int((label == true).sum())
        self._workloads.append(workload)
        self._samples.append(len(true))
        self._steps.append(len(true) if taken is None else int(taken.sum()))

    def point(self, name: str, kind: str, reset: str | None = None, margin: float | None = None) -> Point:
        """Return the means of all samples."""

        def mean(field: str) -> float:
            weights = self._steps if field == "activation_sparsity" else self._samples
            return float(np.average([getattr(w, field) for w in self._workloads], weights=weights))

        means = {f.name: mean(f.name) for f in dataclasses.fields(Workload)}
        means |= {"footprint_bytes": self._workloads[0].footprint_bytes}
        workload, count = Workload(**means), sum(self._samples)
        timesteps = sum(self._steps) / count if kind == "spikes" else 0.0
        return Point(name, kind, reset, margin, timesteps, self._hits / count, workload, energy_nj(workload))


def points_of_spikes(network: SpikingNetwork, timesteps: Sequence[int], split: Any, rows: Ints) -> list[Point]:
    """Measure fixed timesteps and early decisions with each of `MARGINS`, in one run of the rows."""
    fixed = {count: Tally() for count in sorted(timesteps)}
    early = {margin: Tally() for margin in MARGINS}
    for raw, true in blocks(split, rows, samples_at_once(network)):
        run, most = Run(network, raw), max(timesteps)
        ends = {margin: _End(network, len(raw), margin) for margin in MARGINS}
        while run.timesteps < most:
            run.step()
            scores = run.scores()
            for end in ends.values():
                end.see(run, scores, last=run.timesteps == most)
            if tally := fixed.get(run.timesteps):
                taken = np.full(len(raw), run.timesteps)
                tally.add(workload_of_spikes(network, raw, run.counts, taken), scores.argmax(axis=1), true, taken)
        for margin, end in ends.items():
            early[margin].add(workload_of_spikes(network, raw, end.counts, end.taken), end.label, true, end.taken)
    name = f"spikes, reset {network.reset}"
    return [
        *(tally.point(f"{name}, {n} timesteps", "spikes", network.reset) for n, tally in fixed.items()),
        *(tally.point(f"{name}, margin {m:g}", "spikes", network.reset, m) for m, tally in early.items()),
    ]


def chosen_margin(network: SpikingNetwork, timesteps: Sequence[int], split: Any, rows: Ints) -> float:
    """Choose the smallest margin that loses at most `LOSS` against all timesteps."""
    found = points_of_spikes(network, timesteps, split, rows)
    whole = next(p for p in found if p.margin is None and p.timesteps == max(timesteps))
    good = [p.margin for p in found if p.margin and p.accuracy >= whole.accuracy - LOSS]
    return min(good, default=max(MARGINS))


def blocks(split: Any, rows: NDArray[np.int64], size: int = ROWS) -> Iterator[tuple[Any, Any]]:
    """Yield samples and labels of some rows, so many at once."""
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield split.inputs.take(part), split.labels[part]


class _End:
    """What each of N samples was when its decision first held, or at the last timestep.

    Attributes
    ----------
    label, taken : [N] the label, and the timesteps.
    counts : spikes of each layer's neurons [R, H].
    """

    def __init__(self, network: SpikingNetwork, samples: int, margin: float) -> None:
        self._decisions, self._open = Decisions(samples, margin), np.ones(samples, np.bool_)
        self._rows = network.rows_a_sample
        self.label, self.taken = np.zeros(samples, np.int64), np.zeros(samples, np.int64)
        self.counts = [np.zeros((samples * self._rows, len(layer.b)), np.float32) for layer in network.layers]

    def see(self, run: Run, scores: Floats, *, last: bool) -> None:
        """Take the scores [N, C] of one more timestep."""
        now = self._open & (self._decisions.see(scores) | last)
        if not now.any():
            return
        self._open &= ~now
        self.label[now], self.taken[now] = scores[now].argmax(axis=1), run.timesteps
        rows = np.repeat(now, self._rows)
        for kept, counts in zip(self.counts, run.counts, strict=True):
            kept[rows] = counts[rows]
