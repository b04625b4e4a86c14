"""The predictor's graph: raw inputs in, class goodness out, the first layer's product computed once for all labels.

Shape letters: N samples, C classes, L layers, R = N * C rows, H units of a layer.
"""

from collections.abc import Iterable, Iterator

from ffedge.kinds import goodness_of
from ffedge.layers import inputs
from ffedge.layers.base import Layer, Read
from ffedge.network import InputFacts, adds_input, layers_of, stored
from ffedge.onnx.graph import Graph, GraphBuilder, Node
from ffedge.recipe import Recipe
from ffedge.rule.norm import passed_on


def predictor_graph(recipe: Recipe, facts: InputFacts, *, known: bool = True) -> Graph:
    """Build ``input`` [N, ...] -> ``scores`` [N, C], ``label`` [N], ``margin`` [N], ``known`` [N] (bool),
    ``goodness`` [N, L, C].

    Its weights are ``layers.<l>.<parameter>`` of each layer (of a fixed norm ``.power`` [] too), ``prediction_weights``
    [L, 1] and ``known.bias`` [3] (`ffedge.model.calibration`).

    Parameters
    ----------
    known : whether it says what counts as known; old models do not.
    """
    g, classes = GraphBuilder("ffedge"), facts.n_classes
    each = [g.op("Reshape", good, g.ints(-1, 1, classes)) for _, _, good in _layers(g, recipe, facts)]
    if len(each) > 1:
        g.op("Concat", *each, axis=1, out="goodness")
    else:
        g.op("Identity", each[0], out="goodness")
    g.sum(g.op("Mul", "goodness", g.weight("prediction_weights", (len(each), 1))), 1, out="scores")
    add_answers(g, classes)
    g.output("goodness", ("N", len(each), classes))
    if known:
        g.weight("known.bias", (3,))
        add_known(g)
    return g.graph


def activities_graph(recipe: Recipe, facts: InputFacts) -> Graph:
    """Build ``input`` [N, ...] -> ``activity.<l>`` [R, H] of each layer, for every label of a sample in order."""
    g = GraphBuilder("activities")
    for layer, y, _ in _layers(g, recipe, facts):
        name = f"activity.{layer.place.index}"
        g.op("Identity", y, out=name)
        g.output(name, ("R", layer.units))
    return g.graph


def _layers(g: GraphBuilder, recipe: Recipe, facts: InputFacts) -> Iterator[tuple[Layer, str, str]]:
    """Add the layers one after the other; yield each with its activity [R, H] and goodness ([R, 1], or [N, C])."""
    network, layers = recipe.network, layers_of(recipe, facts)
    x, value = inputs.read(g, network, facts)
    for layer in layers:
        sizes = stored(recipe, layer)
        names = {name: g.weight(f"layers.{layer.place.index}.{name}", dims) for name, dims in sizes.items()}
        shared = layer.shared(g, x, names, out="z") if layer.place.shares else None
        y, axis = layer.activity(g, Read(x, shared, None, value), names)
        y = y if axis == 1 else g.op("Reshape", y, g.ints(-1, layer.units))
        good = goodness_of(layer).of(g, y, 1, names)
        yield layer, y, good
        if layer is not layers[-1]:
            power, out = names.get("power"), f"rows.{layer.place.index}"
            x = passed_on(g, x, y, good, power, 1, layer, network, out, skips=adds_input(network, layer))


def add_answers(g: GraphBuilder, classes: int) -> None:
    """Add ``label`` [N] and ``margin`` [N] from ``scores`` [N, C], and ``best`` [N, 2], the two best scores."""
    g.op("ArgMax", "scores", axis=1, keepdims=0, out="label")
    g.ops("TopK", ["scores", g.ints(2)], ("best", "best.index"), axis=1)
    g.op("MatMul", "best", g.const([1.0, -1.0]), out="margin")
    g.output("scores", ("N", classes))
    g.output("label", ("N",), "int64")
    g.output("margin", ("N",))


def add_known(g: GraphBuilder) -> None:
    """Add ``known`` [N] (bool): whether (score, -score, margin) and ``known.bias`` [3] have no negative sum."""
    room = g.op("Gemm", "best", g.const([[1.0, -1.0, 1.0], [0.0, 0.0, -1.0]], name="known.sides"), "known.bias")
    g.op("GreaterOrEqual", g.op("ReduceMin", room, axes=[1], keepdims=0), g.const(0.0), out="known")
    g.output("known", ("N",), "bool")


def with_proba(graph: Graph) -> Graph:
    """Add the output ``proba`` [N, C] by its weight ``proba.scale`` []; for other runtimes, as ffedge has `scores`."""
    g = GraphBuilder(graph.name)
    g.graph = graph
    g.op("Softmax", g.op("Mul", "scores", g.weight("proba.scale", ()), out="logits"), axis=1, out="proba")
    g.output("proba", graph.outputs["scores"].dims)
    return graph


def without_proba(nodes: Iterable[Node]) -> list[Node]:
    """Return the nodes of a graph but for those that `with_proba` adds."""
    return [node for node in nodes if node.outputs not in (("logits",), ("proba",))]
