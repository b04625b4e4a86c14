"""Other forms of a trained predictor, which answer sooner: folded, pruned to a few labels, or with a one-pass head.

``exact`` gives the scores of the model as trained. ``pruned`` lets the deeper layers try only the k labels that lead
after the first. ``head`` passes each sample once, without a label, and reads the classes off the activities.

Shape letters: N samples, I inputs of a sample, C classes, L layers, k labels tried, M labels tried (C or k), H units.
"""

from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray

from ffedge.graph.answers import add_answers, add_known
from ffedge.graph.build import GraphBuilder
from ffedge.graph.folded import Folded, FoldedLayer
from ffedge.graph.layer import normalised_input, scaled_input
from ffedge.network import InputFacts
from ffedge.recipe import Recipe
from ffedge.spec import NORM_EPSILON

Array = NDArray[Any]


@dataclass(frozen=True)
class Head:
    """A linear readout ``a U + c`` of the normed activities of all layers [N, sum of H]: U [sum of H, C], c [C]."""

    U: Array
    c: Array


def exact_graph(recipe: Recipe, facts: InputFacts, folded: Folded) -> onnx.ModelProto:
    """Build ``input`` [N, ...] -> ``scores`` [N, C], ``label`` [N], ``margin`` [N]: those of the model as trained."""
    return _Form(recipe, facts, folded).exact()


def pruned_graph(recipe: Recipe, facts: InputFacts, folded: Folded, candidates: int) -> onnx.ModelProto:
    """Build the same, but try only some labels in the deeper layers.

    The score of a label that is not tried is the first layer's share alone. A tried label's is no less than any of
    these, as its first share is no less and the deeper layers only add to it.

    Parameters
    ----------
    candidates : k, from 2 to C.

    Raises
    ------
    ValueError
        k is out of range, or the network cannot be pruned (`check_prunable`).
    """
    if not 2 <= candidates <= facts.n_classes:
        raise ValueError(f"candidates must be 2 to {facts.n_classes}, got {candidates}")
    check_prunable(folded)
    return _Form(recipe, facts, folded).pruned(candidates)


def check_prunable(folded: Folded) -> None:
    """Raise ValueError where a network has one layer, or a layer that takes off from the score."""
    if len(folded.layers) == 1:
        raise ValueError("the form pruned needs two layers or more. Use --form exact")
    if folded.layers[0].sign < 1 or any(layer.sign < 0 for layer in folded.layers):
        raise ValueError("the form pruned needs prediction weights that are positive. Use --form exact")


def head_graph(recipe: Recipe, facts: InputFacts, folded: Folded, head: Head) -> onnx.ModelProto:
    """Build the same from a readout: ``scores`` are its logits."""
    return _Form(recipe, facts, folded).head(head)


def activities_graph(recipe: Recipe, facts: InputFacts, folded: Folded) -> onnx.ModelProto:
    """Build ``input`` [N, ...] -> ``activities`` [N, sum of H]: what a readout is trained on."""
    return _Form(recipe, facts, folded).activities()


class _Form:
    """The parts that the forms share."""

    def __init__(self, recipe: Recipe, facts: InputFacts, folded: Folded) -> None:
        self._network, self._facts, self._folded = recipe.network, facts, folded
        self._g = GraphBuilder("ffedge")

    def exact(self) -> onnx.ModelProto:
        y, h = self._first_tried(), None
        share = score = self._share(y)
        if self._folded.layers[0].sign < 1:
            score = self._g.op("Mul", share, self._g.const(float(self._folded.layers[0].sign)))
        for i, layer in enumerate(self._folded.layers[1:]):
            h = self._passed(i, y, share, h)
            y = self._activity(h, self._bias(i + 1), i + 1)
            share = self._share(y)
            score = self._summed(score, share, layer)
        return self._answered(self._g.op("Squeeze", score, self._g.ints(2)))

    def pruned(self, candidates: int) -> onnx.ModelProto:
        g, y, h = self._g, self._first_tried(), None
        shares = self._share(y)
        share, chosen = self._best(shares, candidates, "tried")
        y, score = g.op("GatherND", y, chosen, batch_dims=1), share
        for i, layer in enumerate(self._folded.layers[1:]):
            h, bias = self._passed(i, y, share, h), self._bias(i + 1)
            y = self._activity(h, bias if layer.V is None else g.op("GatherND", bias, chosen), i + 1)
            share = self._share(y)
            score = self._summed(score, share, layer)
        scores = g.op("ScatterElements", shares, chosen, score, axis=1)
        return self._answered(g.op("Squeeze", scores, g.ints(2)))

    def head(self, head: Head) -> onnx.ModelProto:
        g = self._g
        return self._answered(
            g.op("Gemm", self._joined(), g.const(head.U, name="head.U"), g.const(head.c, name="head.c"))
        )

    def activities(self) -> onnx.ModelProto:
        self._g.op("Identity", self._joined(), out="activities")
        self._g.output("activities", ("N", sum(layer.b.size for layer in self._folded.layers)))
        return self._g.model()

    def _joined(self) -> str:
        """Return the normed activities of all layers side by side; the label's inputs are empty."""
        g, (h, _), each = self._g, self._input(), []
        for i, layer in enumerate(self._folded.layers):
            # a MatMul and an Add of matrices would become a Gemm too late for onnxruntime to make whole-number products
            z = g.op("Gemm", h, self._weights(i), g.const(layer.b, name=f"bias.{i}"))
            y = self._cut(z, layer)
            each.append(self._normed(y, self._share(y, axis=1), layer.epsilon, axis=1))
            h = self._with_read(each[-1], h, layer, axis=1)
        return each[0] if len(each) == 1 else g.op("Concat", *each, axis=1)

    def _input(self, *between: int) -> tuple[str, str | None]:
        """Return the first layer's input [N, *between, D], and the label's value [N, 1, 1] where it is not constant."""
        g, facts = self._g, self._facts
        given = g.input("input", ("N", *facts.shape), facts.dtype)
        if not self._folded.raw:
            rows = g.op("Reshape", given, g.ints(-1, facts.size))
            x, value = scaled_input(g, rows, self._network, facts), None
            if self._network.input_norm != "none":
                x, value = normalised_input(g, x, self._network, facts)
            return g.op("Unsqueeze", x, g.ints(1)) if between else x, value
        raw = g.op("Reshape", given, g.ints(-1, *between, facts.size))
        x = g.op("Cast", raw, to=1) if facts.dtype == "uint8" else raw
        if self._folded.centred:
            x = g.op("Sub", x, g.const(facts.offset, name="input.offset"))
        return x, None

    def _first_tried(self) -> str:
        """Return the first layer's activity [N, C, H] with every label."""
        g, layer, (x, value) = self._g, self._folded.layers[0], self._input(1)
        assert layer.V is not None
        z = g.op("MatMul", x, self._weights(0))
        if value is None:
            return self._cut(g.op("Add", z, g.const(layer.b + layer.V, name="bias.0")), layer)
        z = g.op("Add", z, g.const(layer.b, name="b.0"))
        return self._cut(g.op("Add", z, g.op("Mul", value, g.const(layer.V, name="V.0"))), layer)

    def _bias(self, index: int) -> str:
        """Return a further layer's bias for each label [C, H], or for all [H]."""
        layer = self._folded.layers[index]
        return self._g.const(layer.b if layer.V is None else layer.b + layer.V, name=f"bias.{index}")

    def _activity(self, h: str, bias: str, index: int) -> str:
        """Return the activity [N, M, H] of a further layer."""
        z = self._g.op("Add", self._g.op("MatMul", h, self._weights(index)), bias)
        return self._cut(z, self._folded.layers[index])

    def _cut(self, z: str, layer: FoldedLayer) -> str:
        if layer.bound is None:
            return self._g.op("Relu", z)
        return self._g.op("Clip", z, self._g.const(0.0), self._g.const(layer.bound))

    def _weights(self, index: int) -> str:
        return self._g.const(self._folded.layers[index].W, name=f"W.{index}")

    def _share(self, y: str, axis: int = 2) -> str:
        """Return the sum of squares over an axis, which stays (onnxruntime's ReduceSumSquare is slower)."""
        return self._g.sum(self._g.op("Mul", y, y), axis, keep=True)

    def _passed(self, index: int, y: str, share: str, read: str | None) -> str:
        """Return what a layer passes on, from its activity [N, M, H] and what it read."""
        layer = self._folded.layers[index]
        return self._with_read(self._normed(y, share, layer.epsilon), read, layer)

    def _with_read(self, normed: str, read: str | None, layer: FoldedLayer, axis: int = 2) -> str:
        if not layer.skips or read is None:
            return normed
        both = self._g.op("Add", normed, read)  # as wide as each other, they lack the same factor
        return self._normed(both, self._share(both, axis), NORM_EPSILON, axis)

    def _normed(self, y: str, share: str, epsilon: float, axis: int = 2) -> str:
        g, norm = self._g, self._network.norm
        if norm == "fixed":
            return y
        if norm != "layer":
            return g.op("Div", y, g.op("Add", g.op("Sqrt", share), g.const(epsilon)))
        centred = g.op("Sub", y, g.mean(y, axis, keep=True))
        variance = g.mean(g.op("Mul", centred, centred), axis, keep=True)
        return g.op("Div", centred, g.op("Sqrt", g.op("Add", variance, g.const(epsilon))))

    def _summed(self, score: str, share: str, layer: FoldedLayer) -> str:
        kind = {1: "Add", -1: "Sub"}.get(layer.sign)
        return self._g.op(kind, score, share) if kind else score

    def _best(self, values: str, count: int, name: str) -> tuple[str, str]:
        """Return the greatest values along axis 1, in order, and where they stand."""
        names = [name, f"{name}.index"]
        self._g.nodes.append(onnx.helper.make_node("TopK", [values, self._g.ints(count)], names, axis=1))
        return names[0], names[1]

    def _answered(self, scores: str) -> onnx.ModelProto:
        """Add the outputs, from scores [N, C]."""
        g = self._g
        g.nodes[-1].output[0] = "scores"
        add_answers(g, self._facts.n_classes)
        return g.model()


def with_known(model: onnx.ModelProto, bias: Array) -> onnx.ModelProto:
    """Return a form with the output ``known`` [N] (bool), by the bias [3] of a calibration of its own scores."""
    g = GraphBuilder("known")
    g.const(bias, name="known.bias")
    add_known(g)
    made: onnx.ModelProto = onnx.ModelProto.FromString(model.SerializeToString())
    made.graph.node.extend(g.nodes)
    made.graph.output.extend(g.outputs)
    present = {tensor.name for tensor in made.graph.initializer}  # constants are named by their values
    made.graph.initializer.extend(tensor for name, tensor in g.initializers.items() if name not in present)
    return made
