"""Processor seconds of an epoch, and a prediction's time, by how a class is told; beside backprop of an MLP as wide.

    python bench/class_goodness.py

Each kind trains 784-500-500 as `ffedge train` does, ``tried`` greedily as it comes, the others interleaved; backprop in
torch and in onnxruntime has a head of ten units beyond. Every training is a process of its own on one thread
(`time_arms`), and they take turns: an epoch's processor seconds, all layers', are those of the training over its
epochs, and ratios are taken within a round. Predictions are timed block by block in turns, of the model as trained and
of its form ``exact``. Accuracy is measured by bench/accuracy.py.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from common import PATHS, arguments, table, write_results
from epoch_arms import WIDTHS

import ffedge
from ffedge.compare.child import ask
from ffedge.compare.inference import BASELINE, backprop_mlp, rounds, session_way, summary
from ffedge.compare.runner import medians, ratios, thread_variables
from ffedge.export.clock import plain_session
from ffedge.export.forms import Forms
from ffedge.export.source import read_trained

KINDS = {
    "tried": {},
    "groups": {"class_goodness": "groups", "schedule": "interleaved"},
    "readout": {"class_goodness": "readout", "schedule": "interleaved"},
}
ARMS = {"tried": "ffedge", "groups": "ffedge-groups", "readout": "ffedge-readout"}  # of time_arms
ARMS |= {"backprop": "backprop", "backprop-ort": "backprop-ort"}


def main() -> None:
    """Train each kind, time all, and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--epoch-rounds", type=int, default=5)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--block-s", type=float, default=0.2)
    chosen = parser.parse_args()
    dataset = ffedge.load(chosen.data)
    test = dataset.test or dataset.train
    epoch_cpu_s = epochs(chosen)
    samples, ways = next(test.inputs.blocks(len(test.labels))), {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            model, exact = trained(kind, Path(folder) / kind)
            for name, content in ((f"ffedge-{kind}", model), (f"ffedge-{kind}-exact", exact)):
                ways[name] = session_way(plain_session(content, 1))
        mlp = backprop_mlp(ffedge.Predictor(model))
        ways[BASELINE] = session_way(plain_session(mlp, 1))
    request = {"rounds": chosen.rounds, "block_s": chosen.block_s}
    timed = {str(size): summary(rounds(ways, samples, size, request)) for size in chosen.batch_sizes}
    print(table(["kind", *BESIDE, *(f"times the MLP's at {n}" for n in chosen.batch_sizes)], rows(epoch_cpu_s, timed)))
    found = {"epoch_cpu_s": epoch_cpu_s, "epoch_cpu_s_median": medians(epoch_cpu_s), "batch_size": timed}
    write_results("class-goodness", chosen, found, ["onnxruntime", "torch", "onnxsim"])


def epochs(chosen: argparse.Namespace) -> dict[str, list[float]]:
    """Return the processor seconds of an epoch of each arm, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in ARMS}
    for turn in range(chosen.epoch_rounds):
        for name, arm in ARMS.items():
            request = {"name": arm, "data": chosen.data, "epochs": chosen.epochs, "seed": turn}
            answer = ask("time_arms", request, thread_variables(1) | PATHS)
            seconds[name].append(answer["points"][-1][0] / chosen.epochs)
    return seconds


def trained(kind: str, folder: Path) -> tuple[bytes, bytes]:
    """Train on a few rows; return the model and its form ``exact``, whose time does not ask what they have learnt."""
    spec = ffedge.Spec.make(widths=WIDTHS, epochs=1, threads=1, **KINDS[kind])
    run = ffedge.train(spec, "mnist-mini", folder, force=True)
    return run.model.read_bytes(), Forms(read_trained(folder), None).make("exact").model


BESIDE = ("processor s an epoch", "over torch's", "over onnxruntime's")


def rows(epoch_cpu_s: dict[str, list[float]], timed: dict[str, Any]) -> list[list[str]]:
    """Return the rows of the table: an epoch, and a prediction of the model and its exact form over the MLP's."""
    seconds = medians(epoch_cpu_s)
    over = medians(ratios(epoch_cpu_s, [(name, other) for name in KINDS for other in ("backprop", "backprop-ort")]))
    return [
        [
            kind,
            f"{seconds[kind]:.2f}",
            *(f"{over[f'{kind} / {other}']:.2f}" for other in ("backprop", "backprop-ort")),
            *(
                " / ".join(f"{1 / one['ratio_median'][f'{BASELINE} / {name}']:.2f}" for name in names(kind))
                for one in timed.values()
            ),
        ]
        for kind in KINDS
    ]


def names(kind: str) -> tuple[str, str]:
    """Return the arms of a kind."""
    return f"ffedge-{kind}", f"ffedge-{kind}-exact"


if __name__ == "__main__":
    main()
