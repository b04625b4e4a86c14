"""Networks of many kinds, and data for them: what a model, its checks and its other forms are tried on."""

from itertools import product

import numpy as np
from toys import GROUPS, READOUT, clusters

DATA = {"floats": clusters(), "bytes": clusters(inputs=20, uint8=True, border=True)}
NETWORKS = [  # what each has beside `toys.small_spec`
    {"label_mode": mode, "norm": norm, "label_layers": layers}
    for mode, norm, layers in product(("overlay", "concat"), ("unit", "rms", "layer", "fixed"), ("first", "all"))
] + [
    {"goodness": "sum"},
    {"norm": "fixed", "bound": 0.9},
    {"skip": "add", "widths": (10, 10, 10, 8), "label_layers": "all"},
    {"skip": "add", "widths": (10, 10, 10), "norm": "layer"},
    {"skip": "add", "widths": (10, 10, 10), "norm": "unit"},
    {"input_norm": "unit"},
    {"input_norm": "rms"},
    {"input_norm": "unit", "label_mode": "concat"},
    {"input_norm": "rms", "label_mode": "concat"},
    {"label_scale": "max"},
    {"prediction_weights": "collaborative"},
    {"prediction_weights": "collaborative", "scope": "previous", "alpha": "mean"},
    {"variant": "ff", "prediction_weights": "collaborative"},
    {"variant": "ff", "prediction_weights": "deeper", "widths": (10, 9, 8)},
    {"widths": (9,)},
]
ONE_PASS = [
    GROUPS,
    {**GROUPS, "widths": (13, 10, 9), "norm": "unit", "prediction_weights": "collaborative"},
    {**GROUPS, "norm": "fixed", "bound": 0.9},
    {**GROUPS, "norm": "layer", "skip": "add", "widths": (10, 10, 10), "input_norm": "rms"},
    {**GROUPS, "widths": (9,)},
    {**READOUT, "prediction_weights": "deeper"},
    {**READOUT, "norm": "fixed", "prediction_weights": "collaborative"},
    {**READOUT, "skip": "add", "widths": (10, 10, 8), "bound": 0.9, "input_norm": "unit"},
]


def rows_of(data, count=None):
    """Return raw training rows, all of them or a count, from the first again after the last."""
    inputs = data.train.inputs
    return inputs.take(np.arange(len(inputs)) if count is None else np.arange(count) % len(inputs))
