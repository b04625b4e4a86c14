"""What the engine says that it needs is what it then holds, to the byte; the plan of memory asks it and no one else."""

import gc
from pathlib import Path

import numpy as np
import pytest
from toys import clusters, in_child, make_engine, make_loop, prepared, small_spec

from ffedge.engine.needs import Count, needs, nothing
from ffedge.engine.onnx import OnnxEngine, Tile
from ffedge.meter import PeakMeter
from ffedge.network import layers_of
from ffedge.training.checkpoint import Place
from ffedge.training.step import evaluated_samples, tried_samples
from ffedge.training.train import plan

DATA = clusters(rows=160)
MORE = clusters(rows=560)  # 280 are held out, of which 256 are evaluated at once
WIDE = small_spec(widths=(512, 512), batch_size=128, epochs=1, tile_bytes=2**15)
RECIPES = {
    "greedy": {"negatives": "hard"},
    "label everywhere": {"label_layers": "all", "negatives": "hard-sum", "schedule": "interleaved"},
    "chunks": {"batch_size": 30, "chunk_size": 16, "negatives": "hard-sum"},
    "tiles, moments of two kinds": {"tile_bytes": 200, "negatives": "hard", "gamma_optimizer": "adam"},
    "normed input, dropout": {
        "input_norm": "unit",
        "input_dropout": 0.2,
        "optimizer": "momentum",
        "negatives": "hard-sum",
    },
    "spikes in chunks": {
        "norm": "fixed",
        "bound": 0.9,
        "sparsity": 0.1,
        "schedule": "interleaved",
        "batch_size": 30,
        "chunk_size": 16,
        "negatives": "hard-sum",
    },
    "groups in chunks": {
        "class_goodness": "groups",
        "label_mode": "none",
        "n_negatives": 3,
        "batch_size": 30,
        "chunk_size": 16,
        "schedule": "interleaved",
    },
    "readout": {"class_goodness": "readout", "label_mode": "none", "negatives": "hard"},
    "ff, one layer": {"widths": (12,), "variant": "ff", "optimizer": "sgd", "negatives": "hard"},
}


def asked(recipe, facts):
    """Ask the engine as the plan does."""
    train, layers = recipe.train, 1 if recipe.train.schedule == "greedy" else len(recipe.network.widths)
    evaluated, tried = evaluated_samples(train, facts.n_classes, layers), tried_samples(recipe, facts.n_classes)
    return needs(recipe, facts, train.chunk_size, evaluated, tried, Path())


@pytest.mark.parametrize("changes", RECIPES.values(), ids=list(RECIPES))
def test_an_engine_holds_what_it_said(changes):
    recipe, facts = prepared(small_spec(epochs=1, holdout=0.5, **changes), MORE)
    engine, state = make_engine(recipe, facts), []

    def look():
        parts = [(n, v) for i in engine._tiles for n, v in engine._state[i].items()]
        state.append(sum(value.array.nbytes for _, value in parts))

    make_loop(recipe, MORE, engine, facts=facts).train(Place(), look)
    said = asked(recipe, facts)
    assert said["buffers"] == engine.buffer_bytes
    assert said["state"] == max(state)
    assert said["graphs"] == len(engine._room._kernels)


def test_moments_in_a_file_leave_a_tile_of_each_in_memory():
    recipe, facts = prepared(WIDE, DATA)
    kept, filed = (asked(recipe.with_train(moments=where), facts)["state"] for where in ("memory", "file"))
    W = 4 * 512 * 512
    assert kept - filed == 2 * (W - 2**15)


def uncut(self, index, name):
    """Update a tiled parameter as a whole."""
    state = self._state[index]
    parts = {n: state[n] for n in (name, f"{name}.m", f"{name}.v", f"sum.{name}") if n in state}
    return [Tile(name, 0, len(state[name].array), parts)]


def test_weights_are_updated_in_tiles(monkeypatch):
    """Where they are not, a step's temporaries are of the size of W, and the plan says so."""
    spec = WIDE.with_train(batch_size=1, chunk_size=1)
    (recipe, facts), W = prepared(spec, DATA), 4 * 512 * 512
    assert max(stop - start for start, stop in tiles(recipe, facts)) <= 2**15 // (4 * 512)
    assert asked(recipe, facts)["temporaries"] < W / 8
    cut = plan(spec, DATA).peak_bytes
    monkeypatch.setattr(OnnxEngine, "_cut", uncut)
    assert tiles(recipe, facts) == [(0, 12), (0, 512)]
    assert asked(recipe, facts)["temporaries"] >= W
    assert plan(spec, DATA).peak_bytes >= cut + W


def tiles(recipe, facts):
    """Return where the tiles of all layers begin and end."""
    engine = make_engine(recipe, facts)
    engine.begin([0, 1], chunked=False)
    return [(tile.start, tile.stop) for of_layer in engine._tiles.values() for tile in of_layer]


def test_a_step_takes_columns_of_a_tile_alone(monkeypatch):
    """The largest buffer of a real step is a batch's rows; a copy of all columns would be another one."""
    recipe, facts = prepared(WIDE, DATA)
    assert all(stop - start < 32 for start, stop in tiles(recipe, facts)[1:])
    engine, shapes = make_engine(recipe, facts), {}
    buffer = engine._room.buffer

    def noted(name, shape):
        shapes.setdefault(name, set()).add(shape)
        return buffer(name, shape)

    monkeypatch.setattr(engine._room, "buffer", noted)
    make_loop(recipe, DATA, engine, facts=facts).train(Place(), lambda: False)
    assert shapes["x.tile"] == {(128 * 3, 16), (32 * 3, 16)}


@pytest.mark.parametrize("negatives", ["hard", "hard-sum"])
def test_no_more_rows_are_evaluated_at_once_than_the_plan_counts(negatives, monkeypatch):
    recipe, facts = prepared(small_spec(negatives=negatives, holdout=0.5, batch_size=40, chunk_size=8), DATA)
    engine, seen = make_engine(recipe, facts), []
    forward, first = engine.forward, engine.first_goodness

    def noted(layer, source, labels):
        seen.append(source.samples * (facts.n_classes if labels is None else 0))
        return forward(layer, source, labels)

    monkeypatch.setattr(engine, "forward", noted)
    monkeypatch.setattr(engine, "first_goodness", lambda s: seen.append(s.samples * facts.n_classes) or first(s))
    make_loop(recipe, DATA, engine, facts=facts).train(Place(), lambda: False)
    most = 4 * tried_samples(recipe, facts.n_classes)
    assert max(seen) == most == 24  # a chunk's: 8 samples, each with its label and 2 wrong ones
    assert engine.buffer_bytes == asked(recipe, facts)["buffers"]


def test_a_larger_buffer_makes_the_plan_larger(monkeypatch):
    spec, before = WIDE, plan(WIDE, DATA)
    rows = OnnxEngine._rows
    monkeypatch.setattr(OnnxEngine, "_rows", lambda self, layer, count: rows(self, layer, 2 * count))
    with pytest.raises(ValueError, match=r"of graph forward"):  # a graph's sizes are held to
        plan(spec, DATA)
    monkeypatch.undo()
    buffer = Count.buffer

    def padded(self, name, shape):
        self._buffers["pad"] = nothing((2**18,))
        return buffer(self, name, shape)

    monkeypatch.setattr(Count, "buffer", padded)
    assert plan(spec, DATA).parts["a chunk's rows"] - before.parts["a chunk's rows"] == 2**20


def test_every_layer_is_counted_once_a_graph():
    recipe, facts = prepared(small_spec(widths=(9, 9, 9, 9)), DATA)
    more, _ = prepared(small_spec(widths=(9, 9, 9, 9, 9, 9)), DATA)
    assert asked(recipe, facts)["graphs"] == asked(more, facts)["graphs"]
    assert len(layers_of(more, facts)) == 6
    assert np.isfinite(asked(more, facts)["temporaries"])


def test_asking_leaves_nothing_for_the_collector_of_cycles():
    """A tight budget asks a hundred times before training begins; what waits for the collector would be in its peak."""
    recipe, facts = prepared(small_spec(), clusters())
    asked(recipe, facts)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            asked(recipe, facts)
        assert gc.collect() < 50
    finally:
        gc.enable()


MEASURED = """
    import sys
    import numpy as np
    from toys import make_engine, prepared
    from ffedge.data.dataset import Dataset, Split
    from ffedge.data.rows import ArrayRows
    from ffedge.engine.kernels import Kernels
    from ffedge.engine.onnx import Source
    from ffedge.meter import PeakMeter
    from ffedge.onnx.memory import most_alive
    from ffedge.spec import Spec

    n, classes, index = 16, 4, 1
    labels = np.tile(np.arange(classes), (n, 1))
    rows = ArrayRows(np.random.default_rng(0).integers(0, 256, (2 * n, 32, 32, 3), np.uint8))
    data = Dataset("x", Split(rows, np.arange(2 * n) % classes), None, tuple("abcd"), "sha")
    asked = {"batch_size": n, "chunk_size": n, "threads": 1, "schedule": "interleaved"} | eval(sys.argv[1])
    recipe, facts = prepared(Spec.make(widths=("64c3", asked.pop("layer")), **asked), data)
    engine = make_engine(recipe, facts)
    layer = engine.layers[index]
    engine.begin([index], chunked=False)

    def step(n):
        x = engine._room.value(np.random.default_rng(0).random((n, layer.place.inputs), np.float32))
        return lambda: engine.learn(index, Source(n, {"x": x}), labels[:n], np.zeros((n, classes), np.float32),
                                    batch=n, step=0, rate=0.001, emit=True)

    step(1)()
    rows, learn, meter = engine._rows(index, n)["rows"].array, step(n), PeakMeter()
    rows[...] = 0
    before = meter.start()
    learn()
    planned = most_alive(Kernels(recipe, facts).learn(layer, emit_rows=True), {"N": n, "R": n})
    print((meter.peak() - before) / planned)
"""


@pytest.mark.skipif(not PeakMeter().resets, reason="this system does not tell the peak of a phase")
@pytest.mark.parametrize(
    "changes",
    [
        {"layer": "64c3p2"},
        {"layer": "64c3", "class_goodness": "groups"},
        {"layer": "64c3", "class_goodness": "top-groups"},
        {"layer": "64c3p2", "similarity": 1.0},
        {"layer": "96c5s2a2", "class_goodness": "groups"},
        {"layer": "64c3", "statistics": "stored", "norm": "layer"},
    ],
    ids=str,
)
def test_a_convolution_takes_what_is_planned(changes):
    """Less what the step of one sample left in the arena before it, and at most one piece more that fits no gap."""
    assert 0.6 <= float(in_child(MEASURED, repr(changes))) <= 1.35
