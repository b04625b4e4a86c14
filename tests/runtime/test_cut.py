"""Kernels that are cut out of a file: the trainer's own; and what ffedge does not write never reaches onnxruntime."""

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import builder, clusters, make_model, small_spec

from ffedge.errors import ModelError
from ffedge.graph.live import live_lines
from ffedge.network import layer_shapes
from ffedge.runtime import Predictor
from ffedge.runtime.cut import LearningStep
from ffedge.runtime.kernels import KernelKey, kernel_key, trial_keys
from ffedge.runtime.model import OpenModel
from ffedge.runtime.proto import read_parts
from ffedge.runtime.session import make_session
from ffedge.runtime.stepper import OnnxEngine
from ffedge.training.graphs import needed_kernels
from tests.graph.test_graphs import SPECS, feeds

DATA = clusters()
LEARNING = {name: own for name, own in SPECS.items() if own.get("norm") != "fixed"}
CHANGES = [{**changes, "chunk_size": 8, "schedule": "interleaved"} for changes in LEARNING.values()]


def step_of(model, recipe, facts):
    return LearningStep(read_parts(model), recipe, facts, lambda span: model[slice(*span)])


def keys_of(recipe, facts):
    trials = set(trial_keys(layer_shapes(recipe, facts)[-1]))
    return sorted(needed_kernels(recipe, facts) - trials, key=repr)


def ports(values):
    return {
        v.name: (v.type.tensor_type.elem_type, [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim])
        for v in values
    }


@pytest.mark.parametrize("changes", CHANGES, ids=list(LEARNING))
def test_a_kernel_that_is_cut_out_gives_the_bits_of_the_trainers(changes):
    model, recipe, facts, _ = make_model(small_spec(**changes), DATA)
    step, build = step_of(model, recipe, facts), builder(recipe, facts)
    step.fit(keys_of(recipe, facts), 8)
    for key in keys_of(recipe, facts):
        cut, own = (onnx.load_from_string(graph) for graph in (step(key), build(key)))
        onnx.checker.check_model(cut, full_check=True)
        given_, wanted = ports(cut.graph.output), ports(own.graph.output)
        last = key.kind == "forward" and key.shape.units == 8  # the last layer makes no rows
        assert given_ == {name: port for name, port in wanted.items() if not (last and name == "rows")}, key
        inputs = ports(own.graph.input)
        if key.forward and key.flag:  # tries the labels that it is given, also where they are all
            inputs["labels"] = (onnx.TensorProto.INT64, ["N", "M"])
        assert ports(cut.graph.input) == inputs, key
        fed = feeds(cut)
        if key.forward and key.flag:
            fed["labels"] = np.tile(np.arange(4), (5, 1))
        names = list(given_)
        found = make_session(cut.SerializeToString(), 1).run(names, fed)
        named = {n: v for n, v in fed.items() if n in ports(own.graph.input)}
        for name, a, b in zip(names, found, make_session(own.SerializeToString(), 1).run(names, named), strict=True):
            assert a.tobytes() == b.tobytes(), (key, name)


@pytest.mark.parametrize("changes", CHANGES[:4], ids=list(LEARNING)[:4])
def test_memory_is_counted_as_for_the_trainers_graphs(changes):
    model, recipe, facts, _ = make_model(small_spec(**changes), DATA)
    step, build = step_of(model, recipe, facts), builder(recipe, facts)
    for key in keys_of(recipe, facts):
        tried = 3 if key.kind in ("learn", "accumulate") else 4 if key.flag else 1
        if not key.forward:  # see the test above for what differs
            assert step.live(key) == live_lines(onnx.load_from_string(build(key)), tried), key


def opened(tmp_path, model):
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    return OpenModel(path)


def learnt(tmp_path, model):
    """Open a model and take one step of every kind, as `ffedge learn` would."""
    found = opened(tmp_path, model)
    recipe, facts = found.recipe, found.facts
    with found.used():
        found.step.fit(keys_of(recipe, facts), 16)
    layers = [{name: np.array(value) for name, value in layer.items()} for layer in found.layers]
    shape = found.step.shapes[0]
    with found.used():
        engine = OnnxEngine(
            recipe, facts, found.build, layers, None, (kernel_key("learn", shape), kernel_key("tile", shape))
        )
        engine.begin([0, 1, 2], chunked=False)
        labels, other = np.tile(np.arange(3), (16, 1)), np.zeros((16, 3), np.float32)
        source = engine.product(DATA.train.inputs.take(np.arange(16)), None)
        for layer in range(3):
            settings = {"batch": 16, "step": 0, "rate": 0.01, "emit": layer < 2}
            source = engine.learn(layer, source, labels, other, **settings).source
    return engine.state()


MODEL, SPEC, FACTS, LAYERS = make_model(small_spec(schedule="interleaved"), DATA)


def altered(change):
    proto = onnx.load_from_string(MODEL)
    change(proto.training_info[0])
    return proto.SerializeToString()


def node(info, stage, kind):
    return next(n for n in info.algorithm.node if n.name.startswith(f"{stage}/") and n.op_type == kind)


def test_an_honest_file_learns(tmp_path):
    after = learnt(tmp_path, MODEL)
    assert all(not np.array_equal(a["W"], b["W"]) for a, b in zip(after, LAYERS, strict=True))


def foreign(info):
    info.algorithm.node.add(op_type="FusedMatMul", domain="com.microsoft", name="learn.0/9", output=["learn.0/q"])


def loop(info):
    node(info, "learn.0", "Softmax").op_type = "Loop"


def unknown(info):
    node(info, "learn.0", "LogSoftmax").op_type = "ConstantOfShape"


def outer(info):
    """Multiply dz by itself, so that the gradient has as many numbers as samples squared and more."""
    found = node(info, "gradient.0", "Gemm")
    found.input[0] = "learn.0/dz"


def twice(info):
    copy = info.algorithm.node.add()
    copy.CopyFrom(node(info, "learn.0", "Softmax"))


def elsewhere(info):
    node(info, "update.0", "Sub").input[0] = "layers.1.W"


def later(info):
    node(info, "learn.0", "Softmax").input[0] = "learn.1/nothing"


def weights(info):
    node(info, "forward.1", "Gemm").input[1] = "layers.0.W"


def other_bindings(info):
    info.update_binding[1].key, info.update_binding[2].key = info.update_binding[2].key, info.update_binding[1].key


def no_stage(info):
    for found in info.algorithm.node:
        found.name = ""


def whole_numbers(info):
    """Sum labels where reals are due, which only onnxruntime finds."""
    node(info, "goodness.0", "Reshape").input[0] = "labels"


def wild(info):
    attribute = next(a for n in info.algorithm.node for a in n.attribute if a.name == "alpha")
    attribute.f = float("inf")


def crowd(info):
    copy = node(info, "learn.0", "Neg")
    for i in range(500):
        new = info.algorithm.node.add()
        new.CopyFrom(copy)
        new.output[0] = f"learn.0/more{i}"


def chain(info):
    """Make values that grow: each one the sum of a row and a column of the one before."""
    last = "learn.0/dz"
    for i in range(8):
        for kind, inputs, out in (
            ("Unsqueeze", [last, "learning/const.int64.[1]"], f"learn.0/u{i}"),
            ("Mul", [f"learn.0/u{i}", last], f"learn.0/m{i}"),
        ):
            info.algorithm.node.add(op_type=kind, name=f"learn.0/{kind}{i}", input=inputs, output=[out])
        last = f"learn.0/m{i}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (foreign, "is no model that ffedge can run (an operator of 'com.microsoft')"),
        (loop, "'Loop': no graph of ffedge has this operator"),
        (unknown, "'ConstantOfShape': no graph of ffedge has this operator"),
        (outer, "joins the shapes"),
        (twice, "makes 'learn.0/"),
        (elsewhere, "reads 'layers.1.W' before it is made"),
        (later, "reads 'learn.1/nothing' before it is made"),
        (weights, "reads 'layers.0.W' before it is made"),
        (other_bindings, "its learning step does not update what ffedge's does"),
        (no_stage, "its learning step lacks a part of 'forward' of layer 0"),
        (whole_numbers, "does not match expected type"),
        (wild, "no finite number in field 2 of an attribute"),
        (crowd, "a kernel must have at most 128 nodes"),
        (chain, ""),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_strangers_learning_step_is_refused_in_one_line(tmp_path, change, words):
    with pytest.raises(ModelError) as caught:
        learnt(tmp_path, altered(change))
    text = str(caught.value)
    assert words in text
    assert text.startswith(str(tmp_path))
    assert len(text.splitlines()) == 1


def test_a_step_is_checked_before_onnxruntime_sees_it(tmp_path, monkeypatch):
    monkeypatch.setattr("ffedge.runtime.kernels.Kernel", None)
    for change in (loop, unknown, outer, twice, elsewhere, crowd, chain):
        with pytest.raises(ModelError):
            learnt(tmp_path, altered(change))


def test_only_what_was_read_of_a_node_is_written(tmp_path):
    """Names, documentation and other parts of the file's nodes do not reach onnxruntime."""

    def decorate(info):
        for found in info.algorithm.node:
            found.doc_string = "SECRET"

    found = opened(tmp_path, altered(decorate))
    assert b"SECRET" not in found.build(kernel_key("learn", found.step.shapes[0]))


def test_a_wide_model_in_a_small_file_learns_in_smaller_chunks():
    data = clusters(inputs=5, classes=3)
    model, recipe, facts, _ = make_model(small_spec(widths=(20_000,), label_mode="concat"), data)
    step = step_of(model, recipe, facts)
    chunk = step.fit(keys_of(recipe, facts), 2048)
    assert 1 < chunk < 2048
    step.chunk_rows = 2048
    with pytest.raises(ValueError, match="a step of 2048 samples takes too much"):
        step(kernel_key("learn", layer_shapes(recipe, facts)[0]))


def test_a_model_without_a_learning_step_predicts_and_says_what_to_do_to_learn(tmp_path):
    proto = onnx.load_from_string(MODEL)
    del proto.training_info[:]
    bare = proto.SerializeToString()
    rows = DATA.train.inputs.take(np.arange(4))
    assert Predictor(bare).predict(rows).scores.tobytes() == Predictor(MODEL).predict(rows).scores.tobytes()
    with pytest.raises(ModelError, match=r"carries no learning step. Export it anew from its run with `ffedge export`"):
        opened(tmp_path, bare)


def test_what_spikes_can_carry_has_no_learning_step_and_says_so(tmp_path):
    bits, *_ = make_model(small_spec(norm="fixed", bound=2.0, sparsity=0.2), DATA)
    Predictor(bits).predict(DATA.train.inputs.take(np.arange(3)))
    with pytest.raises(ModelError, match=r"carries no learning step.*preset spiking goes on from its run folder alone"):
        opened(tmp_path, bits)


def test_a_key_that_no_layer_has_is_refused(tmp_path):
    found = opened(tmp_path, MODEL)
    with pytest.raises(ModelError, match="no layer has a kernel"):
        found.build(KernelKey("learn", trial_keys(found.step.shapes[0])[0].shape, True))


@settings(max_examples=60)
@given(st.integers(0, len(MODEL) - 1), st.integers(0, 255))
def test_a_byte_changed_anywhere_is_refused_or_learns(tmp_path_factory, place, value):
    changed = bytearray(MODEL)
    changed[place] = value
    with contextlib.suppress(ModelError):
        learnt(tmp_path_factory.mktemp("m"), bytes(changed))
