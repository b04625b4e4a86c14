"""Other forms of a predictor: the oracle's scores for all labels, for those that are tried, or a readout's logits."""

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from networks import DATA, NETWORKS, ONE_PASS, rows_of
from onnx.reference import ReferenceEvaluator
from oracle import EPSILON, Oracle
from toys import GROUPS, READOUT, as_onnx, model_bytes, prepared, random_layers, small_spec

from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.engine.session import make_session
from ffedge.export.fold import fold
from ffedge.model.form import activities_graph, exact_graph, folded, head_graph, pruned_graph, with_known
from ffedge.predict.predictor import Predictor

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
        if not self.tried:
            return rows
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
            mean = units if self.tried and self.network.goodness == "mean" else 1
            return mean**0.5 / (self.power[layer] ** 0.5 + EPSILON)
        return units**0.5 if self.network.norm == "rms" else 1.0


@dataclass
class Made:
    """A drawn network, how it is folded, its weights, its oracle, and some raw rows."""

    network: object
    weights: dict
    layers: list
    oracle: Oracle
    raw: np.ndarray

    def run(self, graph, names=NAMES, more=None, evaluator=None):
        weights = {name: (self.weights | (more or {}))[name] for name in graph.weights}
        model = as_onnx(graph, weights)
        onnx.checker.check_model(model, full_check=True)
        session = evaluator(model) if evaluator else make_session(model.SerializeToString(), 1)
        return session.run(names, {"input": self.raw})


def made(changes, data, *, even=False, tried=True, oracle=Oracle, gamma=None):
    dataset = DATA[data] if isinstance(data, str) else data
    recipe, facts = prepared(small_spec(**changes), dataset)
    layers = random_layers(recipe, facts)
    if gamma is not None:
        layers = [layer | {"gamma": np.float32(gamma)} for layer in layers]
    network = folded(recipe, facts, [float(layer["gamma"]) for layer in layers if "gamma" in layer], even=even)
    weights = fold(network, layers, tried=tried)
    return Made(network, weights, layers, oracle(recipe, facts, layers), rows_of(dataset, 30))


def check_answers(scores, label, margin):
    np.testing.assert_array_equal(label, scores.argmax(axis=1))
    best = np.sort(scores, axis=1)
    np.testing.assert_allclose(margin, best[:, -1] - best[:, -2], rtol=1e-6)
    assert (scores.dtype, label.dtype, margin.dtype) == (np.float32, np.int64, np.float32)


@pytest.mark.parametrize("changes", FOLDED + ONE_PASS, ids=str)
@pytest.mark.parametrize("data", DATA)
def test_the_exact_form_has_the_oracles_scores(changes, data):
    for even in (False, True):
        form = made(changes, data, even=even)
        scores, label, margin = form.run(exact_graph(form.network))
        wanted = form.oracle.scores(form.raw)
        np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
        check_answers(scores, label, margin)


@pytest.mark.parametrize("data", DATA)
def test_the_exact_form_differs_from_the_model_by_rounding(data):
    form = made({"label_layers": "all"}, data)
    model = Predictor(model_bytes(form.network.recipe, form.network.facts, form.layers), threads=1)
    scores, _, _ = form.run(exact_graph(form.network))
    np.testing.assert_allclose(scores, model.predict(form.raw).scores, rtol=1e-5)


@pytest.mark.parametrize("scope", ["previous", "next"])
@pytest.mark.parametrize("gamma", [-0.7, -1.0])
def test_a_layer_may_take_off_from_the_score_or_have_no_part_in_it(gamma, scope):
    changes = {"variant": "fcff", "prediction_weights": "collaborative", "widths": (9, 8, 7)}
    form = made(changes | {"gamma": gamma, "scope": scope}, "floats", gamma=gamma)
    assert {layer.sign for layer in form.network.layers} == ({-1, 0, 1} if gamma == -1.0 else {-1, 1})
    scores, label, margin = form.run(exact_graph(form.network))
    np.testing.assert_allclose(scores, form.oracle.scores(form.raw), rtol=1e-3, atol=1e-3)
    check_answers(scores, label, margin)
    with pytest.raises(ValueError, match="the form pruned needs prediction weights that are positive"):
        pruned_graph(form.network, 2)


@pytest.mark.parametrize("changes", [c for c in FOLDED if "widths" not in c], ids=str)
@pytest.mark.parametrize("data", DATA)
def test_a_pruned_form_tries_the_labels_that_lead_after_the_first_layer(changes, data):
    form = made(changes, data)
    goodness, whole = form.oracle.goodness(form.raw), form.oracle.scores(form.raw)
    flat = goodness.transpose(0, 2, 1).reshape(-1, form.oracle.L)
    weights = np.linalg.lstsq(flat, whole.reshape(-1), rcond=None)[0]
    first = weights[0] * goodness[:, 0]
    for candidates in (2, 3, 4):
        tried = np.argsort(np.argsort(-first, axis=1), axis=1) < candidates
        scores, label, margin = form.run(pruned_graph(form.network, candidates))
        np.testing.assert_allclose(scores, np.where(tried, whole, first), rtol=1e-4)
        assert (np.where(tried, scores, np.inf).min(axis=1) >= np.where(tried, -np.inf, scores).max(axis=1)).all()
        assert tried[np.arange(len(form.raw)), label].all()
        check_answers(scores, label, margin)


def test_a_pruned_form_pushes_no_more_rows_through_the_deeper_layers():
    form = made({}, "floats")
    model = as_onnx(pruned_graph(form.network, 2), form.weights)
    products = [node.output[0] for node in model.graph.node if node.op_type == "MatMul" and "margin" not in node.output]
    for name in products:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    values = ReferenceEvaluator(model).run(products, {"input": form.raw})
    assert [value.shape for value in values] == [(30, 1, 12), (30, 2, 10), (30, 2, 8)]


@pytest.mark.parametrize("candidates", [1, 5, 2.0, None])
def test_candidates_beyond_the_classes_are_refused(candidates):
    with pytest.raises(ValueError, match=f"must be 2 to 4, got {candidates}"):
        pruned_graph(made({}, "floats").network, candidates)


def test_one_layer_has_no_pruned_form():
    with pytest.raises(ValueError, match="the form pruned needs two layers or more"):
        pruned_graph(made({"widths": (9,)}, "floats").network, 2)
    for one_pass in (GROUPS, READOUT):
        with pytest.raises(ValueError, match=r"needs labels that are tried, not (groups|readout)\. Use"):
            pruned_graph(made(one_pass, "floats").network, 2)


@pytest.mark.parametrize("changes", FOLDED + ONE_PASS, ids=str)
@pytest.mark.parametrize("data", DATA)
def test_a_head_reads_the_activities_of_a_sample_without_a_label(changes, data):
    for even in (False, True):
        form = made(changes, data, even=even, tried=False, oracle=Neutral)
        wanted = form.oracle.activities(form.raw)
        (activities,) = form.run(activities_graph(form.network), ["activities"])
        np.testing.assert_allclose(activities, wanted, rtol=1e-3, atol=1e-5)
        rng = np.random.default_rng(1)
        U, c = (rng.normal(size=shape).astype(np.float32) for shape in ((wanted.shape[1], 4), (4,)))
        scores, label, margin = form.run(head_graph(form.network), more={"head.U": U, "head.c": c})
        np.testing.assert_allclose(scores, wanted @ U + c, rtol=1e-3, atol=1e-3)
        check_answers(scores, label, margin)


def test_known_is_what_the_calibration_bounds():
    form = made({"label_layers": "all"}, "floats")
    scores, _, margin = form.run(exact_graph(form.network))
    best = scores.max(axis=1)
    bounds = np.quantile(best, 0.2), np.quantile(best, 0.9), np.quantile(margin, 0.3)
    bias = np.array([-bounds[0], bounds[1], -bounds[2]], np.float32)
    (known,) = form.run(with_known(exact_graph(form.network)), ["known"], {"known.bias": bias})
    assert known.dtype == bool
    np.testing.assert_array_equal(known, (best >= bounds[0]) & (best <= bounds[1]) & (margin >= bounds[2]))
    assert 5 < known.sum() < 25


def test_large_offsets_are_taken_off_before_the_product():
    """Inputs of 300,000 with a deviation of 1 leave float32 two digits; 1e5 deviations must not drown the product."""
    rng, labels = np.random.default_rng(0), np.arange(160) % 4
    values = (3e5 + rng.normal(size=(160, 16)) + labels[:, None]).astype(np.float32)
    form = made({}, Dataset("far", Split(ArrayRows(values), labels), None, tuple("abcd"), "sha"))
    assert form.network.centred
    scores, _, _ = form.run(exact_graph(form.network))
    np.testing.assert_allclose(scores, form.oracle.scores(form.raw), rtol=1e-4)


def test_few_bits_get_inputs_of_one_range():
    """A scale for each input, folded, would leave the inputs as far apart as they came, and the rows of W further."""
    for data, raw in (("floats", False), ("bytes", True)):
        form = made({}, data, even=True)
        assert form.network.raw == raw
        ratio = form.weights["W.0"][-10:] / form.layers[0]["W"][-10:]
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)


def test_a_form_runs_by_the_reference_evaluator_too():
    form = made({"label_layers": "all"}, "bytes")
    for graph in (exact_graph(form.network), pruned_graph(form.network, 3)):
        for ours, theirs in zip(form.run(graph), form.run(graph, evaluator=ReferenceEvaluator), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
