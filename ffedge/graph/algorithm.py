"""A model file's own learning step: standard ``training_info``, made of the very graphs that the trainer runs.

The algorithm is one flat graph of a whole step, in which every layer learns from one minibatch; by ONNX's rule it is
run joined to the predictor's graph, whose ``input`` and weights it names. Its inputs are

- ``input`` [N, ...], the predictor's,
- ``labels`` [N, M] int64: the true label, then K wrong ones. Who feeds the step draws them, as the order of the
  samples: the metadata say how (``negatives``); for hard ones the predictor's ``goodness`` is what to draw from,
- ``mask`` [N, D] uint8, where inputs are dropped: 0 with the probability ``input_dropout``,
- ``rate.<l>`` [] float32, which have the layers' rates as their values unless they are fed.

Weights are not stored twice. Moments begin at zero; as zeros would triple the file, each is stored as one zero, which
the first step spreads over its parameter: an input whose sizes are open, with that initializer as its value. The
initialization graph sets them to one zero again, and the count of steps to 0.

Every layer's step goes out from the weights before it, as in the trainer: so all layers run forward first. Nodes and
values carry their stage and layer in their names (`ffedge.stages`), by which `ffedge.runtime.cut` finds the trainer's
kernels again.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike
from onnx import TensorProto, helper

from ffedge.graph.build import GraphBuilder
from ffedge.graph.step import learning_graph, product_graph, tile_graph
from ffedge.network import InputFacts, LayerShape, layer_shapes
from ffedge.recipe import Recipe
from ffedge.spec import ADAM_DECAYS, ADAM_EPSILON
from ffedge.stages import FIRST, bindings, state, wire


def training_info(recipe: Recipe, facts: InputFacts, predictor: onnx.GraphProto) -> onnx.TrainingInfoProto:
    """Build the learning step of a recipe, to stand beside its predictor.

    The gammas, state of layers that collaborate, are values without a source, as the predictor's weights are.
    """
    shapes = layer_shapes(recipe, facts)
    steps = _Steps(recipe, facts, shapes, predictor)
    update, zero = bindings(recipe, shapes), [name for name in state(recipe, shapes) if not name.endswith(".gamma")]
    info = onnx.TrainingInfoProto()
    info.algorithm.CopyFrom(steps.graph(update))
    info.initialization.CopyFrom(_initialization({name: state(recipe, shapes)[name] for name in zero}))
    for key, value in update.items():
        info.update_binding.add(key=key, value=value)
    for name in ["step", *zero]:
        info.initialization_binding.add(key=name, value=f"initial/{name}")
    return info


class _Steps:
    """Joins the graphs of all layers into one."""

    def __init__(
        self, recipe: Recipe, facts: InputFacts, shapes: tuple[LayerShape, ...], predictor: onnx.GraphProto
    ) -> None:
        self._recipe, self._shapes, self._facts = recipe, shapes, facts
        self._g = GraphBuilder("learning-step")
        self._known = {tensor.name: tensor for tensor in predictor.initializer}
        dropout, last = recipe.train.input_dropout > 0, len(shapes) - 1
        self._models = [
            [
                *([product_graph(recipe, facts, shape, dropout=dropout)] if shape.first else []),
                learning_graph(recipe, shape, emit_rows=shape.index < last),
                tile_graph(recipe, shape),
            ]
            for shape in shapes
        ]

    def graph(self, update: dict[str, str]) -> onnx.GraphProto:
        """Return the algorithm."""
        self._inputs()
        for shape in self._shapes:
            self._scalars(shape.index)
            self._stages(shape.index, {*FIRST, "forward", "rows", "goodness"})
        if self._recipe.rule.variant != "ff":
            self._others()
        for shape in self._shapes:
            self._stages(shape.index, {"learn", "update", "gradient", "step"})
        if "prediction_weights" in update:
            self._prediction_weights()
        losses = [f"learn.{shape.index}/loss" for shape in self._shapes]
        shapes = {**state(self._recipe, self._shapes), "step": (), "prediction_weights": (len(self._shapes), 1)}
        for shape in self._shapes:
            shapes |= {f"layers.{shape.index}.{name}": dims for name, dims in shape.parameters().items()}
        for name in losses:
            self._g.output(name, ())
        for key, value in update.items():
            self._g.output(value, shapes[key], "int64" if key == "step" else "float32")
        return self._finished()

    def _inputs(self) -> None:
        """Add what all layers read: raw rows, labels, the count of steps."""
        g, recipe = self._g, self._recipe
        first, M = self._shapes[0], 1 + recipe.train.n_negatives
        g.stage = "input.0"
        self._op("Reshape", "input", self._ints(-1, self._facts.size), out="input.0/raw")
        g.input("labels", ("N", M), "int64")
        self._op("Reshape", "labels", self._ints(-1), out="input.0/labels")
        if recipe.train.input_dropout > 0:
            g.input("mask", ("N", first.inputs), "uint8")
        g.const(0, np.int64, "step")
        g.stage = "scalars.0"
        self._op("Add", "step", self._const(1, np.int64), out="scalars.0/new.step")
        self._op("Cast", "scalars.0/new.step", out="scalars.0/count", to=TensorProto.DOUBLE)
        samples = self._op("Gather", self._op("Shape", "labels"), self._const(0, np.int64))
        share = self._op("Reciprocal", self._op("Cast", samples, to=TensorProto.FLOAT))
        self._share = share
        self._correction = {
            momentum: self._corrections(momentum) for momentum in {recipe.train.momentum, ADAM_DECAYS[0]}
        }

    def _corrections(self, momentum: float) -> tuple[str, str]:
        """Return Adam's bias correction of the rate, and of epsilon, in float64."""
        one, count = self._const(1.0, np.float64), "scalars.0/count"
        decays = (self._const(decay, np.float64) for decay in (momentum, ADAM_DECAYS[1]))
        first, second = (self._op("Sub", one, self._op("Pow", decay, count)) for decay in decays)
        root = self._op("Sqrt", second)
        return self._op("Div", root, first), root

    def _scalars(self, layer: int) -> None:
        """Add the scalars of a layer's step (`ffedge.graph.optimizer`), as the trainer computes them in float64."""
        recipe, g = self._recipe, self._g
        g.stage = f"scalars.{layer}"
        rate = g.const(recipe.train.layer_rate(layer), name=g.input(f"rate.{layer}", ()))
        wanted = {n for m in self._models[layer] for n in (v.name for v in m.graph.input)}
        double = self._op("Cast", rate, to=TensorProto.DOUBLE)
        decayed = self._op("Mul", double, self._const(recipe.train.weight_decay, np.float64))
        values = {"rate": double, "keep": self._op("Sub", self._const(1.0, np.float64), decayed)}
        values["gamma.rate"] = self._const(recipe.rule.gamma_rate, np.float64)
        for prefix, kind, momentum in (
            ("", recipe.train.optimizer, recipe.train.momentum),
            ("gamma.", recipe.rule.gamma_optimizer, ADAM_DECAYS[0]),
        ):
            if kind == "adam":
                factor, second = self._correction[momentum]
                values[f"{prefix}rate"] = self._op("Mul", values[f"{prefix}rate"], factor)
                values[f"{prefix}epsilon"] = self._op("Mul", second, self._const(ADAM_EPSILON, np.float64))
        values["decaying.rate"] = self._op("Div", values["rate"], values["keep"])
        for name, value in values.items():
            if name in wanted:
                self._op("Cast", value, out=wire(name, "learn", layer), to=TensorProto.FLOAT)
        if "share" in wanted:
            self._op("Identity", self._share, out=wire("share", "learn", layer))

    def _others(self) -> None:
        """Add the sum of eq. 5 over the other layers' goodness, for all layers at once."""
        self._g.stage, layers = "other.0", len(self._shapes)
        last = self._ints(2)
        each = [self._op("Unsqueeze", f"goodness.{k}/g", last) for k in range(layers)]
        g = self._op("Concat", *each, axis=2)
        if self._recipe.rule.theta_placement == "per_layer":
            g = self._op("Sub", g, self._const(self._recipe.rule.theta))
        alpha = np.array(self._recipe.rule.alpha)
        heard = self._op("MatMul", g, self._const(alpha.T, name="learning/alpha"))  # [N, M, L]
        for layer in range(layers):
            self._g.stage = f"other.{layer}"
            self._op("Gather", heard, self._const(layer, np.int64), out=wire("other", "learn", layer), axis=2)

    def _prediction_weights(self) -> None:
        """Add ``1 + sum_{m != l} gamma_m alpha_ml`` of the new gammas."""
        self._g.stage = "prediction.0"
        layers = len(self._shapes)
        alpha = np.array(self._recipe.rule.alpha).T.copy()
        axis = self._ints(0)
        each = [self._op("Unsqueeze", f"update.{m}/new.gamma", axis) for m in range(layers)]
        gammas = self._op("Concat", *each, axis=0)
        heard = self._op(
            "MatMul", self._const(alpha, name="learning/alpha.heard"), self._op("Unsqueeze", gammas, self._ints(1))
        )
        self._op("Add", heard, self._const(1.0), out="prediction.0/new.prediction_weights")

    def _stages(self, layer: int, stages: set[str]) -> None:
        """Add the nodes of some stages of a layer, values renamed as they are called in the whole."""
        for model in self._models[layer]:
            names = {value.name: wire(value.name, "learn", layer) for value in model.graph.input}
            names |= {tensor.name: self._shared(tensor) for tensor in model.graph.initializer}
            for place, node in enumerate(model.graph.node):
                stage = f"{node.name.partition('/')[0]}.{layer}"
                names |= {value: f"{stage}/{value}" for value in node.output}
                if node.name.partition("/")[0] in stages:
                    copy = helper.make_node(node.op_type, _mapped(node.input, names), _mapped(node.output, names))
                    copy.name = f"{stage}/{place}"
                    copy.attribute.extend(node.attribute)
                    self._g.nodes.append(copy)

    def _shared(self, tensor: onnx.TensorProto) -> str:
        """Return the name of a constant: the predictor's where it has the same one, else the learning step's own."""
        same = self._known.get(tensor.name)
        if same is not None and same.SerializeToString() == tensor.SerializeToString():
            return tensor.name
        name = f"learning/{tensor.name}"
        if name not in self._g.initializers:
            self._g.initializers[name] = onnx.TensorProto.FromString(tensor.SerializeToString())
            self._g.initializers[name].name = name
        return name

    def _op(self, kind: str, *inputs: str, out: str | None = None, **attributes: int) -> str:
        return self._g.op(kind, *inputs, out=out or f"{self._g.stage}/{len(self._g.nodes)}", **attributes)

    def _const(self, value: ArrayLike, dtype: DTypeLike = np.float32, name: str | None = None) -> str:
        if name:
            return self._g.const(value, dtype, name)
        small = GraphBuilder("")
        return self._shared(small.initializers[small.const(value, dtype)])

    def _ints(self, *values: int) -> str:
        return self._const(values, np.int64)

    def _finished(self) -> onnx.GraphProto:
        g = self._g
        for name, dims in state(self._recipe, self._shapes).items():
            if not name.endswith(".gamma"):
                g.input(name, tuple(f"{name}.{axis}" for axis in range(len(dims))))
                g.const(np.zeros([1] * len(dims)), name=name)
        return helper.make_graph(g.nodes, g.name, g.inputs, g.outputs, list(g.initializers.values()))


def _initialization(zeros: dict[str, tuple[int, ...]]) -> onnx.GraphProto:
    """Return the graph that sets moments to zero and the count of steps to 0."""
    g = GraphBuilder("before-learning")
    g.op("Identity", g.const(0, np.int64), out="initial/step")
    g.output("initial/step", (), "int64")
    for name, dims in zeros.items():
        g.op("Identity", g.const(np.zeros([1] * len(dims))), out=f"initial/{name}")
        g.output(f"initial/{name}", (1,) * len(dims))
    return helper.make_graph(g.nodes, g.name, g.inputs, g.outputs, list(g.initializers.values()))


def _mapped(names: Iterable[str], known: dict[str, str]) -> list[str]:
    return [known[name] for name in names]
