"""Other forms of a predictor: the oracle's scores for all labels, for those that are tried, or a readout's logits."""

import numpy as np
import onnx
import pytest
from ffedge.graph.folded import fold
from ffedge.graph.forms import Head, activities_graph, exact_graph, head_graph, pruned_graph, with_known
from networks import DATA, NETWORKS, rows_of
from onnx.reference import ReferenceEvaluator
from oracle import EPSILON, Oracle
from toys import model_bytes, prepared, random_layers, small_spec

from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.engine.session import make_session

FOLDED = NETWORKS + [
    {"scaling": scaling} for scaling in ("none", "range", "centred", "feature")
]  # goes into the weights
NAMES = ["scores", "label", "margin"]


class Neutral(Oracle):
    """The oracle with nothing where a label would stand, after the norm of the input."""

    def onehot(self, labels):
        return super().onehot(labels) * self.on

    def rows(self, raw, labels, mask=None):
        self.on = 1.0
        rows = super().rows(raw, labels, mask)
        self.on = 0.0
        start = 0 if self.network.label_mode == "overlay" else rows.shape[1] - self.classes
        rows[:, start : start + self.classes] = 0.0
        return rows

    def activities(self, raw):
        """Return the normed activities of all layers [N, A] as they are folded: with a factor to the mean square."""
        each = [y for _, y, _ in self.forward(raw, np.zeros((len(raw), 1), int))]
        factors = [self._lacking(y.shape[1], i) for i, y in enumerate(each)]
        return np.concatenate(
            [self.normed(y, i) / f for i, (y, f) in enumerate(zip(each, factors, strict=True))], axis=1
        )

    def _lacking(self, units, layer):
        """Return the factor that a normed activity lacks: of an RMS norm, or of a fixed norm and the mean."""
        if self.network.norm == "fixed":
            mean = units if self.network.goodness == "mean" else 1
            return mean**0.5 / (self.power[layer] ** 0.5 + EPSILON)
        return units**0.5 if self.network.norm == "rms" else 1.0


def made(changes, data, *, even=False):
    """Return a recipe, facts, folded weights, an oracle's arguments, and some raw rows."""
    recipe, facts = prepared(small_spec(**changes), DATA[data])
    layers = random_layers(recipe, facts)
    return recipe, facts, fold(recipe, facts, layers, even=even), layers, rows_of(DATA[data], 30)


def run(model, raw, names=NAMES):
    onnx.checker.check_model(model, full_check=True)
    session = make_session(model.SerializeToString(), 1)
    return session.run(names, {"input": raw})


def check_answers(scores, label, margin):
    np.testing.assert_array_equal(label, scores.argmax(axis=1))
    best = np.sort(scores, axis=1)
    np.testing.assert_allclose(margin, best[:, -1] - best[:, -2], rtol=1e-6)
    assert (scores.dtype, label.dtype, margin.dtype) == (np.float32, np.int64, np.float32)


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("changes", FOLDED, ids=str)
@pytest.mark.parametrize("data", DATA)
def test_the_exact_form_has_the_oracles_scores(changes, data, even):
    recipe, facts, folded, layers, raw = made(changes, data, even=even)
    scores, label, margin = run(exact_graph(recipe, facts, folded), raw)
    np.testing.assert_allclose(scores, Oracle(recipe, facts, layers).scores(raw), rtol=1e-4)
    check_answers(scores, label, margin)


@pytest.mark.parametrize("data", DATA)
def test_the_exact_form_differs_from_the_model_by_rounding(data):
    recipe, facts, folded, layers, raw = made({"label_layers": "all"}, data)
    model = make_session(model_bytes(recipe, facts, layers), 1)
    scores, _, _ = run(exact_graph(recipe, facts, folded), raw)
    np.testing.assert_allclose(scores, model.run(["scores"], {"input": raw})[0], rtol=1e-5)


@pytest.mark.parametrize("scope", ["previous", "next"])
@pytest.mark.parametrize("gamma", [-0.7, -1.0])
def test_a_layer_may_take_off_from_the_score_or_have_no_part_in_it(gamma, scope):
    changes = {"variant": "fcff", "prediction_weights": "collaborative", "widths": (9, 8, 7)}
    changes |= {"gamma": gamma, "scope": scope}
    recipe, facts, _, layers, raw = made(changes, "floats")
    layers = [layer | {"gamma": np.float32(gamma)} for layer in layers]
    oracle = Oracle(recipe, facts, layers)
    folded = fold(recipe, facts, layers)
    assert {layer.sign for layer in folded.layers} == ({-1, 0, 1} if gamma == -1.0 else {-1, 1})
    scores, label, margin = run(exact_graph(recipe, facts, folded), raw)
    np.testing.assert_allclose(scores, oracle.scores(raw), rtol=1e-3, atol=1e-3)
    check_answers(scores, label, margin)
    with pytest.raises(ValueError, match="the form pruned needs prediction weights that are positive"):
        pruned_graph(recipe, facts, folded, 2)


@pytest.mark.parametrize("candidates", [2, 3, 4])
@pytest.mark.parametrize("changes", [c for c in FOLDED if "widths" not in c], ids=str)
@pytest.mark.parametrize("data", DATA)
def test_a_pruned_form_tries_the_labels_that_lead_after_the_first_layer(changes, data, candidates):
    recipe, facts, folded, layers, raw = made(changes, data)
    oracle = Oracle(recipe, facts, layers)
    weights = np.linalg.lstsq(
        oracle.goodness(raw).transpose(0, 2, 1).reshape(-1, oracle.L), oracle.scores(raw).reshape(-1), rcond=None
    )[0]
    first, whole = weights[0] * oracle.goodness(raw)[:, 0], oracle.scores(raw)
    tried = np.argsort(np.argsort(-first, axis=1), axis=1) < candidates
    wanted = np.where(tried, whole, first)
    scores, label, margin = run(pruned_graph(recipe, facts, folded, candidates), raw)
    np.testing.assert_allclose(scores, wanted, rtol=1e-4)
    assert (np.where(tried, scores, np.inf).min(axis=1) >= np.where(tried, -np.inf, scores).max(axis=1)).all()
    assert tried[np.arange(len(raw)), label].all()
    check_answers(scores, label, margin)


def test_a_pruned_form_pushes_no_more_rows_through_the_deeper_layers():
    recipe, facts, folded, _, raw = made({}, "floats")
    model = pruned_graph(recipe, facts, folded, 2)
    products = [node.output[0] for node in model.graph.node if node.op_type == "MatMul" and "margin" not in node.output]
    for name in products:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    found = ReferenceEvaluator(model).run(products, {"input": raw})
    assert [value.shape for value in found] == [(30, 1, 12), (30, 2, 10), (30, 2, 8)]


@pytest.mark.parametrize(("candidates", "why"), [(1, "must be 2 to 4, got 1"), (5, "must be 2 to 4, got 5")])
def test_candidates_beyond_the_classes_are_refused(candidates, why):
    recipe, facts, folded, _, _ = made({}, "floats")
    with pytest.raises(ValueError, match=why):
        pruned_graph(recipe, facts, folded, candidates)


def test_one_layer_has_no_pruned_form():
    recipe, facts, folded, _, _ = made({"widths": (9,)}, "floats")
    with pytest.raises(ValueError, match="the form pruned needs two layers or more"):
        pruned_graph(recipe, facts, folded, 2)


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("changes", FOLDED, ids=str)
@pytest.mark.parametrize("data", DATA)
def test_a_head_reads_the_activities_of_a_sample_without_a_label(changes, data, even):
    recipe, facts, folded, layers, raw = made(changes, data, even=even)
    wanted = Neutral(recipe, facts, layers).activities(raw)
    (activities,) = run(activities_graph(recipe, facts, folded), raw, ["activities"])
    np.testing.assert_allclose(activities, wanted, rtol=1e-3, atol=1e-5)
    rng = np.random.default_rng(1)
    head = Head(*(rng.normal(size=shape).astype(np.float32) for shape in ((wanted.shape[1], 4), (4,))))
    scores, label, margin = run(head_graph(recipe, facts, folded, head), raw)
    np.testing.assert_allclose(scores, wanted @ head.U + head.c, rtol=1e-3, atol=1e-3)
    check_answers(scores, label, margin)


def test_known_is_what_the_calibration_bounds():
    recipe, facts, folded, _, raw = made({"label_layers": "all"}, "floats")
    plain = exact_graph(recipe, facts, folded)
    scores, _, margin = run(plain, raw)
    best = scores.max(axis=1)
    bounds = np.quantile(best, 0.2), np.quantile(best, 0.9), np.quantile(margin, 0.3)
    bias = np.array([-bounds[0], bounds[1], -bounds[2]], np.float32)
    (known,) = run(with_known(plain, bias), raw, ["known"])
    assert known.dtype == bool
    np.testing.assert_array_equal(known, (best >= bounds[0]) & (best <= bounds[1]) & (margin >= bounds[2]))
    assert 5 < known.sum() < 25
    assert "known" not in [output.name for output in plain.graph.output]


def test_large_offsets_are_taken_off_before_the_product():
    """Inputs of 300,000 with a deviation of 1 leave float32 two digits; 1e5 deviations must not drown the product."""
    rng, labels = np.random.default_rng(0), np.arange(160) % 4
    values = (3e5 + rng.normal(size=(160, 16)) + labels[:, None]).astype(np.float32)
    data = Dataset("far", Split(ArrayRows(values), labels), None, tuple("abcd"), "sha")
    recipe, facts = prepared(small_spec(), data)
    layers = random_layers(recipe, facts)
    folded = fold(recipe, facts, layers)
    assert folded.centred
    scores, _, _ = run(exact_graph(recipe, facts, folded), values)
    np.testing.assert_allclose(scores, Oracle(recipe, facts, layers).scores(values), rtol=1e-4)


def test_few_bits_get_inputs_of_one_range():
    """A scale for each input, folded, would leave the inputs as far apart as they came, and the rows of W further."""
    for data, raw in (("floats", False), ("bytes", True)):
        _, facts, folded, layers, _ = made({}, data, even=True)
        assert folded.raw == raw
        ratio = folded.layers[0].W[-10:] / layers[0]["W"][-10:]
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
    assert len(facts.scale) == 1


def test_a_form_runs_by_the_reference_evaluator_too():
    recipe, facts, folded, _, raw = made({"label_layers": "all"}, "bytes")
    for model in (exact_graph(recipe, facts, folded), pruned_graph(recipe, facts, folded, 3)):
        for ours, theirs in zip(run(model, raw), ReferenceEvaluator(model).run(NAMES, {"input": raw}), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
