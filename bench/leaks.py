"""Accuracy of one trained network with what chips have: neurons that leak (LIF, CubaLIF), and weights of few bits.

    python bench/leaks.py                    # a few minutes
    python bench/leaks.py --data mnist-mini --widths 100,100 --epochs 4

Some chips and simulators have no neuron without a leak, or none without a synapse (CubaLIF). Each time constant is
exported and calibrated on training rows for the same timesteps. Weights of few bits are those of IF, rounded to whole
numbers times one number a layer, the largest weight to the largest of these; biases and potentials stay float32. The
test rows are read once, in ffedge's simulator.
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from common import arguments, table, write_results

from ffedge.data import load
from ffedge.predict.evaluation import evaluate
from ffedge.predict.predictor import Predictor
from ffedge.spec import Spec
from ffedge.spikes import SpikingPredictor, read
from ffedge.spikes.evaluate import evaluate_spikes
from ffedge.spikes.export import export_nir
from ffedge.spikes.network import SpikingNetwork
from ffedge.training.train import train


def main() -> None:
    """Train once, export with each time constant, evaluate, and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--widths", default="200,200")
    parser.add_argument("--class-goodness", choices=("tried", "groups"), default="groups")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--timesteps", type=int, default=64)
    parser.add_argument("--leaks", nargs="+", type=int, default=[16, 64, 256])
    parser.add_argument("--bits", nargs="+", type=int, default=[8, 6, 4, 3], help="of a weight, its sign included")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    widths = tuple(map(int, options.widths.split(",")))
    spec = Spec.make(
        "spiking", widths=widths, class_goodness=options.class_goodness, epochs=options.epochs, seed=options.seed
    )
    dataset, rows, accuracy = load(options.data), [], {}
    with tempfile.TemporaryDirectory() as folder:
        run = train(spec, options.data, Path(folder) / "run").path
        accuracy["model.onnx"] = evaluate(Predictor(run / "model.onnx"), dataset).accuracy
        kinds = [("IF", None, False)]
        kinds += [(kind, leak, kind == "CubaLIF") for kind in ("LIF", "CubaLIF") for leak in options.leaks]
        for kind, leak, based in kinds:
            path = Path(folder) / "a.nir"
            export_nir(run, path, timesteps=options.timesteps, leak=leak, current_based=based, force=True)
            found = evaluate_spikes(SpikingPredictor(path), dataset, [options.timesteps])
            accuracy[f"{kind} {leak or ''}".strip()] = found.accuracy[0]
            for bits in options.bits if kind == "IF" else ():
                few = evaluate_spikes(SpikingPredictor(rounded(read(path), bits)), dataset, [options.timesteps])
                accuracy[f"IF, {bits} bits"] = few.accuracy[0]
    rows = [[name, f"{100 * share:.2f}"] for name, share in accuracy.items()]
    print(table(["neurons (time constant in timesteps)", "accuracy %"], rows))
    write_results("leaks", options, accuracy, ["onnxruntime", "nir"], preset="spiking")


def rounded(network: SpikingNetwork, bits: int) -> SpikingNetwork:
    """Return a network whose weights take so many bits."""
    most, layers = 2 ** (bits - 1) - 1, []
    for layer in network.layers:
        step = np.abs(layer.W).max() / most
        layers.append(dataclasses.replace(layer, W=(np.round(layer.W / step) * step).astype(np.float32)))
    return dataclasses.replace(network, layers=tuple(layers))


if __name__ == "__main__":
    main()
