"""Updates in place: the check at start-up, and that it is right about the graphs of training."""

import numpy as np
import pytest
from ffedge.runtime import kernels
from ffedge.runtime.kernels import Kernels, trial_keys, updates_in_place
from onnx import TensorProto, helper
from toys import builder, clusters, make_engine, make_loop, prepared, small_spec

from ffedge.network import layer_shapes
from ffedge.training.checkpoint import Place


def shape_of_last(**changes):
    recipe, facts = prepared(small_spec(**changes), clusters())
    return builder(recipe, facts), trial_keys(layer_shapes(recipe, facts)[-1])


def step_whose_loss_reads(name):
    """Make a learning step that is right in two buffers: ``new.W = W - x``, then ``loss = sum(<name>)``."""

    def value(name, *dims):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)

    nodes = [
        helper.make_node("Sub", ["W", "x"], ["new.W"]),
        helper.make_node("ReduceSum", ["new.W"], ["whole"], keepdims=0),
        helper.make_node("ReduceSum", [name], ["other"], keepdims=0),
        helper.make_node("Sub", ["whole", "whole"], ["nothing"]),
        helper.make_node("Add", ["nothing", "other"], ["loss"]),
        helper.make_node("Identity", ["x"], ["g"]),
    ]
    inputs, outputs = [value("x", 4, 3), value("W", 4, 3)], [value("new.W", 4, 3), value("g", 4, 3), value("loss")]
    graph = helper.make_graph(nodes, "step", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return lambda key: model.SerializeToString()


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd"}, {"label_layers": "all"}, {"variant": "ff"}], ids=str)
def test_a_sound_step_passes_the_check_on_this_onnxruntime(changes):
    assert updates_in_place(*shape_of_last(**changes))


def test_a_step_that_reads_a_weight_after_writing_it_fails_the_check():
    """Right with two buffers, wrong with one: just what the check is there to find."""
    _, shape = shape_of_last()
    assert updates_in_place(step_whose_loss_reads("x"), shape)
    assert not updates_in_place(step_whose_loss_reads("W"), shape)


def test_a_kernel_that_writes_before_it_reads_fails_the_check(monkeypatch):
    class Hasty(kernels.Kernel):
        def run(self, inputs, outputs):
            for name in self.outputs:  # as if outputs were cleared first
                if any(outputs[name] is value for value in inputs.values()):
                    outputs[name].update_inplace(np.zeros_like(outputs[name].numpy()))
            super().run(inputs, outputs)

    build, shape = shape_of_last()
    monkeypatch.setattr(kernels, "Kernel", Hasty)
    assert not updates_in_place(build, shape)


def test_an_engine_takes_two_buffers_where_the_check_fails(monkeypatch):
    recipe, facts = prepared(small_spec(), clusters())
    monkeypatch.setattr("ffedge.runtime.stepper.updates_in_place", lambda *_: False)
    engine = make_engine(recipe, facts)
    assert not engine.in_place


@pytest.mark.parametrize("schedule", ["greedy", "interleaved"])
@pytest.mark.parametrize("optimizer", ["adam", "momentum", "sgd"])
@pytest.mark.parametrize("batch_size", [16, "full"])
@pytest.mark.parametrize("label_layers", ["first", "all"])
def test_one_buffer_and_two_give_the_same_bits(schedule, optimizer, batch_size, label_layers):
    recipe, facts = prepared(
        small_spec(
            schedule=schedule,
            optimizer=optimizer,
            batch_size=batch_size,
            chunk_size=50,
            label_layers=label_layers,
            gamma_optimizer="adam",
            epochs=3,
            negatives="hard",
        ),
        clusters(),
    )
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


def test_layers_of_equal_shape_share_a_kernel_and_all_tiles_of_a_width_do():
    recipe, facts = prepared(small_spec(widths=(9, 9, 9)), clusters())
    built = []
    loaded = Kernels(lambda key: built.append(key) or builder(recipe, facts)(key), 1)
    shapes = layer_shapes(recipe, facts)
    assert loaded.get("learn", shapes[1]) is loaded.get("learn", shapes[2], False)
    assert loaded.get("learn", shapes[1]) is not loaded.get("forward", shapes[1])
    assert len(built) == 2
    assert loaded.get("tile", shapes[0]) is loaded.get("tile", shapes[1])
    assert loaded.get("tile", shapes[0]) is not loaded.get("tile-apply", shapes[0])
