"""Updates in place: the check at start-up, and that it is right about the graphs of training."""

import pytest
from toys import clusters, make_engine, make_loop, prepared, small_spec

from ffedge.engine.room import Memory
from ffedge.engine.session import Kernel
from ffedge.engine.trial import updates_in_place
from ffedge.onnx.graph import GraphBuilder, model_bytes
from ffedge.training.checkpoint import Place

GROUPS = {"class_goodness": "groups", "label_mode": "none", "n_negatives": 3}
READOUT = {"class_goodness": "readout", "label_mode": "none", "n_negatives": 3}


def step_whose_loss_reads(name):
    """Make a learning step that is right in two buffers: ``new.W = W - x``, then ``loss = sum(<name>)``."""
    g = GraphBuilder("step")
    g.op("Sub", g.input("W", (4, 3)), g.input("x", (4, 3)), out="new.W")
    whole, other = (g.op("ReduceSum", value, keepdims=0) for value in ("new.W", name))
    g.op("Add", g.op("Sub", whole, whole), other, out="loss")
    g.op("Identity", "x", out="g")
    for value, dims in (("new.W", (4, 3)), ("g", (4, 3)), ("loss", ())):
        g.output(value, dims)
    return model_bytes(g.graph)


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "sgd"}, {"label_layers": "all"}, {"variant": "ff"}, GROUPS, READOUT], ids=str
)
def test_a_sound_step_passes_the_check_on_this_onnxruntime(changes):
    engine = make_engine(*prepared(small_spec(**changes), clusters()))
    assert engine.in_place
    assert len(engine._trial_kernels()) == 2


def test_a_step_that_reads_a_weight_after_writing_it_fails_the_check():
    """Right with two buffers, wrong with one: just what the check is there to find."""
    assert updates_in_place([Kernel(step_whose_loss_reads("x"), 1)], 3, 3)
    assert not updates_in_place([Kernel(step_whose_loss_reads("W"), 1)], 3, 3)


def test_a_kernel_that_writes_before_it_reads_fails_the_check():
    class Hasty(Kernel):
        def run(self, inputs, outputs):
            for name in self.outputs:  # as if outputs were cleared first
                if any(outputs[name] is value for value in inputs.values()):
                    outputs[name].array.fill(0)
            super().run(inputs, outputs)

    assert not updates_in_place([Hasty(step_whose_loss_reads("x"), 1)], 3, 3)


def test_an_engine_takes_two_buffers_where_the_check_fails(monkeypatch):
    monkeypatch.setattr("ffedge.engine.onnx.updates_in_place", lambda *_: False)
    assert not make_engine(*prepared(small_spec(), clusters())).in_place


@pytest.mark.parametrize("schedule", ["greedy", "interleaved"])
@pytest.mark.parametrize("optimizer", ["adam", "momentum", "sgd"])
@pytest.mark.parametrize("batch_size", [16, 50])
@pytest.mark.parametrize("changes", [{}, {"label_layers": "all"}, {"norm": "fixed", "sparsity": 0.1}, READOUT], ids=str)
def test_one_buffer_and_two_give_the_same_bits(schedule, optimizer, batch_size, changes):
    """A batch of 50 comes in chunks, and the last of an epoch, of 10 rows, as a whole."""
    changes = {"chunk_size": 16, "gamma_optimizer": "adam", "epochs": 3, "negatives": "hard"} | changes
    spec = small_spec(schedule=schedule, optimizer=optimizer, batch_size=batch_size, **changes)
    recipe, facts = prepared(spec, clusters())
    states = []
    for in_place in (True, False):
        engine = make_engine(recipe, facts)
        if not engine.in_place:
            pytest.skip("this onnxruntime does not update in place, and the engine knows")
        engine.in_place = in_place
        seen = []
        loop = make_loop(recipe, clusters(), engine, facts=facts)
        loop.train(
            Place(),
            lambda engine=engine, seen=seen: seen.append(
                [{name: array.copy() for name, array in layer.items()} for layer in engine.state()]
            ),
        )
        states.append(seen)
    for one, two in zip(*states, strict=True):  # after every batch, moments included
        for a, b in zip(one, two, strict=True):
            assert set(a) == set(b)
            for name, array in a.items():
                assert array.tobytes() == b[name].tobytes(), name


def test_equal_graphs_are_loaded_once(monkeypatch):
    """Layers of equal shape share a step, and all tiles of a width do."""
    recipe, facts = prepared(small_spec(widths=(9, 9, 9), schedule="interleaved"), clusters())
    loaded = []
    monkeypatch.setattr(
        "ffedge.engine.room.Kernel", lambda content, threads: loaded.append(content) or Kernel(content, 1)
    )
    engine = make_engine(recipe, facts)
    make_loop(recipe, clusters(), engine, facts=facts).train(Place(), lambda: False)
    assert len(loaded) == len(set(loaded))
    graphs = engine._graphs
    assert engine._kernel(graphs.tile, 0, "W") is engine._kernel(graphs.tile, 2, "W")
    assert engine._kernel(graphs.learn, 1, emit_rows=True) is not engine._kernel(graphs.forward, 1)
    assert isinstance(engine._room, Memory)
