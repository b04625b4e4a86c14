"""The parts of a form: how many labels are tried, a readout's learning, whole-number products."""

import logging

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strangers import form
from toys import as_onnx, clusters, prepared, random_layers, small_spec

from ffedge.engine.session import make_session
from ffedge.export.candidates import fewest_candidates, hits_by_candidates
from ffedge.export.fold import fold
from ffedge.export.int8 import quantised
from ffedge.export.readout import BATCH, Softmax, inputs_factor, train_head
from ffedge.export.source import HeldOut
from ffedge.model.form import activities_graph, exact_graph, folded, head_graph


def network_of(trained, *, even=False):
    return folded(trained.recipe, trained.facts, trained.gammas, even=even)


def run(graph, weights, raw, name):
    """Return an output of a graph in onnxruntime."""
    return make_session(as_onnx(graph, weights).SerializeToString(), 1).run([name], {"input": raw})


@settings(max_examples=60)
@given(st.integers(2, 7), st.integers(1, 3), st.integers(0, 10_000))
def test_hits_are_counted_as_a_pruned_form_gives_them(classes, layers, seed):
    rng = np.random.default_rng(seed)
    shares, true = rng.random((9, layers, classes)).astype(np.float32), rng.integers(0, classes, 9)
    wanted = []
    for k in range(1, classes + 1):
        labels = []
        for one in shares:
            tried = sorted(range(classes), key=lambda c: -one[0, c])[:k]
            labels.append(max(tried, key=lambda c: one[:, c].sum()))
        wanted.append(int((np.array(labels) == true).sum()))
    np.testing.assert_array_equal(hits_by_candidates(shares, true), wanted)


class Planted:
    """A predictor of 5 classes: the true one is the best of all, but only `rank` of the first layer."""

    def __init__(self, ranks, true):
        goodness = np.zeros((len(ranks), 2, 5), np.float32)
        for row, (rank, label) in enumerate(zip(ranks, true, strict=True)):
            others = [c for c in range(5) if c != label]
            order = [*others[: rank - 1], label, *others[rank - 1 :]]
            goodness[row, 0, order] = [5, 4, 3, 2, 1]
            goodness[row, 1, label] = 10
        self.goodness, self.at = goodness, 0

    def predict(self, raw, *, layers):
        self.at += len(raw)
        return type("Found", (), {"goodness": self.goodness[self.at - len(raw) : self.at]})


@pytest.mark.parametrize(
    ("ranks", "k"),
    [
        ([1] * 3000, 2),
        ([2] * 3000, 2),
        ([3] * 1 + [1] * 2999, 2),
        ([3] * 2 + [1] * 2998, 3),
        ([5] * 2 + [4] * 1 + [1] * 2997, 5),
        ([5] * 1 + [4] * 1 + [1] * 2998, 4),
    ],
)
def test_the_fewest_labels_are_tried_that_cost_at_most_a_twentieth_of_a_point(trained, ranks, k):
    """Of 3,000 rows one may be lost, not two."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 5, len(ranks))
    one = type("Trained", (), {})()
    one.predictor, one.recipe, one.layers = Planted(ranks, true), trained.recipe, trained.layers
    one.facts = type("Facts", (), {"n_classes": 5})
    inputs = type("Inputs", (), {"take": staticmethod(lambda part: part)})
    split = type("Split", (), {"inputs": inputs, "labels": true})
    assert fewest_candidates(one, HeldOut(split, np.arange(len(ranks)), None)) == k


def test_a_readout_descends_the_cross_entropy():
    rng = np.random.default_rng(3)
    a, true = rng.normal(size=(40, 6)), rng.integers(0, 3, 40)
    U, c = rng.normal(size=(6, 3)), rng.normal(size=3)

    def loss(U, c):
        logits = a @ U + c
        return (np.logaddexp.reduce(logits, axis=1) - logits[np.arange(40), true]).mean()

    def slope(which, place):
        moved = [U.copy(), c.copy()]
        moved[which][place] += 1e-6
        return (loss(*moved) - loss(U, c)) / 1e-6

    learner = Softmax(6, 3)
    learner.U[:], learner.c[:] = U, c
    learner.learn(a.astype(np.float32), true, 0.01)  # Adam's first step is the rate times the gradient's sign
    for which, (before, after) in enumerate(((U, learner.U), (c, learner.c))):
        for place in np.ndindex(before.shape):
            assert after[place] - before[place] == pytest.approx(-0.01 * np.sign(slope(which, place)), abs=1e-4)


def test_a_readout_takes_adams_steps():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    learner, layer = Softmax(5, 3), torch.nn.Linear(5, 3)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    adam = torch.optim.Adam(layer.parameters())
    for rate in (0.03, 0.02, 0.01):
        a, true = rng.normal(size=(20, 5)).astype(np.float32), rng.integers(0, 3, 20)
        learner.learn(a, true, rate)
        adam.param_groups[0]["lr"] = rate
        adam.zero_grad()
        torch.nn.functional.cross_entropy(layer(torch.tensor(a)), torch.tensor(true)).backward()
        adam.step()
    np.testing.assert_allclose(learner.U, layer.weight.detach().numpy().T, atol=1e-5)
    np.testing.assert_allclose(learner.c, layer.bias.detach().numpy(), atol=1e-5)


class Counted:
    """Rows that tell how many of them were asked for at once, and which."""

    def __init__(self, source):
        self._source, self.most, self.seen = source, 0, set()

    def take(self, part):
        self.most = max(self.most, len(part))
        self.seen |= set(part.tolist())
        return self._source.take(part)


def test_a_readout_learns_a_batch_at_a_time_and_never_from_held_out_rows(trained, rows):
    inputs = Counted(rows.split.inputs)
    counted = HeldOut(type(rows.split)(inputs, rows.split.labels), rows.held_out, rows.learnt)
    network = network_of(trained)
    head = train_head(trained, counted, network)
    weights = fold(network, trained.layers, tried=False)
    assert inputs.most == BATCH
    assert inputs.seen
    assert not inputs.seen & set(rows.held_out.tolist())
    (label,) = run(head_graph(network), weights | head, rows.split.inputs.take(rows.held_out), "label")
    assert (label == rows.split.labels[rows.held_out]).mean() > 0.9
    (a,) = run(activities_graph(network), weights, rows.split.inputs.take(rows.spread(400)), "activities")
    true = rows.split.labels[rows.spread(400)]

    def loss(factor):
        logits = factor * (a @ head["head.U"]) + head["head.c"]
        return (np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(true)), true]).mean()

    assert loss(1.0) < min(loss(0.5), 0.3)  # the logits have the size that they learnt, whatever is folded
    np.testing.assert_array_equal(head["head.U"], train_head(trained, rows, network)["head.U"])


@pytest.mark.parametrize("per_channel", [False, True])
def test_whole_number_products_give_nearly_the_same_whatever_stands_beside_a_sample(trained, rows, per_channel, caplog):
    raw = rows.split.inputs.take(rows.held_out)
    network = network_of(trained, even=True)
    weights, calibration = fold(network, trained.layers), [rows.split.inputs.take(rows.spread(200))]
    with caplog.at_level(logging.WARNING):
        small = quantised(exact_graph(network), weights, calibration, per_channel=per_channel)
    assert not caplog.records
    kinds = [node.kind for node in small.nodes]
    assert "Cast" not in kinds  # bytes are whole numbers as they come
    assert kinds.count("QuantizeLinear") == 1
    whole = [array for array in small.constants.values() if array.dtype == np.int8 and array.ndim == 2]
    assert [np.abs(w.astype(int)).max() for w in whole] == [64, 64]  # 7 bits: no overflow where there is no VNNI
    (scores,) = run(small, {}, raw, "scores")
    np.testing.assert_allclose(scores, run(exact_graph(network), weights, raw, "scores")[0], rtol=0.15)
    for row in range(5):
        (alone,) = run(small, {}, raw[row : row + 1], "scores")
        np.testing.assert_allclose(alone[0], scores[row], rtol=1e-5)


@pytest.mark.parametrize("base", ["exact", "pruned", "head"])
@pytest.mark.parametrize("label_layers", ["first", "all"])
def test_onnxruntime_runs_the_products_in_whole_numbers(tmp_path, base, label_layers):
    small = form(base, "bytes", int8=True, label_layers=label_layers, widths=(32, 16))[2]
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3  # it warns that the written model is this machine's
    ort.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QGemm" if base == "head" else "MatMulIntegerToFloat") == 2
    assert "DequantizeLinear" not in kinds


@pytest.mark.parametrize("goodness", ["mean", "sum"])
@pytest.mark.parametrize("norm", ["unit", "rms", "layer", "fixed"])
def test_a_readouts_inputs_have_one_size_whatever_is_folded(norm, goodness):
    data = clusters()
    recipe, facts = prepared(small_spec(norm=norm, goodness=goodness), data)
    layers, raw = random_layers(recipe, facts), data.train.inputs.take(np.arange(100))
    for layer in layers:
        layer["power"] = np.float32(4.0)
    network = folded(recipe, facts, [float(layer["gamma"]) for layer in layers])
    (a,) = run(activities_graph(network), fold(network, layers, tried=False), raw, "activities")
    inputs = a * inputs_factor(network, layers)
    first = inputs[:, :12]
    if norm == "fixed":  # a mean square of 4 is brought to 1
        y = np.maximum(scaled(raw, facts) @ layers[0]["W"] + layers[0]["b"], 0)
        np.testing.assert_allclose(first, y / 2, rtol=1e-3, atol=1e-5)
    else:
        np.testing.assert_allclose((first**2).mean(axis=1), 1.0, rtol=3e-2)


def scaled(raw, facts):
    x = (raw - np.array(facts.offset, np.float32)) * np.array(facts.scale, np.float32)
    return x[:, facts.n_classes :]
