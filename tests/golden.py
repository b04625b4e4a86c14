"""Trainings of every kind whose weights are held: the same spec, seed and rows give the same bits as when recorded.

``python tests/golden.py`` records them anew, which is right only where another result is wanted; say why in the commit.
Another processor or onnxruntime may round otherwise: `probe` tells, and then the weights are held to a tolerance.
"""

import dataclasses
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from toys import clusters

import ffedge
from ffedge.spec import Spec

RECORDED = Path(__file__).with_name("golden.json")
MODELS = Path(__file__).parents[1] / "models"
DIGITS = 20
IMAGES = {"inputs": 64, "uint8": True, "border": True, "rows": 400}
BASE = {"widths": (24, 16, 16), "epochs": 2, "batch_size": 48, "threads": 1, "holdout": 0.1}
ONE_RATE = {"rate": (0.005,), "slope": 2.0}  # whatever is tuned
RUNS = {  # name: preset, fields of the spec, kind of data
    "tuned": ("tuned", {}, "images"),
    "tuned-table": ("tuned", {}, "table"),
    "ff": ("tuned", {"variant": "ff"}, "images"),
    "fcff": ("tuned", {"variant": "fcff", "scope": "all"}, "images"),
    "paper": ("paper", {"epochs": 6, "batch_size": "full"}, "images"),
    "spiking": ("spiking", {}, "images"),
    "symmetric-momentum-layer": (
        "tuned",
        {"loss": "symmetric", "optimizer": "momentum", "norm": "layer", "skip": "none"},
        "table",
    ),
    "logistic-sgd-sum": (
        "tuned",
        {"loss": "logistic", "optimizer": "sgd", "goodness": "sum", "rate": (0.01,)},
        "images",
    ),
    "interleaved": ("tuned", {"schedule": "interleaved"}, "images"),
    "interleaved-all": ("tuned", {"schedule": "interleaved", "scope": "all", "alpha": "mean"}, "table"),
    "concat": ("tuned", {"label_mode": "concat"}, "images"),
    "input-rms-concat": ("tuned", {"label_mode": "concat", "input_norm": "rms"}, "table"),
    "input-unit": ("tuned", {"input_norm": "unit"}, "images"),
    "hard-sum": ("tuned", {"negatives": "hard-sum", "n_negatives": 3}, "images"),
    "fresh": ("tuned", {"negatives": "fresh"}, "images"),
    "fixed-cached": ("tuned", {"negatives": "fixed", "cache": "activations", "input_dropout": 0.0}, "images"),
    "hard-cached": ("tuned", {"cache": "activations", "input_dropout": 0.0}, "images"),
    "chunked-tiled": ("tuned", {"chunk_size": 20, "tile_bytes": 1024}, "images"),
    "chunked-file": ("tuned", {"chunk_size": 16, "memory_budget": "2GB", "moments": "file"}, "table"),
    "next-once-adam": (
        "tuned",
        {"scope": "next", "theta_placement": "once", "gamma_optimizer": "adam", "prediction_weights": "collaborative"},
        "images",
    ),
    "bound-first-label": ("tuned", {"bound": 3.0, "label_layers": "first", "norm": "unit"}, "table"),
    "one-layer": ("tuned", {"widths": (20,)}, "images"),
    "groups": ("tuned", {**ONE_RATE, "class_goodness": "groups"}, "images"),
    "groups-interleaved": (
        "tuned",
        {**ONE_RATE, "class_goodness": "groups", "schedule": "interleaved", "widths": (25, 17)},
        "table",
    ),
    "groups-cached": (
        "tuned",
        {**ONE_RATE, "class_goodness": "groups", "cache": "activations", "input_dropout": 0.0},
        "images",
    ),
    "groups-spiking": ("spiking", {**ONE_RATE, "class_goodness": "groups", "sparsity": 0.07}, "images"),
    "readout": ("tuned", {**ONE_RATE, "class_goodness": "readout"}, "images"),
    "readout-chunked-tiled": (
        "tuned",
        {**ONE_RATE, "class_goodness": "readout", "chunk_size": 20, "tile_bytes": 1024, "schedule": "interleaved"},
        "table",
    ),
    "shifted-decay-free": ("tuned", {"weight_decay": 0.0, "shift": 1, "shift_share": 0.5}, "pictures"),
}


def dataset(kind, seed=0):
    """Return rows of a kind; pictures are the images with two axes."""
    if kind == "table":
        return clusters(inputs=20, rows=400, seed=seed)
    data = clusters(**IMAGES, seed=seed)
    if kind == "images":
        return data
    pictures = data.train.inputs.take(np.arange(400)).reshape(-1, 8, 8)
    return ffedge.load([(pictures, data.train.labels)])


def spec_of(name):
    """Return the spec of a run; theta's placement is rounding alone beside the contrastive loss, and refused there."""
    preset, fields, _ = RUNS[name]
    asked = {field: value for field, value in (BASE | fields).items() if field != "theta_placement"}
    spec, placement = Spec.make(preset, **asked), fields.get("theta_placement", "per_layer")
    return dataclasses.replace(spec, rule=dataclasses.replace(spec.rule, theta_placement=placement))


def train(name, folder):
    """Train a run to its end and return its model file."""
    ffedge.train(spec_of(name), dataset(RUNS[name][2]), folder / name)
    return folder / name / "model.onnx"


def resumed(folder):
    """Stop a training in the middle of an epoch, go on, and return its model file."""
    out, asked = folder / "resumed", iter([False] * 11 + [True])
    try:
        ffedge.train(spec_of("tuned"), dataset("images"), out, stop=lambda: next(asked))
    except ffedge.FfedgeError:
        ffedge.train(spec_of("tuned"), dataset("images"), out, resume=True)
    return out / "model.onnx"


def learnt(folder, name="tuned"):
    """Train, then go on from the model file alone, and return it."""
    model = train(name, folder / "learn")
    ffedge.learn(model, dataset(RUNS[name][2], seed=1), max_drop=1.0, epochs=2, threads=1)
    return model


def observed(folder, name="tuned"):
    """Train, then learn from a stream of minibatches, and return the saved model file."""
    model, data = train(name, folder / "observe"), dataset(RUNS[name][2], seed=1)
    learner = ffedge.Learner(model, threads=1, batch_size=32)
    for start in range(0, 256, 32):
        learner.observe(data.train.inputs.take(np.arange(start, start + 32)), data.train.labels[start : start + 32])
    learner.save(folder / "observed.onnx")
    return folder / "observed.onnx"


MAKERS = {name: lambda folder, name=name: train(name, folder) for name in RUNS} | {
    "resumed": resumed,
    "learnt": learnt,
    "learnt-ff": lambda folder: learnt(folder, "ff"),
    "learnt-interleaved": lambda folder: learnt(folder, "interleaved"),
    "learnt-groups": lambda folder: learnt(folder, "groups"),
    "observed": observed,
    "observed-readout": lambda folder: observed(folder, "readout"),
    "observed-table": lambda folder: observed(folder, "tuned-table"),
}


def weights_of(model):
    """Return the weights of a model file by name, gammas among them."""
    proto = onnx.load(model)
    weights = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer if t.name.startswith("layers.")}
    stored = {p.key: p.value for p in proto.metadata_props}
    return weights | {"gamma": np.array(json.loads(stored["ffedge.gamma"]), np.float32)}


def summary(weights):
    """Return a digest of all bits, and of each array the mean and the root mean square."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    moments = {
        name: [float(np.mean(a, dtype=np.float64)), float(np.sqrt(np.mean(np.square(a, dtype=np.float64))))]
        for name, a in sorted(weights.items())
        if a.size
    }
    return {"sha256": digest.hexdigest(), "moments": moments}


def scores_of(model):
    """Return a committed model's scores [n, C] of a few digits."""
    test = ffedge.load("mnist-mini").test
    rows = np.linspace(0, len(test.labels) - 1, DIGITS).astype(np.int64)
    return ffedge.Predictor(model, threads=1).predict(test.inputs.take(rows)).scores


def probe():
    """Return a digest of what this machine's onnxruntime and numpy make of a few operators: equal ones round alike."""
    rng = np.random.default_rng(0)
    shapes = ((48, 64), (64, 24), (48, 24))
    x, W, z = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    nodes = [
        helper.make_node("Gemm", ["x", "W"], ["a"]),
        helper.make_node("Gemm", ["x", "z"], ["b"], transA=1),
        helper.make_node("LogSoftmax", ["a"], ["c"], axis=1),
        helper.make_node("Softmax", ["a"], ["d"], axis=1),
        helper.make_node("Softplus", ["a"], ["e"]),
        helper.make_node("Sigmoid", ["a"], ["f"]),
        helper.make_node("ReduceMean", ["a"], ["g"], axes=[1]),
        helper.make_node("Sqrt", ["f"], ["h"]),
        helper.make_node("Div", ["a", "h"], ["i"]),
    ]
    made = "abcdefghi"
    values = {"x": shapes[0], "W": shapes[1], "z": shapes[2]}
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in values.items()],
        [helper.make_tensor_value_info(name, 1, None) for name in made],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(list(made), {"x": x, "W": W, "z": z})
    return hashlib.sha256(b"".join(r.tobytes() for r in [*results, x.sum(axis=0), x.mean(axis=1)])).hexdigest()


def record():
    """Return what every run makes here."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: summary(weights_of(make(Path(folder)))) for name, make in MAKERS.items()}
    models = {path.parent.name: scores_of(path).astype(float).tolist() for path in sorted(MODELS.glob("*/model.onnx"))}
    return {"probe": probe(), "runs": runs, "models": models}


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(record(), indent=1) + "\n")
    sys.exit(0)
