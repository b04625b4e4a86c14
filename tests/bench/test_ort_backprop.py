"""Backprop in onnxruntime against torch's: the same steps from the same weights."""

from types import SimpleNamespace

import numpy as np
import pytest
from toys import clusters

from ffedge.compare.arms import Arm
from ffedge.network import InputFacts

pytestmark = pytest.mark.slow  # each compiles a training step by onnxsim
pytest.importorskip("onnxsim", reason="needs onnxsim, which is not installed")

from ort_backprop import BackpropOnnx
from ort_graph import compiled, loss_graph, parameters

DATA = clusters(rows=80, noise=0.4)
FACTS = InputFacts(shape=(16,), dtype="float32", classes=DATA.classes, offset=(0.3,), scale=(1.5,))
RAW, TRUE = DATA.train.inputs.take(np.arange(80)), DATA.train.labels
WIDTHS, BATCH = (12, 10), 32
RATES = {"adam": 0.01, "momentum": 0.05, "sgd": 0.2}


def net(optimizer, form=""):
    train = SimpleNamespace(batch_size=BATCH, seed=0, threads=1)
    return BackpropOnnx(Arm("ort", optimizer, form=form), WIDTHS, FACTS, RATES[optimizer], train)


@pytest.mark.torch
@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize("form", ["", "inplace"])
def test_it_takes_torchs_steps_the_last_short_batch_included(optimizer, form):
    torch = pytest.importorskip("torch", reason="needs torch, which is not installed")
    from ffedge.compare.backprop import Backprop

    own = net(optimizer, form)
    other = Backprop(Arm("torch", optimizer), WIDTHS, FACTS, RATES[optimizer], 0)
    linear = [module for module in other.layers.modules() if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        for i, module in enumerate(linear):
            module.weight.copy_(torch.tensor(own.weights()[f"W{i}"].T))
            module.bias.copy_(torch.tensor(own.weights()[f"b{i}"]))
    for _ in range(5):
        for start in range(0, 80, BATCH):  # 32, 32, 16 rows
            batch = slice(start, start + BATCH)
            assert own.learn(RAW[batch], TRUE[batch]) == pytest.approx(other.learn(RAW[batch], TRUE[batch]), rel=1e-4)
    for i, module in enumerate(linear):
        np.testing.assert_allclose(own.weights()[f"W{i}"].T, module.weight.detach(), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(own.weights()[f"b{i}"], module.bias.detach(), rtol=1e-3, atol=1e-5)
    assert (own.predict(RAW) == other.predict(RAW)).all()
    for name in ("weights", "moments"):
        assert own.counted()[name] == other.counted()[name]


def test_the_loss_of_huge_outputs_is_right():
    import onnxruntime as ort
    from onnx import numpy_helper

    model = loss_graph((2, 3), 2)
    weights = np.array([[1, -1, 0.5], [2, 1, 0]], np.float32)
    for stored in model.graph.initializer:
        if stored.name == "W0":
            stored.CopyFrom(numpy_helper.from_array(weights, "W0"))
    x, true, weight = np.array([[300, 10], [-400, 7]], np.float32), [1, 0], np.array([[0.25], [0.75]], np.float32)
    z = (x @ weights).astype(np.float64)
    by_hand = float((np.logaddexp.reduce(z, axis=1) - z[[0, 1], true]) @ weight[:, 0])
    feeds = {"x": x, "y": np.eye(3, dtype=np.float32)[true], "weight": weight}
    (loss,) = ort.InferenceSession(model.SerializeToString()).run(None, feeds)
    assert loss == pytest.approx(by_hand, rel=1e-6)


def test_second_buffers_are_counted():
    both, in_place = net("adam").counted(), net("adam", "inplace").counted()
    assert both["buffers"] - in_place["buffers"] == 3 * both["weights"]


def test_the_step_is_one_graph_of_standard_operators_that_saves_what_its_backward_pass_reads():
    import onnx

    whole, _ = compiled((16, *WIDTHS, 4), BATCH, "adam")
    model = onnx.load_from_string(whole.step)
    assert {node.domain for node in model.graph.node} == {""}
    assert set(parameters((16, *WIDTHS, 4))) < set(whole.state)
    saved = 4 * BATCH * (16 + 2 * (12 + 10))  # the input, each layer before and after its ReLU
    assert saved < whole.saved_bytes < saved + 4 * BATCH * 12 * 4  # some values of the loss beside them
