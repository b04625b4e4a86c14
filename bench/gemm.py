"""How near training comes to what the machine's matrix product can do: the products it needs, and how fast one is.

Shape letters: N samples of a chunk, M labels tried for each, D inputs of a layer, H units.
"""

import time

import numpy as np

from ffedge.engine.session import Kernel, Value
from ffedge.recipe import Recipe

ROUNDS = 8


def gemm_flop(recipe: Recipe, layer: int, inputs: int, classes: int) -> float:
    """Return the floating-point operations that a sample's training in a layer needs in matrix products.

    Layers that have learnt are kept (`TrainSpec.cache`) and cost nothing. A layer that is listened to and comes later
    runs forward. The label's products are left out.

    Parameters
    ----------
    recipe : with greedy training.
    inputs, classes : of a sample; with an overlay the first layer sees so many inputs less.
    """
    widths, tried = recipe.network.dense_units, 1 + recipe.train.n_negatives
    overlay = recipe.network.label_mode != "concat"
    above = [k for k, weight in enumerate(recipe.rule.alpha[layer]) if weight and k > layer]

    def product(at: int) -> float:
        if at == 0:  # all labels share it
            return 2.0 * (inputs - classes * overlay) * widths[0]
        return 2.0 * tried * widths[at - 1] * widths[at]

    own = 2 * product(layer) if layer == 0 else 2 * product(layer) + (product(layer) if above else 0.0)
    return own + sum(product(k) for k in range(layer + 1, max(above, default=layer) + 1))


def gemm_flop_per_s(rows: int, inputs: int, units: int, threads: int) -> float:
    """Measure a float32 product [rows, inputs] x [inputs, units] in onnxruntime; by the process's own time."""
    from ffedge.onnx.graph import GraphBuilder, model_bytes

    g = GraphBuilder("gemm")
    g.op("Gemm", g.input("x", (rows, inputs)), g.input("W", (inputs, units)), out="y")
    g.output("y", (rows, units))
    kernel = Kernel(model_bytes(g.graph), threads)
    rng = np.random.default_rng(0)
    values = {"x": Value(rng.random((rows, inputs), np.float32)), "W": Value(rng.random((inputs, units), np.float32))}
    result = {"y": Value(np.zeros((rows, units), np.float32))}
    best = float("inf")
    for _ in range(ROUNDS):
        began, count = time.process_time(), 0
        while time.process_time() - began < 0.02:
            kernel.run(values, result)
            count += 1
        best = min(best, (time.process_time() - began) / count)
    return 2.0 * rows * inputs * units / best
