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

from ffedge.engine.kernels import SCALARS, Kernels, moments, tiled_of
from ffedge.layers.base import Array, Layer
from ffedge.network import InputFacts, Sizes, layers_of, trained
from ffedge.onnx import wire
from ffedge.onnx.graph import TYPES, Attribute, Graph, GraphBuilder, Node, graph_bytes
from ffedge.recipe import Recipe
from ffedge.rule.optimizer import ADAM_DECAYS, ADAM_EPSILON

FORWARD = {"scale", "dropout", "product", "forward", "rows", "goodness"}
BACKWARD = {"learn", "update", "gradient", "step"}


def training_info(recipe: Recipe, facts: InputFacts, predictor: Graph, gammas: list[float]) -> bytes:
    """Return the learning step's message, to stand beside the predictor (TrainingInfoProto).

    Parameters
    ----------
    gammas : of the layers that collaborate, which are part of its state.
    """
    layers = layers_of(recipe, facts)
    update, zeros = bindings(recipe, layers), _moments(recipe, layers)
    step = _Step(recipe, facts, layers, predictor).whole(update, gammas)
    content = wire.field(1, graph_bytes(_initialization(zeros))) + wire.field(2, graph_bytes(step))
    for name in ["step", *zeros]:
        content += wire.field(3, wire.text(1, name) + wire.text(2, f"initial/{name}"))
    for key, value in update.items():
        content += wire.field(4, wire.text(1, key) + wire.text(2, value))
    return content


def bindings(recipe: Recipe, layers: tuple[Layer, ...]) -> dict[str, str]:
    """Return which output of the step takes the place of each value that learns, the predictor's weights included."""
    result = {"step": "scalars.0/new.step"}
    for index, layer in enumerate(layers):
        for name in trained(recipe, layer):
            stage = "step" if name in tiled_of(layer) else "update"
            for part in (name, *(moment for moment in moments(recipe, layer) if moment.startswith(f"{name}."))):
                result[f"layers.{index}.{part}"] = f"{stage}.{index}/new.{part}"
    if recipe.rule.variant == "acff" and recipe.rule.prediction_weights == "collaborative":
        result["prediction_weights"] = "prediction.0/new.prediction_weights"
    return result


def _moments(recipe: Recipe, layers: tuple[Layer, ...]) -> Sizes:
    return {
        f"layers.{i}.{name}": dims for i, layer in enumerate(layers) for name, dims in moments(recipe, layer).items()
    }


class _Step(GraphBuilder):
    """Joins the graphs of all layers into one; a constant that the predictor has too stands there."""

    def __init__(self, recipe: Recipe, facts: InputFacts, layers: tuple[Layer, ...], predictor: Graph) -> None:
        super().__init__("learning-step")
        self._recipe, self._facts, self._layers, self._predictor = recipe, facts, layers, predictor
        kernels, last = Kernels(recipe, facts), len(layers) - 1
        self._graphs = [
            [
                *([kernels.product(layer, dropout=recipe.train.input_dropout > 0)] if index == 0 else []),
                kernels.learn(layer, emit_rows=index < last),
                *(kernels.tile(layer, name) for name in tiled_of(layer)),
            ]
            for index, layer in enumerate(layers)
        ]

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Attribute | list[int]) -> str:
        """Add a node; its output carries the stage in its name."""
        return super().op(kind, *inputs, out=out or f"{self.stage}/{len(self.graph.nodes)}", **attributes)

    def whole(self, update: dict[str, str], gammas: list[float]) -> Graph:
        """Return the algorithm, whose outputs take the places of values as `bindings` say."""
        recipe, layers = self._recipe, self._layers
        self._inputs()
        for index in range(len(layers)):
            self._scalars(index)
            self._stages(index, FORWARD)
        if recipe.rule.variant != "ff":
            self._others()
        for index in range(len(layers)):
            self._stages(index, BACKWARD)
        if "prediction_weights" in update:
            self._prediction_weights()
        zeros = _moments(recipe, layers)
        sizes: Sizes = zeros | {"step": (), "prediction_weights": (len(layers), 1)}
        for index, layer in enumerate(layers):
            sizes |= {f"layers.{index}.{name}": dims for name, dims in trained(recipe, layer).items()}
            self.output(f"learn.{index}/loss", ())
        for key, value in update.items():
            self.output(value, sizes[key], "int64" if key == "step" else "float32")
        for name, dims in zeros.items():
            self.input(name, tuple(f"{name}.{axis}" for axis in range(len(dims))))
            self.const(np.zeros([1] * len(dims)), name=name)
        for index, gamma in enumerate(gammas):
            self.const(gamma, name=f"layers.{index}.gamma")
        return self.graph

    def _outer(self, local: str, layer: int) -> str:
        """Return what a value that a layer's graph reads is called in the whole."""
        first = layer == 0
        if local in SCALARS:
            return f"scalars.{layer}/{local}"
        shared = {
            "raw": "input.0/raw",
            "mask": "mask",
            "labels": "labels" if first or not self._recipe.network.tries_labels else "input.0/labels",
            "z": "product.0/z",
            "value": "product.0/value",
            "x": "product.0/x" if first else f"rows.{layer - 1}/rows",
            "dz": f"learn.{layer}/dz",
            "other": f"other.{layer}/other",
        }
        return shared.get(local) or f"layers.{layer}.{local}"

    def _inputs(self) -> None:
        """Add what all layers read: raw rows, labels, the count of steps."""
        train = self._recipe.train
        self.stage = "input.0"
        self.op("Reshape", "input", self.ints(-1, self._facts.size), out="input.0/raw")
        self.input("labels", ("N", 1 + train.n_negatives), "int64")
        if self._recipe.network.tries_labels:
            self.op("Reshape", "labels", self.ints(-1), out="input.0/labels")
        if train.input_dropout > 0:
            self.input("mask", ("N", self._layers[0].place.inputs), "uint8")
        self.const(0, np.int64, "step")
        self.stage = "scalars.0"
        self.op("Add", "step", self.const(1, np.int64), out="scalars.0/new.step")
        self.op("Cast", "scalars.0/new.step", out="scalars.0/count", to=TYPES["float64"])
        samples = self.op("Gather", self.op("Shape", "labels"), self.const(0, np.int64))
        self._share = self.op("Reciprocal", self.op("Cast", samples, to=TYPES["float32"]))
        self._correction = {momentum: self._corrections(momentum) for momentum in {train.momentum, ADAM_DECAYS[0]}}

    def _corrections(self, momentum: float) -> tuple[str, str]:
        """Return Adam's bias correction of the rate, and of epsilon, in float64."""
        one, count = self.const(1.0, np.float64), "scalars.0/count"
        decays = (self.const(decay, np.float64) for decay in (momentum, ADAM_DECAYS[1]))
        first, second = (self.op("Sub", one, self.op("Pow", decay, count)) for decay in decays)
        root = self.op("Sqrt", second)
        return self.op("Div", root, first), root

    def _scalars(self, index: int) -> None:
        """Add the scalars of a layer's step (`ffedge.rule.optimizer`), as the trainer computes them in float64."""
        train, rule = self._recipe.train, self._recipe.rule
        self.stage = f"scalars.{index}"
        rate = self.const(train.layer_rate(index), name=self.input(f"rate.{index}", ()))
        wanted = {name for graph in self._graphs[index] for name in graph.inputs}
        double = self.op("Cast", rate, to=TYPES["float64"])
        decayed = self.op("Mul", double, self.const(train.weight_decay, np.float64))
        values = {"rate": double, "keep": self.op("Sub", self.const(1.0, np.float64), decayed)}
        values["gamma.rate"] = self.const(rule.gamma_rate, np.float64)
        for prefix, kind, momentum in (
            ("", train.optimizer, train.momentum),
            ("gamma.", rule.gamma_optimizer, ADAM_DECAYS[0]),
        ):
            if kind == "adam":
                factor, second = self._correction[momentum]
                values[f"{prefix}rate"] = self.op("Mul", values[f"{prefix}rate"], factor)
                values[f"{prefix}epsilon"] = self.op("Mul", second, self.const(ADAM_EPSILON, np.float64))
        values["decaying.rate"] = self.op("Div", values["rate"], values["keep"])
        for name, value in values.items():
            if name in wanted:
                self.op("Cast", value, out=self._outer(name, index), to=TYPES["float32"])
        if "share" in wanted:
            self.op("Identity", self._share, out=self._outer("share", index))

    def _others(self) -> None:
        """Add the sum of eq. 5 over the other layers' goodness, for all layers at once."""
        self.stage, layers, rule = "other.0", len(self._layers), self._recipe.rule
        last = self.ints(2)
        g = self.op("Concat", *[self.op("Unsqueeze", f"goodness.{k}/g", last) for k in range(layers)], axis=2)
        if rule.theta_placement == "per_layer":
            g = self.op("Sub", g, self.const(rule.theta))
        heard = self.op("MatMul", g, self.const(np.array(rule.alpha).T, name="learning/alpha"))  # [N, M, L]
        for index in range(layers):
            self.stage = f"other.{index}"
            self.op("Gather", heard, self.const(index, np.int64), out=self._outer("other", index), axis=2)

    def _prediction_weights(self) -> None:
        """Add ``1 + sum_{m != l} gamma_m alpha_ml`` of the new gammas."""
        self.stage = "prediction.0"
        alpha, axis = np.array(self._recipe.rule.alpha).T.copy(), self.ints(0)
        each = [self.op("Unsqueeze", f"update.{m}/new.gamma", axis) for m in range(len(self._layers))]
        gammas = self.op("Unsqueeze", self.op("Concat", *each, axis=0), self.ints(1))
        heard = self.op("MatMul", self.const(alpha, name="learning/alpha.heard"), gammas)
        self.op("Add", heard, self.const(1.0), out="prediction.0/new.prediction_weights")

    def _stages(self, index: int, stages: set[str]) -> None:
        """Add the nodes of some stages of a layer, values renamed as they are called in the whole."""
        for graph in self._graphs[index]:
            names = {name: self._outer(name, index) for name in graph.inputs}
            names |= {name: self._stored(name, array) for name, array in graph.constants.items()}
            for place, node in enumerate(graph.nodes):
                kind = node.name.partition("/")[0]
                stage = f"{kind}.{index}"
                names |= {value: f"{stage}/{value}" for value in node.outputs}
                if kind in stages:
                    read, written = (tuple(names[value] for value in values) for values in (node.inputs, node.outputs))
                    self.graph.nodes.append(Node(node.kind, read, written, node.attributes, f"{stage}/{place}"))

    def _stored(self, name: str, array: Array) -> str:
        if not name.startswith(("const.", "input.")):  # but what is named for the step alone
            return super()._stored(name, array)
        same = self._predictor.constants.get(name)
        if same is not None and same.dtype == array.dtype and np.array_equal(same, array):
            return name
        return super()._stored(f"learning/{name}", array)


def _initialization(zeros: Sizes) -> Graph:
    """Return the graph that sets moments to zero and the count of steps to 0."""
    g = GraphBuilder("before-learning")
    g.op("Identity", g.const(0, np.int64), out="initial/step")
    g.output("initial/step", (), "int64")
    for name, dims in zeros.items():
        g.op("Identity", g.const(np.zeros([1] * len(dims))), out=f"initial/{name}")
        g.output(f"initial/{name}", (1,) * len(dims))
    return g.graph
