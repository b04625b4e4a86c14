"""A model file's learning step for other readers: standard ``training_info``, made of the very graphs that train.

ffedge writes it and never reads it: it builds its own graphs from the file's metadata. The algorithm is one flat graph
of a whole step, in which every layer learns from one minibatch; by ONNX's rule it is run joined to the predictor's
graph, whose ``input`` and weights it names. Its inputs are

- ``input`` [N, ...], the predictor's,
- ``labels`` [N, M] int64: the true label, then K wrong ones. Who feeds the step draws them, as the order of the
  samples: the metadata say how (``negatives``); for hard ones the predictor's ``goodness`` is what to draw from,
- ``mask`` [N, D] uint8, where inputs are dropped: 0 with the probability ``input_dropout``,
- ``rate.<l>`` [] float32, which have the layers' rates as their values unless they are fed.

Weights are not stored twice. Moments begin at zero; as zeros would triple the file, each is stored as one zero, which
the first step spreads over its parameter: an input whose sizes are open, with that initializer as its value. The
initialization graph sets them to one zero again, and the count of steps to 0.

Every layer's step goes out from the weights before it: so all layers run forward first. Nodes and values carry their
stage and layer in their names: ``learn.0/loss`` is the loss of layer 0. A layer's stages are

    scale, dropout, product     raw inputs -> x, its product z with W    (first layer)
    forward, rows, goodness     activity, what the next layer sees, g [N, M]
    learn, update               loss, slope, dz, gradients; new b, V, gamma and their moments
    gradient, step              W's gradient; new W and its moments
"""

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ffedge.engine.kernels import Kernels, tiled_of
from ffedge.layers.base import Layer
from ffedge.network import InputFacts, layers_of, trained
from ffedge.onnx import wire
from ffedge.onnx.graph import TYPES, Graph, GraphBuilder, Node, graph_bytes
from ffedge.recipe import Recipe
from ffedge.rule.optimizer import ADAM_DECAYS, ADAM_EPSILON, MOMENTS

SCALARS = ("rate", "decaying.rate", "epsilon", "keep", "gamma.rate", "gamma.epsilon", "share")
SHAPES = dict[str, tuple[int, ...]]


def training_info(recipe: Recipe, facts: InputFacts, predictor: Graph, gammas: list[float]) -> bytes:
    """Return the learning step's message, to stand beside the predictor (TrainingInfoProto).

    Parameters
    ----------
    gammas : of the layers that collaborate, which are part of its state.
    """
    layers = layers_of(recipe, facts)
    update, state = bindings(recipe, layers), _state(recipe, layers)
    steps = _Steps(recipe, facts, layers, predictor, {f"layers.{i}.gamma": gamma for i, gamma in enumerate(gammas)})
    content = wire.field(1, graph_bytes(_initialization(state))) + wire.field(2, graph_bytes(steps.graph(update)))
    for name in ["step", *state]:
        content += wire.field(3, wire.text(1, name) + wire.text(2, f"initial/{name}"))
    for key, value in update.items():
        content += wire.field(4, wire.text(1, key) + wire.text(2, value))
    return content


def bindings(recipe: Recipe, layers: tuple[Layer, ...]) -> dict[str, str]:
    """Return which output of the step takes the place of each value that learns, the predictor's weights included."""
    result = {"step": "scalars.0/new.step"}
    for layer in layers:
        index = layer.place.index
        for name in trained(recipe, layer):
            stage = "step" if name in tiled_of(layer) else "update"
            for part in (name, *_moments(recipe, name)):
                result[f"layers.{index}.{part}"] = f"{stage}.{index}/new.{part}"
    if recipe.rule.variant == "acff" and recipe.rule.prediction_weights == "collaborative":
        result["prediction_weights"] = "prediction.0/new.prediction_weights"
    return result


def _state(recipe: Recipe, layers: tuple[Layer, ...]) -> SHAPES:
    """Return the moments that the step keeps beside the predictor's weights and gammas, with their shapes."""
    return {
        f"layers.{layer.place.index}.{moment}": dims
        for layer in layers
        for name, dims in trained(recipe, layer).items()
        for moment in _moments(recipe, name)
    }


def _moments(recipe: Recipe, name: str) -> tuple[str, ...]:
    return tuple(f"{name}.{moment}" for moment in MOMENTS[recipe.optimizer_of(name)])


def _outer(local: str, layer: int) -> str:
    """Return what a value that a layer's graph reads is called in the whole."""
    first = layer == 0
    if local in SCALARS:
        return f"scalars.{layer}/{local}"
    shared = {
        "raw": "input.0/raw",
        "mask": "mask",
        "labels": "labels" if first else "input.0/labels",
        "z": "product.0/z",
        "value": "product.0/value",
        "x": "product.0/x" if first else f"rows.{layer - 1}/rows",
        "dz": f"learn.{layer}/dz",
        "other": f"other.{layer}/other",
    }
    return shared.get(local) or f"layers.{layer}.{local}"


class _Steps:
    """Joins the graphs of all layers into one."""

    def __init__(
        self, recipe: Recipe, facts: InputFacts, layers: tuple[Layer, ...], predictor: Graph, gammas: dict[str, float]
    ) -> None:
        self._recipe, self._layers, self._facts, self._gammas = recipe, layers, facts, gammas
        self._g, self._shared_with = GraphBuilder("learning-step"), predictor.constants
        kernels, last = Kernels(recipe, facts), len(layers) - 1
        self._graphs = [
            [
                *([kernels.product(layer, dropout=recipe.train.input_dropout > 0)] if layer.place.index == 0 else []),
                kernels.learn(layer, emit_rows=layer.place.index < last),
                *(kernels.tile(layer, name) for name in tiled_of(layer)),
            ]
            for layer in layers
        ]

    def graph(self, update: dict[str, str]) -> Graph:
        """Return the algorithm."""
        self._inputs()
        before = {"scale", "dropout", "product", "forward", "rows", "goodness"}
        for index in range(len(self._layers)):
            self._scalars(index)
            self._stages(index, before)
        if self._recipe.rule.variant != "ff":
            self._others()
        for index in range(len(self._layers)):
            self._stages(index, {"learn", "update", "gradient", "step"})
        if "prediction_weights" in update:
            self._prediction_weights()
        sizes: SHAPES = _state(self._recipe, self._layers) | {
            "step": (),
            "prediction_weights": (len(self._layers), 1),
        }
        for index, layer in enumerate(self._layers):
            sizes |= {f"layers.{index}.{name}": dims for name, dims in trained(self._recipe, layer).items()}
            self._g.output(f"learn.{index}/loss", ())
        for key, value in update.items():
            self._g.output(value, sizes[key], "int64" if key == "step" else "float32")
        return self._finished()

    def _inputs(self) -> None:
        """Add what all layers read: raw rows, labels, the count of steps."""
        g, train = self._g, self._recipe.train
        g.stage = "input.0"
        self._op("Reshape", "input", self._ints(-1, self._facts.size), out="input.0/raw")
        g.input("labels", ("N", 1 + train.n_negatives), "int64")
        self._op("Reshape", "labels", self._ints(-1), out="input.0/labels")
        if train.input_dropout > 0:
            g.input("mask", ("N", self._layers[0].place.inputs), "uint8")
        g.const(0, np.int64, "step")
        g.stage = "scalars.0"
        self._op("Add", "step", self._const(1, np.int64), out="scalars.0/new.step")
        self._op("Cast", "scalars.0/new.step", out="scalars.0/count", to=TYPES["float64"])
        samples = self._op("Gather", self._op("Shape", "labels"), self._const(0, np.int64))
        self._share = self._op("Reciprocal", self._op("Cast", samples, to=TYPES["float32"]))
        self._correction = {momentum: self._corrections(momentum) for momentum in {train.momentum, ADAM_DECAYS[0]}}

    def _corrections(self, momentum: float) -> tuple[str, str]:
        """Return Adam's bias correction of the rate, and of epsilon, in float64."""
        one, count = self._const(1.0, np.float64), "scalars.0/count"
        decays = (self._const(decay, np.float64) for decay in (momentum, ADAM_DECAYS[1]))
        first, second = (self._op("Sub", one, self._op("Pow", decay, count)) for decay in decays)
        root = self._op("Sqrt", second)
        return self._op("Div", root, first), root

    def _scalars(self, index: int) -> None:
        """Add the scalars of a layer's step (`ffedge.rule.optimizer`), as the trainer computes them in float64."""
        train, rule, g = self._recipe.train, self._recipe.rule, self._g
        g.stage = f"scalars.{index}"
        rate = g.const(train.layer_rate(index), name=g.input(f"rate.{index}", ()))
        wanted = {name for graph in self._graphs[index] for name in graph.inputs}
        double = self._op("Cast", rate, to=TYPES["float64"])
        decayed = self._op("Mul", double, self._const(train.weight_decay, np.float64))
        values = {"rate": double, "keep": self._op("Sub", self._const(1.0, np.float64), decayed)}
        values["gamma.rate"] = self._const(rule.gamma_rate, np.float64)
        for prefix, kind, momentum in (
            ("", train.optimizer, train.momentum),
            ("gamma.", rule.gamma_optimizer, ADAM_DECAYS[0]),
        ):
            if kind == "adam":
                factor, second = self._correction[momentum]
                values[f"{prefix}rate"] = self._op("Mul", values[f"{prefix}rate"], factor)
                values[f"{prefix}epsilon"] = self._op("Mul", second, self._const(ADAM_EPSILON, np.float64))
        values["decaying.rate"] = self._op("Div", values["rate"], values["keep"])
        for name, value in values.items():
            if name in wanted:
                self._op("Cast", value, out=_outer(name, index), to=TYPES["float32"])
        if "share" in wanted:
            self._op("Identity", self._share, out=_outer("share", index))

    def _others(self) -> None:
        """Add the sum of eq. 5 over the other layers' goodness, for all layers at once."""
        self._g.stage, layers, rule = "other.0", len(self._layers), self._recipe.rule
        last = self._ints(2)
        each = [self._op("Unsqueeze", f"goodness.{k}/g", last) for k in range(layers)]
        g = self._op("Concat", *each, axis=2)
        if rule.theta_placement == "per_layer":
            g = self._op("Sub", g, self._const(rule.theta))
        alpha = np.array(rule.alpha).T
        heard = self._op("MatMul", g, self._const(alpha, name="learning/alpha"))  # [N, M, L]
        for index in range(layers):
            self._g.stage = f"other.{index}"
            self._op("Gather", heard, self._const(index, np.int64), out=_outer("other", index), axis=2)

    def _prediction_weights(self) -> None:
        """Add ``1 + sum_{m != l} gamma_m alpha_ml`` of the new gammas."""
        self._g.stage = "prediction.0"
        alpha, axis = np.array(self._recipe.rule.alpha).T.copy(), self._ints(0)
        each = [self._op("Unsqueeze", f"update.{m}/new.gamma", axis) for m in range(len(self._layers))]
        gammas = self._op("Unsqueeze", self._op("Concat", *each, axis=0), self._ints(1))
        heard = self._op("MatMul", self._const(alpha, name="learning/alpha.heard"), gammas)
        self._op("Add", heard, self._const(1.0), out="prediction.0/new.prediction_weights")

    def _stages(self, index: int, stages: set[str]) -> None:
        """Add the nodes of some stages of a layer, values renamed as they are called in the whole."""
        for graph in self._graphs[index]:
            names = {name: _outer(name, index) for name in graph.inputs}
            names |= {name: self._shared(name, array) for name, array in graph.constants.items()}
            for place, node in enumerate(graph.nodes):
                kind = node.name.partition("/")[0]
                stage = f"{kind}.{index}"
                names |= {value: f"{stage}/{value}" for value in node.outputs}
                if kind in stages:
                    read, made = (tuple(names[value] for value in values) for values in (node.inputs, node.outputs))
                    self._g.graph.nodes.append(Node(node.kind, read, made, node.attributes, f"{stage}/{place}"))

    def _shared(self, name: str, array: NDArray[np.generic]) -> str:
        """Return the name of a constant: the predictor's where it has the same one, else the learning step's own."""
        same = self._shared_with.get(name)
        if same is not None and same.dtype == array.dtype and np.array_equal(same, array):
            return name
        return self._g.const(array, array.dtype, f"learning/{name}")

    def _op(self, kind: str, *inputs: str, out: str | None = None, **attributes: int) -> str:
        return self._g.op(kind, *inputs, out=out or f"{self._g.stage}/{len(self._g.graph.nodes)}", **attributes)

    def _const(self, value: ArrayLike, dtype: DTypeLike = np.float32, name: str | None = None) -> str:
        if name:
            return self._g.const(value, dtype, name)
        small = GraphBuilder("")
        return self._shared(small.const(value, dtype), *small.graph.constants.values())

    def _ints(self, *values: int) -> str:
        return self._const(values, np.int64)

    def _finished(self) -> Graph:
        g = self._g
        for name, dims in _state(self._recipe, self._layers).items():
            g.input(name, tuple(f"{name}.{axis}" for axis in range(len(dims))))
            g.const(np.zeros([1] * len(dims)), name=name)
        for name, gamma in self._gammas.items():
            g.const(gamma, name=name)
        return g.graph


def _initialization(zeros: SHAPES) -> Graph:
    """Return the graph that sets moments to zero and the count of steps to 0."""
    g = GraphBuilder("before-learning")
    g.op("Identity", g.const(0, np.int64), out="initial/step")
    g.output("initial/step", (), "int64")
    for name, dims in zeros.items():
        g.op("Identity", g.const(np.zeros([1] * len(dims))), out=f"initial/{name}")
        g.output(f"initial/{name}", (1,) * len(dims))
    return g.graph
