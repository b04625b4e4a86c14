"""Other forms of a trained predictor, which answer sooner: folded, pruned to a few labels, or with a one-pass head.

``exact`` gives the scores of the model as trained. ``pruned`` lets the deeper layers try only the k labels that lead
after the first. ``head`` passes each sample once, without a label, and reads the classes off the activities. Where one
pass tells all classes anyway, ``exact`` takes one too, and there is nothing to prune. What is constant at prediction is
folded into the weights (`ffedge.export.fold`); the graph of a form follows from the model's metadata alone, so that it
is built anew wherever it is opened. Of int8 forms the graph is read, checked operator by operator, and written anew.

Shape letters: N samples, I inputs of a sample, C classes, k labels tried, M labels tried (C or k), D inputs of a layer,
H its units.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ffedge.kinds import goodness_of
from ffedge.layers import inputs
from ffedge.layers.base import NORM_EPSILON, Layer, bounded
from ffedge.model.graph import add_answers, add_known, without_proba
from ffedge.network import InputFacts, adds_input, layers_of
from ffedge.onnx.graph import OPSET, TYPES, Graph, GraphBuilder, Port
from ffedge.onnx.read import Parts, ints_of, read_nodes
from ffedge.onnx.shapes import check_graph
from ffedge.onnx.wire import Source
from ffedge.recipe import Recipe, convolves
from ffedge.rule.norm import centred, over

FORMS = {  # name -> what it computes, and whether its weights are int8
    "exact": ("exact", False),
    "pruned": ("pruned", False),
    "head": ("head", False),
    "int8": ("exact", True),
    "pruned-int8": ("pruned", True),
    "head-int8": ("head", True),
}
LARGEST_OFFSET = 8.0  # in deviations: beyond it, an offset must be taken off before the product, or it drowns it
NODES_A_LAYER = 40


@dataclass(frozen=True)
class FoldedLayer:
    """A layer ``y = relu(x W + b + V[label])``, cut at the bound, whose sum of squares is its share of the score.

    Where one pass tells all classes, its squares, or y, times a matrix ``S`` [H, C] are its share of the scores.

    Attributes
    ----------
    sign : 1 where the share is added to the score, -1 where it is taken off, 0 where it has no part in it.
    factor : what its activity as trained is multiplied by.
    bound : the largest y, or None.
    epsilon : what the norm adds to the length of y (norm ``layer``: to its variance).
    skips : whether the layer passes on what it read, added to its normed y and normed again.
    """

    layer: Layer
    sign: int
    factor: float
    bound: float | None
    epsilon: float
    skips: bool


@dataclass(frozen=True)
class Folded:
    """How a network is folded.

    Attributes
    ----------
    raw : whether the first layer takes raw inputs [N, I]; else scaled ones [N, D], normed if the recipe asks for it.
    centred : whether the offsets are taken off before, as they are large; with `raw` only.
    """

    recipe: Recipe
    facts: InputFacts
    layers: tuple[FoldedLayer, ...]
    raw: bool
    centred: bool


def folded(recipe: Recipe, facts: InputFacts, gammas: Sequence[float], *, even: bool = False) -> Folded:
    """Return how a network is folded.

    Parameters
    ----------
    even : keep the inputs of a layer, and the rows of its W, within one range, as few bits must hold them: scales that
        differ from input to input are not folded.

    Raises
    ------
    ValueError
        A layer or a goodness has no folded form.
    """
    network = recipe.network
    if not all(layer.folds and goodness_of(layer).folds for layer in layers_of(recipe, facts)):
        kind = "convolutions" if convolves(network.widths) else network.class_goodness
        raise ValueError(f"networks of {kind} have no other form. Export the model as trained, without `form`")
    alike = facts.dtype == "uint8" and len(facts.scale) == 1
    plain = facts.dtype != "float64" and facts.clip is None
    raw = network.input_norm == "none" and (alike or not even) and plain
    offset, scale = (np.broadcast_to(np.array(v, np.float64), facts.size) for v in (facts.offset, facts.scale))
    shares = recipe.score_weights([{"gamma": gamma} for gamma in gammas] or [{}] * len(network.widths))
    layers = []
    for layer, share in zip(layers_of(recipe, facts), shares, strict=True):
        divisor = goodness_of(layer).divisor()
        factor = 1.0 if divisor is None else math.sqrt((abs(share) or 1.0) / divisor)
        root = math.sqrt(layer.units) if network.norm == "rms" else 1.0
        epsilon = {"layer": NORM_EPSILON * factor**2, "fixed": 0.0}.get(network.norm, NORM_EPSILON * factor * root)
        bound = None if layer.place.bound is None else factor * layer.place.bound
        sign = (share > 0) - (share < 0)
        layers.append(FoldedLayer(layer, sign, factor, bound, epsilon, adds_input(network, layer)))
    return Folded(recipe, facts, tuple(layers), raw, raw and bool(np.abs(offset * scale).max() > LARGEST_OFFSET))


def check_prunable(network: Folded) -> None:
    """Raise ValueError where a network tries no labels, has one layer, or a layer that takes off from the score."""
    if not network.recipe.network.tries_labels:
        kind = network.recipe.network.class_goodness
        raise ValueError(f"the form pruned needs labels that are tried, not {kind}. Use `form='exact'`")
    if len(network.layers) == 1:
        raise ValueError("the form pruned needs two layers or more. Use `form='exact'`")
    if network.layers[0].sign < 1 or any(layer.sign < 0 for layer in network.layers):
        raise ValueError("the form pruned needs prediction weights that are positive. Use `form='exact'`")


def exact_graph(network: Folded) -> Graph:
    """Build ``input`` [N, ...] -> ``scores`` [N, C], ``label`` [N], ``margin`` [N]: those of the model as trained."""
    return _Form(network).tried() if network.recipe.network.tries_labels else _Form(network).one_pass()


def pruned_graph(network: Folded, candidates: int) -> Graph:
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
    if type(candidates) is not int or not 2 <= candidates <= network.facts.n_classes:
        raise ValueError(f"candidates must be 2 to {network.facts.n_classes}, got {candidates}")
    check_prunable(network)
    return _Form(network).tried(candidates)


def head_graph(network: Folded) -> Graph:
    """Build the same from a readout ``a head.U + head.c`` of the layers' normed activities: ``scores`` are logits."""
    return _Form(network).head()


def activities_graph(network: Folded) -> Graph:
    """Build ``input`` [N, ...] -> ``activities`` [N, sum of H]: what a readout is trained on."""
    return _Form(network).activities()


def with_known(graph: Graph) -> Graph:
    """Add the output ``known`` [N] (bool) to a form, by its weight ``known.bias`` [3]."""
    g = GraphBuilder(graph.name)
    g.graph = graph
    g.weight("known.bias", (3,))
    add_known(g)
    return graph


def form_graph(
    form: Mapping[str, Any], recipe: Recipe, facts: InputFacts, gammas: Sequence[float], data: Source, parts: Parts
) -> Graph:
    """Return the graph of an exported form: built from metadata, or, in whole numbers, read and written anew.

    Parameters
    ----------
    form : what the metadata tell of it.

    Raises
    ------
    ValueError
        There is no such form, or its graph is none that ffedge makes.
    """
    name = form.get("name")
    if name not in FORMS:
        raise ValueError(f"`form` must be one of {', '.join(FORMS)}, got {name!r}")
    base, few_bits = FORMS[name]
    if few_bits:
        return _graph_read(data, parts, facts, len(recipe.network.widths))
    network = folded(recipe, facts, gammas)
    if base == "pruned":
        graph = pruned_graph(network, form.get("candidates", 0))
    else:
        graph = head_graph(network) if base == "head" else exact_graph(network)
    return with_known(graph) if "known.bias" in parts.tensors else graph


def _graph_read(data: Source, parts: Parts, facts: InputFacts, layers: int) -> Graph:
    """Return the graph that stands in a file, checked, of nothing but what was read of it."""
    given, nodes = read_nodes(data, parts)
    nodes = without_proba(nodes)
    if parts.opset != OPSET or given != ["input"]:
        raise ValueError(f"it must read input by operator set {OPSET}, got {given} by {parts.opset}")
    if len(nodes) > (most := NODES_A_LAYER * (layers + 1)):
        raise ValueError(f"a graph of {layers} layers must have at most {most} nodes, got {len(nodes)}")
    names = {number: name for name, number in TYPES.items()}
    graph = Graph("ffedge", nodes, {"input": Port(("N", *facts.shape), facts.dtype)})
    for name, tensor in parts.tensors.items():
        if name == "proba.scale":
            continue
        ints = ints_of(data, tensor)
        if ints is None:
            graph.weights[name] = Port(tensor.shape, names[tensor.kind])
        else:
            graph.constants[name] = np.array(ints, np.int64).reshape(tensor.shape)
    values = {name for node in nodes for name in node.outputs}
    outputs = {"scores": Port(("N", facts.n_classes)), "label": Port(("N",), "int64"), "margin": Port(("N",))}
    outputs |= {"known": Port(("N",), "bool")} if "known" in values else {}
    if missing := [name for name in outputs if name not in values]:
        raise ValueError(f"it lacks the output {missing[0]}")
    graph.outputs = outputs
    check_graph(graph, {"N": 1})
    return graph


class _Form:
    """The parts that the forms share."""

    def __init__(self, network: Folded) -> None:
        self._network, self._layers = network, network.layers
        self._classes, self._norm = network.facts.n_classes, network.recipe.network.norm
        self._g = GraphBuilder("ffedge")

    def tried(self, candidates: int | None = None) -> Graph:
        """Try all labels, or in the deeper layers the candidates that lead after the first one."""
        g, (first, *deeper), y = self._g, self._layers, self._first_tried()
        shares = share = score = self._share(y)
        if candidates is not None:
            share, leading = g.ops("TopK", [shares, g.ints(candidates)], ("tried", "tried.index"), axis=1)
            y, score = g.op("GatherND", y, leading, batch_dims=1), share
        elif first.sign < 1:
            score = g.op("Mul", share, g.const(float(first.sign)))
        h = None
        for index, layer in enumerate(deeper, start=1):
            before, units, by_label = self._layers[index - 1], layer.layer.units, layer.layer.place.sees_label
            h = self._with_read(self._normed(y, share, before.epsilon), h, before)
            bias = g.weight(f"bias.{index}", (self._classes, units) if by_label else (units,))
            if candidates is not None and by_label:
                bias = g.op("GatherND", bias, leading)
            y = bounded(g, g.op("Add", g.op("MatMul", h, self._weights(index)), bias), layer.bound)
            share = self._share(y)
            if layer.sign:
                score = g.op("Add" if layer.sign > 0 else "Sub", score, share)
        if candidates is not None:
            score = g.op("ScatterElements", shares, leading, score, axis=1)
        return self._answered("Squeeze", score, g.ints(2))

    def one_pass(self) -> Graph:
        g, scores = self._g, list[str]()
        for layer, y, _ in self._once(norm_last=False):
            index, kind = layer.layer.place.index, goodness_of(layer.layer)
            S = g.weight(f"S.{index}", (layer.layer.units, self._classes))
            scores = [y if kind.linear else g.op("Mul", y, y), S, *scores[-1:]]
            if layer is not self._layers[-1]:
                scores = [g.op("Gemm" if len(scores) > 2 else "MatMul", *scores)]
        return self._answered("Gemm" if len(scores) > 2 else "MatMul", *scores)

    def head(self) -> Graph:
        g, units = self._g, sum(layer.layer.units for layer in self._layers)
        U, c = g.weight("head.U", (units, self._classes)), g.weight("head.c", (self._classes,))
        return self._answered("Gemm", self._joined(), U, c)

    def activities(self) -> Graph:
        self._g.op("Identity", self._joined(), out="activities")
        self._g.output("activities", ("N", sum(layer.layer.units for layer in self._layers)))
        return self._g.graph

    def _joined(self) -> str:
        """Return the normed activities of all layers side by side; the label's inputs are empty."""
        each = [normed for _, _, normed in self._once(norm_last=True)]
        return each[0] if len(each) == 1 else self._g.op("Concat", *each, axis=1)

    def _once(self, *, norm_last: bool) -> Iterator[tuple[FoldedLayer, str, str]]:
        """Add the layers for one pass; yield each with its activity [N, H], as it is and normed."""
        g, (h, _) = self._g, self._input()
        for i, layer in enumerate(self._layers):
            # a MatMul and an Add of matrices would become a Gemm too late for onnxruntime to make whole-number products
            z = g.op("Gemm", h, self._weights(i), g.weight(f"bias.{i}", (layer.layer.units,)))
            y = normed = bounded(g, z, layer.bound)
            if norm_last or layer is not self._layers[-1]:
                normed = self._normed(y, self._share(y, axis=1), layer.epsilon, axis=1)
            yield layer, y, normed
            if layer is not self._layers[-1]:
                h = self._with_read(normed, h, layer, axis=1)

    def _input(self, *between: int) -> tuple[str, str | None]:
        """Return the first layer's input [N, *between, D], and the label's value [N, 1, 1] where it is not constant."""
        g, facts, network = self._g, self._network.facts, self._network.recipe.network
        if not self._network.raw:
            x, value = inputs.read(g, network, facts)
            return g.op("Unsqueeze", x, g.ints(1)) if between else x, value
        given = g.input("input", ("N", *facts.shape), facts.dtype)
        raw = g.op("Reshape", given, g.ints(-1, *between, facts.size))
        x = g.op("Cast", raw, to=1) if facts.dtype == "uint8" else raw
        if self._network.centred:
            x = g.op("Sub", x, g.const(facts.offset, name="input.offset"))
        return x, None

    def _first_tried(self) -> str:
        """Return the first layer's activity [N, C, H] with every label."""
        g, layer, (x, value) = self._g, self._layers[0], self._input(1)
        z, units = g.op("MatMul", x, self._weights(0)), layer.layer.units
        if value is None:
            return bounded(g, g.op("Add", z, g.weight("bias.0", (self._classes, units))), layer.bound)
        z = g.op("Add", z, g.weight("b.0", (units,)))
        V = g.weight("V.0", (self._classes, units))
        return bounded(g, g.op("Add", z, g.op("Mul", value, V)), layer.bound)

    def _weights(self, index: int) -> str:
        layer = self._layers[index].layer
        rows = self._network.facts.size if index == 0 and self._network.raw else layer.place.inputs
        return self._g.weight(f"W.{index}", (rows, layer.units))

    def _share(self, y: str, axis: int = 2) -> str:
        """Return the sum of squares over an axis, which stays (onnxruntime's ReduceSumSquare is slower)."""
        return self._g.sum(self._g.op("Mul", y, y), axis, keep=True)

    def _with_read(self, normed: str, read: str | None, layer: FoldedLayer, axis: int = 2) -> str:
        """Return what a layer passes on, from its normed activity [N, M, H] and what it read."""
        if not layer.skips or read is None:
            return normed
        both = self._g.op("Add", normed, read)  # as wide as each other, they lack the same factor
        return self._normed(both, self._share(both, axis), NORM_EPSILON, axis)

    def _normed(self, y: str, share: str, epsilon: float, axis: int = 2) -> str:
        if self._norm == "fixed":
            return y
        return centred(self._g, y, axis, epsilon) if self._norm == "layer" else over(self._g, y, share, 1.0, epsilon)

    def _answered(self, kind: str, *values: str) -> Graph:
        """Add the outputs, from scores [N, C] by a last operator."""
        self._g.op(kind, *values, out="scores")
        add_answers(self._g, self._classes)
        return self._g.graph
