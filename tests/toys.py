"""Small data, specs, engines and models that the tests share."""

import dataclasses
import os
import subprocess
import sys
import tempfile
import textwrap
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx

from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.data.stream import Stream, split_rows
from ffedge.engine.onnx import OnnxEngine
from ffedge.labels import hard_labels, wrong_labels
from ffedge.meter import PeakMeter
from ffedge.model.file import Model
from ffedge.model.write import file_bytes, write_model
from ffedge.network import InputFacts, initial_state
from ffedge.resolve import resolve
from ffedge.seeds import Draw, generator, key
from ffedge.spec import Spec
from ffedge.training.checkpoint import Place
from ffedge.training.facts import measure
from ffedge.training.loop import Loop
from ffedge.training.watch import Journal, Watcher

WIDTHS = (12, 10, 8)
GROUPS = {"class_goodness": "groups", "label_mode": "none", "n_negatives": 3, "slope": 4.0}  # beside `small_spec`
TOP = {**GROUPS, "class_goodness": "top-groups", "widths": (40, 33)}
READOUT = {"class_goodness": "readout", "label_mode": "none", "n_negatives": 3}
COLOUR, GREY = (9, 8, 3), (8, 10)  # shapes of pictures
CONTENT = ["checkpoint", "metrics.jsonl", "model.kept.safetensors", "model.onnx", "report.json"]  # of a run's folder


@cache
def clusters(rows=160, inputs=16, classes=4, noise=0.7, seed=0, uint8=False, border=False, test_rows=0):
    """Make a data set of one cloud of points a class; with a `border` the first C inputs are empty."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, inputs))
    splits = []
    for count in (rows, test_rows) if test_rows else (rows,):
        labels = rng.permutation(np.arange(count) % classes)
        values = centres[labels] + noise * rng.normal(size=(count, inputs))
        if uint8:
            values = np.clip(128 + 40 * values, 0, 255)
        if border:
            values[:, :classes] = 0
        splits.append(Split(ArrayRows(values.astype(np.uint8 if uint8 else np.float32)), labels.astype(np.int64)))
    names = tuple(f"class {c}" for c in range(classes))
    return Dataset("clusters", splits[0], splits[1] if test_rows else None, names, f"sha-{rows}-{seed}")


def some_facts(shape=(16,), classes=4, dtype="float32", **more):
    """Return facts of an input."""
    return InputFacts(shape, dtype, tuple(f"c{i}" for i in range(classes)), **more)


def small_spec(**changes):
    """Return a spec without noise, for a few steps on `clusters`; no preset has a say in it."""
    values = {
        "widths": WIDTHS,
        "label_mode": "overlay",
        "label_scale": 2.0,
        "epochs": 2,
        "batch_size": 16,
        "negatives": "fresh",
        "n_negatives": 2,
        "input_dropout": 0.0,
        "holdout": 0.0,
        "rate": (0.01,),
        "threads": 1,
    }
    values |= changes
    parts = {
        name: part(**{field.name: values.pop(field.name) for field in dataclasses.fields(part) if field.name in values})
        for name, part in Spec.PARTS.items()
    }
    assert not values
    return Spec(**parts)


def pictures(shape=COLOUR, rows=120, classes=4, seed=0):
    """Make pictures with a bright square for each class, at a place that varies."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % classes)
    values = rng.normal(100, 40, (rows, *shape))
    for row, label in enumerate(labels):
        top, left = rng.integers(0, 3, 2) + np.array([label // 2 * 3, label % 2 * 3])
        values[row, top : top + 3, left : left + 3] += 100
    split = Split(ArrayRows(np.clip(values, 0, 255).astype(np.uint8)), labels.astype(np.int64))
    return Dataset("pictures", split, None, tuple(f"class {c}" for c in range(classes)), f"sha-{seed}")


def conv_spec(**changes):
    base = {"class_goodness": "readout", "label_mode": "none", "layout": "hwc", "n_negatives": 3, "slope": 2.0}
    return small_spec(**(base | {"widths": ("6c3", "8c3p2", 9), "batch_size": 24, "chunk_size": 24} | changes))


def built(kernels, kind, layer, flag=False):
    """Return a graph of training by the name of its kind; a tile is of W."""
    builders = {
        "product": lambda: kernels.product(layer, dropout=flag),
        "forward": lambda: kernels.forward(layer, all_labels=flag),
        "goodness": lambda: kernels.forward(layer, all_labels=True, emit_rows=False),
        "learn": lambda: kernels.learn(layer, emit_rows=flag),
        "accumulate": lambda: kernels.learn(layer, emit_rows=flag, accumulate=True),
        "apply": lambda: kernels.apply(layer),
        "tile": lambda: kernels.tile(layer, "W"),
        "tile-accumulate": lambda: kernels.tile(layer, "W", accumulate=True),
        "tile-apply": lambda: kernels.tile_apply(layer, "W"),
    }
    return builders[kind]()


def make_engine(recipe, facts, state=None):
    """Return the engine that a recipe names."""
    state = initial_state(recipe, facts) if state is None else state
    if recipe.train.engine == "torch":
        from ffedge.engine.torch import TorchEngine

        return TorchEngine(recipe, facts, state)
    return OnnxEngine(recipe, facts, state)


def prepared(spec, dataset):
    """Return the recipe that a spec is on a data set, and the facts."""
    facts = measure(dataset, spec.network.scaling)
    return resolve(spec, facts, len(dataset.train.labels)), facts


def make_loop(recipe, dataset, engine=None, journal=None, watcher=None, facts=None):
    """Return a loop over a data set."""
    facts = facts or measure(dataset, recipe.network.scaling)
    engine = engine or make_engine(recipe, facts)
    return Loop(recipe, dataset, facts, engine, journal or Journal(), watcher or Watcher(), PeakMeter())


def trained(spec, dataset, **changes):
    """Train a spec with an engine to the end; return the parameters of each layer and the journal."""
    recipe, facts = prepared(spec.with_train(**changes), dataset)
    journal = Journal()
    loop = make_loop(recipe, dataset, journal=journal, facts=facts)
    loop.train(Place(), lambda: False)
    return loop.engine.state(), journal


def random_layers(recipe, facts, seed=0):
    """Draw parameters whose every entry matters."""
    rng = np.random.default_rng(seed)
    return [
        {name: np.asarray(value + 0.2 * rng.normal(size=value.shape), np.float32) for name, value in layer.items()}
        for layer in initial_state(recipe, facts)
    ]


def make_model(spec, dataset, seed=0, calibration=None, **about):
    """Return the bytes of a model file with drawn weights, its spec, facts and layers."""
    recipe, facts = prepared(spec, dataset)
    layers = random_layers(recipe, facts, seed)
    return model_bytes(recipe, facts, layers, calibration, **about), recipe, facts, layers


def model_bytes(recipe, facts, layers, calibration=None, **about):
    """Return the bytes of a model file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_model(path, recipe, facts, layers, about, calibration)
        return path.read_bytes()


def as_onnx(graph, weights=None):
    """Return a graph as the onnx package reads it, with its weights."""
    return onnx.load_from_string(file_bytes(graph, weights or {}, {}))


def changed(model, **changes):
    """Return the bytes of a model with other metadata; None takes a key out."""
    proto = onnx.load_from_string(model)
    stored = {p.key: p.value for p in proto.metadata_props} | {f"ffedge.{k}": v for k, v in changes.items()}
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, {k: v for k, v in stored.items() if v is not None})
    return proto.SerializeToString()


def learnt(path):
    """Return what a model file tells of the times that it has learnt, but for the weights that they went out from."""
    return [{key: value for key, value in time.items() if key != "from"} for time in Model(path).metadata["learnt"]]


def draws(spec, dataset, facts):
    """Return the oracle's batches of a stage and epoch: (raw, true, mask, wrong), drawn from ffedge's seeds."""
    train, rows = spec.train, split_rows(len(dataset.train.labels), spec)[1]
    first = facts.size - (facts.n_classes if spec.network.label_mode == "overlay" else 0)
    stream = Stream(dataset.train.inputs, dataset.train.labels, rows, train, first)

    def batches(stage, epoch):
        where = (stage,) if train.negatives == "fixed" else (stage, epoch)
        drawn = key(2, train.seed, Draw.NEGATIVES, *where)
        for step in range(stream.batches):
            chunks = list(stream.chunks(stage, epoch, step))
            raw, true, at = (np.concatenate([getattr(c, n) for c in chunks]) for n in ("raw", "labels", "positions"))
            labels = wrong_labels(true, at, train.n_negatives, facts.n_classes, drawn)
            mask = np.concatenate([c.mask for c in chunks]) if train.input_dropout else None
            hard = train.negatives.startswith("hard")
            yield raw, true, mask, partial(chosen, true, (stage, epoch, step)) if hard else labels

    def chosen(true, where, goodness):
        """Draw hard labels from the class goodness [N, L, C]: the first layer's, or that of all layers so far."""
        so_far = where[0] + 1 if train.schedule == "greedy" else goodness.shape[1]
        summed = goodness[:, : 1 if train.negatives == "hard" else so_far].sum(axis=1)
        return hard_labels(summed, true, train.n_negatives, generator(train.seed, Draw.NEGATIVES, *where))

    return batches


HIDE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def in_child(script, *words, hidden=(), cwd=None, stdin=None):
    """Run a script in a process of its own, in which some packages cannot be imported; return its output."""
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", HIDE.format(hidden=set(hidden)) + textwrap.dedent(script), *words],
        cwd=cwd,
        input=stdin,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
