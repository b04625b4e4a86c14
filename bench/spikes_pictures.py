"""Convolutions as spikes: accuracy by timesteps, beside the model.onnx of the same run.

    OMP_NUM_THREADS=1 ffedge train --preset spiking --variant ff --data cifar-10 --size 32 \
        --widths 32c3a2,64c3a2,200 --schedule interleaved --shift 2 --mirror 0.5 --epochs 6 \
        --engine torch --precision bfloat16 --chunk-size 64 --out runs/cifar
    python bench/spikes_pictures.py runs/cifar

The run is exported for the most timesteps that are asked for, calibrated on training rows. 1,000 rows are measured,
spread evenly over the test split, as ffedge's simulator takes a while for each.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, table, write_results

from ffedge.data import Dataset, Split, load
from ffedge.data.rows import ArrayRows
from ffedge.data.stream import spread_evenly
from ffedge.predict.evaluation import evaluate
from ffedge.predict.predictor import Predictor
from ffedge.spikes import SpikingPredictor
from ffedge.spikes.evaluate import evaluate_spikes
from ffedge.spikes.export import export_nir
from ffedge.training.folder import StoredRun


def main() -> None:
    """Evaluate a run as numbers and as spikes, and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("run", type=Path, help="folder of a run of --preset spiking")
    parser.add_argument("--timesteps", nargs="+", type=int, default=[8, 16, 32, 64, 128])
    parser.add_argument("--resets", nargs="+", choices=("subtract", "zero"), default=["subtract"])
    parser.add_argument("--rows", type=int, default=1000)
    options = parser.parse_args()
    stored = StoredRun.read(options.run)
    rows = some(load(stored.source, reading=stored.reading), options.rows)
    model = evaluate(Predictor(options.run / "model.onnx", 1), rows)
    found: dict[str, Any] = {"model.onnx": model.accuracy, "layers": model.layer_accuracy}
    lines = [["model.onnx", "", f"{100 * model.accuracy:.1f}"]]
    for reset in options.resets:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.nir"
            export_nir(options.run, path, timesteps=max(options.timesteps), reset=reset)
            spikes = evaluate_spikes(SpikingPredictor(path), rows, options.timesteps)
        found[reset] = {"accuracy": spikes.accuracy, "layers": spikes.layer_accuracy}
        each = zip(options.timesteps, spikes.accuracy, strict=True)
        lines += [[f"spikes, reset {reset}", str(steps), f"{100 * share:.1f}"] for steps, share in each]
    print(table(["as", "timesteps", "accuracy, %"], lines))
    write_results("spikes-pictures", options, found, ["onnxruntime", "nir"], spec=stored.recipe.to_dict())


def some(dataset: Dataset, count: int) -> Dataset:
    """Return a data set of some test rows, spread evenly over all."""
    assert dataset.test is not None
    places = spread_evenly(len(dataset.test.labels), count)
    test = Split(ArrayRows(dataset.test.inputs.take(places)), np.asarray(dataset.test.labels[places]))
    return Dataset(dataset.name, dataset.train, test, dataset.classes, dataset.sha256)


if __name__ == "__main__":
    main()
