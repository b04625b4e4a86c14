"""A convolution learns what torch's autograd learns, and its file predicts in any runtime."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from toys import COLOUR, GREY, conv_spec, in_child, make_engine, make_loop, pictures, prepared, random_layers

import ffedge
from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.learning.classes import opened, with_classes
from ffedge.meter import PeakMeter
from ffedge.model.write import write_model
from ffedge.network import layers_of, parameter_sizes
from ffedge.spec import Spec
from ffedge.training.checkpoint import Place

FORMS = {
    "readout": {},
    "groups": {"class_goodness": "groups", "schedule": "interleaved"},
    "groups of two sizes, stride, mean": {"class_goodness": "groups", "widths": ("7c3s2", "9c1a2")},
    "top groups": {"class_goodness": "top-groups", "schedule": "interleaved"},
    "top groups of two sizes, stride, mean": {"class_goodness": "top-groups", "widths": ("7c3s2", "9c1a2", 21)},
    "similarity, pooled": {"similarity": 2.0, "schedule": "interleaved", "optimizer": "adam"},
    "similarity, in chunks": {"similarity": 0.5, "batch_size": 48, "chunk_size": 12, "class_goodness": "groups"},
    "chunks": {"batch_size": 48, "chunk_size": 12, "optimizer": "adam", "schedule": "interleaved"},
    "stored statistics": {"statistics": "stored", "optimizer": "momentum", "rate": (0.02,)},
    "bound, layer": {"bound": 0.8, "norm": "layer", "variant": "fcff"},
    "skip, unit": {"skip": "add", "norm": "unit", "widths": ("6c3", "6c3", "6c5p3"), "schedule": "interleaved"},
    "for spikes": {"norm": "fixed", "bound": 2.0, "widths": ("6c3a2", "8c3", 9), "class_goodness": "groups"},
    "5 x 5, dropout": {"widths": ("6c5p3",), "input_dropout": 0.2, "loss": "logistic"},
    "weights": {"class_weight": "class 1=5,class 2=0.2"},
    "weights, chunks": {"class_weight": "class 1=5", "batch_size": 48, "chunk_size": 12, "schedule": "interleaved"},
}


@pytest.mark.torch
@pytest.mark.parametrize("shape", [COLOUR, GREY], ids=str)
@pytest.mark.parametrize("name", FORMS)
def test_its_steps_are_those_of_autograd(name, shape):
    data, states = pictures(shape), []
    for engine in ("onnx", "torch"):
        recipe, facts = prepared(conv_spec(engine=engine, **FORMS[name]), data)
        before = random_layers(recipe, facts)
        loop = make_loop(recipe, data, make_engine(recipe, facts, before), facts=facts)
        loop.train(Place(), lambda: False)
        states.append(loop.engine.state())
    for ours, torchs in zip(*states, strict=True):
        for key in (key for key in torchs if "." not in key):
            np.testing.assert_allclose(ours[key], torchs[key], rtol=2e-3, atol=2e-4, err_msg=key)


@pytest.mark.parametrize("name", FORMS)
def test_its_file_gives_what_the_engine_gives(name, tmp_path):
    data = pictures()
    recipe, facts = prepared(conv_spec(**FORMS[name]), data)
    layers = random_layers(recipe, facts)
    path = tmp_path / "model.onnx"
    write_model(path, recipe, facts, layers, {})
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    rows = data.train.inputs.take(np.arange(20))
    loop = make_loop(recipe, data, make_engine(recipe, facts, layers), facts=facts)
    _, wanted = loop.learner.scored(rows.reshape(20, -1), len(layers))
    np.testing.assert_allclose(ffedge.Predictor(path).predict(rows).scores, wanted, rtol=1e-4, atol=1e-5)
    (scores,) = ReferenceEvaluator(model).run(["scores"], {"input": rows})
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5)


def test_it_goes_on_learning_by_stored_statistics(tmp_path):
    data = pictures()
    recipe, facts = prepared(conv_spec(), data)
    path = tmp_path / "model.onnx"
    write_model(path, recipe, facts, random_layers(recipe, facts), {})
    before = onnx.load(path)
    assert ffedge.learn(path, data, max_drop=1.0, force=True, epochs=1, threads=1).accepted
    old, new = ({t.name: onnx.numpy_helper.to_array(t) for t in m.graph.initializer} for m in (before, onnx.load(path)))
    assert not np.array_equal(old["layers.0.W"], new["layers.0.W"])
    np.testing.assert_array_equal(old["layers.0.mean"], new["layers.0.mean"])


@pytest.mark.parametrize("kind", ["readout", "groups"])
def test_a_class_is_added_to_its_readout_alone(kind, tmp_path):
    data, path = pictures(), tmp_path / "model.onnx"
    recipe, facts = prepared(conv_spec(class_goodness=kind), data)
    write_model(path, recipe, facts, random_layers(recipe, facts), {})
    start = with_classes(opened(path), ["new"]) if kind == "readout" else None
    if start is None:
        with pytest.raises(ValueError, match="no room in a convolution's groups"):
            with_classes(opened(path), ["new"])
        return
    assert start.facts.classes[-1] == "new"
    for index, layer in enumerate(layers_of(start.recipe, start.facts)):
        before, after = opened(path).layer(index), start.layer(index)
        assert after["A"].shape[1] == 5
        np.testing.assert_array_equal(after["A"][:, :4], before["A"])
        assert {name: array.shape for name, array in after.items() if name != "gamma"} == parameter_sizes(layer)


@pytest.mark.parametrize(
    ("changes", "shape", "text"),
    [
        ({"widths": ("6c3q2",)}, COLOUR, "must be a number of units, as in 500, or <channels>c<kernel>"),
        ({"widths": ("6c4",)}, COLOUR, "an odd kernel"),
        ({"widths": ("6c9",)}, COLOUR, "no larger than the picture of 9 x 8"),
        ({"widths": ("6c3p4", "6c3")}, COLOUR, "no larger than the picture of 2 x 2"),
        ({"widths": ("6c3p9",)}, COLOUR, "leaves nothing of 9 x 8"),
        ({"widths": (9, "6c3")}, COLOUR, "reads pictures, got rows of 9 values"),
        ({"widths": ("6c3",), "layout": "none"}, COLOUR, "reads pictures"),
        ({"widths": ("6c3",), "layout": "auto"}, (72,), "reads pictures"),
        ({"widths": ("6c3",), "layout": "auto"}, (9, 8, 7), "layout='hwc'"),
        ({"widths": ("6c3",), "layout": "auto"}, (3, 8, 3), "layout='hwc'"),
        ({"widths": ("6c3",), "layout": "chw"}, GREY, "`layout='chw'` does not fit rows of"),
        ({"widths": ("3c3",), "class_goodness": "groups"}, COLOUR, "a unit for each class, got 3 for 4 classes"),
        ({"widths": ("6c3",), "sparsity": 0.1}, COLOUR, "`sparsity` must be none where a layer is a convolution"),
        ({"widths": ("6c3",), "class_goodness": "tried", "label_mode": "concat"}, COLOUR, "sees no label"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes, shape, text):
    with pytest.raises(ValueError, match=text) as caught:
        ffedge_recipe(changes, shape)
    assert "\n" not in str(caught.value)


def ffedge_recipe(changes, shape):
    recipe, facts = prepared(conv_spec(**changes), pictures(shape) if len(shape) > 1 else rows_of(shape))
    return random_layers(recipe, facts)


def rows_of(shape):
    data = pictures((9, 8, 1))
    split = Split(ArrayRows(data.train.inputs.take(np.arange(120)).reshape(120, *shape)), data.train.labels)
    return Dataset("rows", split, None, data.classes, "sha-rows")


def test_channels_first_and_last_learn_the_same():
    last = pictures()
    turned = last.train.inputs.take(np.arange(120)).transpose(0, 3, 1, 2)
    first = Dataset("first", Split(ArrayRows(np.ascontiguousarray(turned)), last.train.labels), None, last.classes, "s")
    states = []
    for data, layout in ((last, "hwc"), (first, "chw")):
        recipe, facts = prepared(conv_spec(layout=layout, scaling="centred"), data)
        loop = make_loop(recipe, data, make_engine(recipe, facts), facts=facts)
        loop.train(Place(), lambda: False)
        states.append(loop.engine.state())
    for one, other in zip(*states, strict=True):
        for key, array in one.items():
            np.testing.assert_allclose(array, other[key], rtol=1e-5, atol=1e-6, err_msg=key)


def test_the_presets_take_convolutions():
    recipe, _ = prepared(Spec.make(widths=("8c3p2", 20)), pictures())
    assert (recipe.network.class_goodness, recipe.network.layout) == ("readout", "hwc")
    assert recipe.train.n_negatives == 3


PREDICTED = """
    import sys
    import numpy as np
    import ffedge
    from ffedge.meter import PeakMeter

    predictor, rows = ffedge.Predictor("model.onnx", threads=1), np.zeros((300, 64, 64, 3), np.uint8)
    predictor.predict(rows[:30])
    meter = PeakMeter()
    before = meter.start()
    predictor.predict(rows)
    print((meter.peak() - before) / 2**20)
"""


@pytest.mark.skipif(not PeakMeter().resets, reason="this system does not tell the peak of a phase")
def test_ten_times_the_pictures_are_predicted_in_the_same_memory(tmp_path):
    """At once they would take 300 MiB for each layer's activity."""
    recipe, facts = prepared(conv_spec(widths=("64c3", "64c3p2"), batch_size=16), pictures((64, 64, 3), rows=20))
    write_model(tmp_path / "model.onnx", recipe, facts, random_layers(recipe, facts), {})
    assert float(in_child(PREDICTED, cwd=tmp_path)) < 8
