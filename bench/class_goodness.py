"""Processor seconds of an epoch, and a prediction's time, by how a class is told; beside a plain MLP as wide.

    python bench/class_goodness.py --data mnist --epochs 1 --threads 1

Each kind trains as `ffedge train` does, ``tried`` greedily as it comes, the others interleaved. An epoch of all layers
is measured as the processor seconds that a training of more epochs takes beyond one of one epoch, so that other work on
the machine counts for little. Predictions are timed block by block in turns, and ratios taken within a round: of the
model as trained, and of its form ``exact``. Accuracy is measured by bench/accuracy.py.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from common import arguments, table, write_results

import ffedge
from ffedge.compare.inference import BASELINE, backprop_mlp, rounds, session_way, summary
from ffedge.export.clock import plain_session
from ffedge.export.forms import Forms
from ffedge.export.source import read_trained

KINDS = {
    "tried": {},
    "groups": {"class_goodness": "groups", "schedule": "interleaved"},
    "readout": {"class_goodness": "readout", "schedule": "interleaved"},
}


def main() -> None:
    """Train each kind, time all, and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--block-s", type=float, default=0.2)
    parser.add_argument("--widths", type=int, nargs="+", default=[500, 500])
    chosen = parser.parse_args()
    dataset = ffedge.load(chosen.data)
    test = dataset.test or dataset.train
    samples, ways, epoch_cpu_s = next(test.inputs.blocks(len(test.labels))), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            epoch_cpu_s[kind], model, exact = trained(kind, chosen, Path(folder) / kind)
            for name, content in ((f"ffedge-{kind}", model), (f"ffedge-{kind}-exact", exact)):
                ways[name] = session_way(plain_session(content, chosen.threads))
        mlp = backprop_mlp(ffedge.Predictor(model))
        ways[BASELINE] = session_way(plain_session(mlp, chosen.threads))
    request = {"rounds": chosen.rounds, "block_s": chosen.block_s}
    timed = {str(size): summary(rounds(ways, samples, size, request)) for size in chosen.batch_sizes}
    print(
        table(
            ["kind", "processor s an epoch", *(f"times the MLP's at {n}" for n in chosen.batch_sizes)],
            rows(epoch_cpu_s, timed),
        )
    )
    write_results("class-goodness", chosen, {"epoch_cpu_s": epoch_cpu_s, "batch_size": timed}, ["onnxruntime"])


def trained(kind: str, chosen: argparse.Namespace, folder: Path) -> tuple[float, bytes, bytes]:
    """Train twice; return the processor seconds of an epoch, the model and its form ``exact``."""
    spent = []
    for epochs in (1, 1 + chosen.epochs):
        spec = ffedge.Spec.make(widths=tuple(chosen.widths), epochs=epochs, threads=chosen.threads, **KINDS[kind])
        began = time.process_time()
        run = ffedge.train(spec, chosen.data, folder, force=True)
        spent.append(time.process_time() - began)
    exact = Forms(read_trained(folder), None).make("exact").model
    return (spent[1] - spent[0]) / chosen.epochs, run.model.read_bytes(), exact


def rows(epoch_cpu_s: dict[str, float], timed: dict[str, Any]) -> list[list[str]]:
    """Return the rows of the table: a prediction's seconds over the MLP's, of the model and of its exact form."""
    return [
        [
            kind,
            f"{seconds:.2f}",
            *(
                " / ".join(f"{1 / one['ratio_median'][f'{BASELINE} / {name}']:.2f}" for name in names(kind))
                for one in timed.values()
            ),
        ]
        for kind, seconds in epoch_cpu_s.items()
    ]


def names(kind: str) -> tuple[str, str]:
    """Return the arms of a kind."""
    return f"ffedge-{kind}", f"ffedge-{kind}-exact"


if __name__ == "__main__":
    main()
