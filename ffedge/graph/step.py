"""The graphs of training: the input's product, a layer's forward pass, its learning step, a large batch's parts.

The gradient needs no autograd: a loss on goodness gives one number q for each row, then ``dz = y * q``,
``dW = x^T dz``, ``db = sum dz``, ``dV[c] = label_scale * sum of dz over the rows with label c`` (DESIGN.md section 2).

Shape letters: N samples, M = 1 + K labels for each, R = N * M rows, D inputs, H units, C classes.
"""

from collections.abc import Callable

import numpy as np
import onnx

from ffedge.graph.build import Dims, GraphBuilder
from ffedge.graph.layer import (
    deep_activity,
    dropped_input,
    first_activity,
    goodness,
    normalised_input,
    passed_on,
    scaled_input,
)
from ffedge.graph.loss import loss_and_slope
from ffedge.graph.optimizer import update
from ffedge.network import InputFacts, LayerShape, gathered
from ffedge.recipe import Recipe
from ffedge.spec import ADAM_DECAYS, FOLLOWING, HOMEOSTASIS, MOMENTS
from ffedge.stages import DEPTH


def product_graph(recipe: Recipe, facts: InputFacts, shape: LayerShape, *, dropout: bool) -> onnx.ModelProto:
    """``raw`` [N, I] (and the dropout ``mask`` [N, D]) -> ``x`` [N, D], ``z`` = x W + b [N, H], ``value`` [N, 1, 1]."""
    g = GraphBuilder("product")
    g.stage = "scale"
    x = scaled_input(g, g.input("raw", ("N", facts.size), facts.dtype), recipe.network, facts, out="scaled")
    if dropout:
        g.stage = "dropout"
        x = dropped_input(g, x, g.input("mask", ("N", shape.inputs), "uint8"), recipe.train)
    g.stage = "product"
    if recipe.network.input_norm != "none":
        x, value = normalised_input(g, x, recipe.network, facts)
        g.op("Identity", value, out="value")
        g.output("value", ("N", 1, 1))
    g.op("Identity", x, out="x")
    g.output("x", ("N", shape.inputs))
    _declare(g, shape, ("W", "b"))
    g.op("Gemm", "x", "W", "b", out="z")
    g.output("z", ("N", shape.units))
    return g.model()


def forward_graph(
    recipe: Recipe, shape: LayerShape, *, all_labels: bool = False, emit_rows: bool = True
) -> onnx.ModelProto:
    """Source -> ``rows`` [R, H], normalised, and ``g`` [R]; the first layer's source is ``z``, others' ``x`` [R, D].

    Parameters
    ----------
    all_labels : the first layer tries all C labels and takes no ``labels``.
    emit_rows : whether a next layer reads them; hard negatives are drawn by the first layer's ``g`` alone.
    """
    g = GraphBuilder("forward")
    y, axis = _activity(g, recipe, shape, all_labels=all_labels)
    good = goodness(g, y, axis, recipe.network)
    if emit_rows:
        _output_rows(g, y, good, axis, shape, recipe)
    g.op("Reshape", good, g.ints(-1), out="g")
    g.output("g", ("R",))
    return g.model()


def learning_graph(recipe: Recipe, shape: LayerShape, *, emit_rows: bool, accumulate: bool = False) -> onnx.ModelProto:
    """One learning step of a layer but for W: source, labels and state -> ``dz``, new state, ``g`` [N, M], ``loss`` [].

    W follows in tiles, by `tile_graph`, from the layer's x and dz ([N, H] of the first layer, [R, H] of others).
    Inputs beside those of `forward_graph`: ``other`` [N, M], the other layers' weighted goodness, and ``gamma``
    (where the variant collaborates), ``share`` = 1 / batch, the optimiser's scalars and moments.

    Parameters
    ----------
    emit_rows : whether the next layer learns from the same batch.
    accumulate : add the gradients to ``sum.*`` instead of stepping; `apply_graph` steps.
    """
    g = GraphBuilder("accumulate" if accumulate else "learn")
    M = 1 + recipe.train.n_negatives
    g.stage = "forward"
    y, axis = _activity(g, recipe, shape)
    good = goodness(g, y, axis, recipe.network)
    flat = g.op("Reshape", good, g.ints(-1), out="g.flat")  # what a forward pass gives out
    if emit_rows:
        g.stage = "rows"
        _output_rows(g, y, good, axis, shape, recipe)
    g.stage = "goodness"
    g.op("Reshape", flat, g.ints(-1, M), out="g")
    g.output("g", ("N", M))
    g.stage = "learn"
    slope = _loss_slope(g, recipe, M)
    gradients = _gradients(g, recipe, shape, y, slope)
    if recipe.rule.variant == "acff":  # eq. 7: dLoss/dgamma = sum dLoss/dG * other
        every = g.op("Mul", slope, "other")
        gradients["gamma"] = g.op("ReduceSum", every, keepdims=0, out="grad.gamma")
    gradients |= _measures(g, recipe, shape, y)
    g.stage = "update"
    sums: dict[str, tuple[str, Dims]] = {
        name: (gradient, gathered(recipe, shape)[name]) for name, gradient in gradients.items()
    }
    if accumulate:
        for name, (gradient, dims) in sums.items():
            _collect(g, name, gradient, dims)
    else:
        _updates(g, recipe, sums)
    return g.model()


def apply_graph(recipe: Recipe, shape: LayerShape) -> onnx.ModelProto:
    """Step with the accumulated gradients ``sum.*``, but for W's (`tile_apply_graph`)."""
    g = GraphBuilder("apply")
    dims = {name: dims for name, dims in gathered(recipe, shape).items() if name != "W"}
    _updates(g, recipe, {name: (g.input(f"sum.{name}", d), d) for name, d in dims.items()})
    return g.model()


def tile_graph(recipe: Recipe, shape: LayerShape, *, accumulate: bool = False) -> onnx.ModelProto:
    """Step T rows of W: ``x`` [R, T], ``dz`` [R, H], ``W`` [T, H] and its moments -> new ones (in the first layer
    R is N).

    A layer's step is the same however W is cut, since a gradient's row needs its own column of x only.

    Parameters
    ----------
    accumulate : add the gradient to ``sum.W`` instead of stepping; `tile_apply_graph` steps.
    """
    g, dims = GraphBuilder("tile"), ("T", shape.units)
    g.stage = "gradient"
    gradient = g.op("Gemm", g.input("x", ("R", "T")), g.input("dz", ("R", shape.units)), out="grad.W", transA=1)
    g.stage = "step"
    if accumulate:
        _collect(g, "W", gradient, dims)
    else:
        _updates(g, recipe, {"W": (gradient, dims)})
    return g.model()


def tile_apply_graph(recipe: Recipe, shape: LayerShape) -> onnx.ModelProto:
    """Step T rows of W with their accumulated gradient ``sum.W`` [T, H]."""
    g, dims = GraphBuilder("tile-apply"), ("T", shape.units)
    _updates(g, recipe, {"W": (g.input("sum.W", dims), dims)})
    return g.model()


def _declare(g: GraphBuilder, shape: LayerShape, names: tuple[str, ...]) -> None:
    for name in names:
        g.input(name, shape.parameters()[name])


def _activity(g: GraphBuilder, recipe: Recipe, shape: LayerShape, *, all_labels: bool = False) -> tuple[str, int]:
    """Add the inputs and the activity of a layer: y [N, M, H] of the first one, [R, H] of others; and its last axis."""
    network = recipe.network
    if shape.first:
        _declare(g, shape, ("V",))
        z = g.input("z", ("N", shape.units))
        labels = None if all_labels else g.input("labels", ("N", "M"), "int64")
        value = g.input("value", ("N", 1, 1)) if network.input_norm != "none" else None
        return first_activity(g, z, "V", labels, value, network), 2
    x = g.input("x", ("R", shape.inputs))
    _declare(g, shape, ("W", "b"))
    if not shape.sees_label:
        return deep_activity(g, x, "W", "b", None, None, network), 1
    _declare(g, shape, ("V",))
    return deep_activity(g, x, "W", "b", "V", g.input("labels", ("R",), "int64"), network), 1


def _output_rows(g: GraphBuilder, y: str, good: str, axis: int, shape: LayerShape, recipe: Recipe) -> None:
    out = "rows" if axis == 1 else "rows.3d"
    squares = g.input("power", ()) if recipe.network.norm == "fixed" else good
    passed_on(g, "x", y, squares, axis, shape, recipe.network, out)
    if axis == 2:
        g.op("Reshape", out, g.ints(-1, shape.units), out="rows")
    g.output("rows", ("R", shape.units))


def _loss_slope(g: GraphBuilder, recipe: Recipe, M: int) -> str:
    """Add eq. 5 and the loss; return dLoss/dG [N, M], the batch's mean taken."""
    G = g.op("Sub", "g", g.const(recipe.rule.theta))
    if recipe.rule.variant != "ff":
        other, gamma = g.input("other", ("N", M)), g.input("gamma", ())
        G = g.op("Add", G, g.op("Mul", other, gamma))
    losses, slope = loss_and_slope(g, G, M, recipe.rule)
    share = g.input("share", ())
    g.op("Mul", g.op("ReduceSum", losses, keepdims=0), share, out="loss")
    g.output("loss", ())
    return g.op("Mul", slope, share)


def _gradients(g: GraphBuilder, recipe: Recipe, shape: LayerShape, y: str, slope: str) -> dict[str, str]:
    """Add dz, and the gradients of b and V, from y and dLoss/dg [N, M] (of which dLoss/dG is the same: eq. 5)."""
    per_unit = 2.0 if recipe.network.goodness == "sum" else 2.0 / shape.units
    q = g.op("Mul", slope, g.const(per_unit))
    if recipe.network.bound is not None:  # a unit at its bound does not answer to z
        y = g.op("Where", g.op("Less", y, g.const(recipe.network.bound)), y, g.const(0.0))
    if shape.first:
        # the labels of a sample share x: their dz are summed before the product with it
        dz = g.op("Squeeze", g.op("MatMul", g.op("Unsqueeze", q, g.ints(1)), y), g.ints(1))
        flat = g.op("Reshape", y, g.ints(-1, shape.units))
        weight = g.op("Unsqueeze", q, g.ints(2))
        if recipe.network.input_norm != "none":
            weight = g.op("Mul", weight, "value")
        weight = g.op("Reshape", weight, g.ints(-1, 1))
    else:
        dz = flat = g.op("Mul", y, g.op("Reshape", q, g.ints(-1, 1)))
        weight = ""
    g.op("Identity", dz, out="dz")
    g.output("dz", ("N" if shape.first else "R", shape.units))
    gradients = {"b": g.sum("dz", 0, out="grad.b")}
    if shape.sees_label:
        labels = g.op("Reshape", "labels", g.ints(-1)) if shape.first else "labels"
        chosen = g.op("OneHot", labels, g.const(shape.classes, np.int64, DEPTH), g.const([0.0, 1.0]))
        chosen = g.op("Mul", chosen, weight) if weight else chosen
        scaled = shape.first and recipe.network.input_norm != "none"  # then the scale is inside the label's value
        scale = 1.0 if scaled else recipe.network.label_scale
        gradients["V"] = g.op("Gemm", chosen, flat, out="grad.V", transA=1, alpha=scale)
    return gradients


def _measures(g: GraphBuilder, recipe: Recipe, shape: LayerShape, y: str) -> dict[str, str]:
    """Add what is measured of a batch beside gradients: ``power`` [], the mean square, and ``active`` [H], shares."""
    each = g.op("Mul", "share", g.const(1.0 / (1 + recipe.train.n_negatives)))  # of one row
    found = {}
    if recipe.network.norm == "fixed":
        total = g.op("ReduceSum", "g", keepdims=0)
        units = shape.units if recipe.network.goodness == "sum" else 1
        found["power"] = g.op("Mul", total, g.op("Mul", each, g.const(1.0 / units)))
    if recipe.rule.sparsity is not None:
        rows = g.op("Reshape", g.op("Sign", y), g.ints(-1, shape.units))
        found["active"] = g.op("Mul", g.sum(rows, 0), each)
    return found


def _collect(g: GraphBuilder, name: str, gradient: str, dims: Dims) -> None:
    g.op("Add", g.input(f"sum.{name}", dims), gradient, out=f"new.sum.{name}")
    g.output(f"new.sum.{name}", dims)


def _updates(g: GraphBuilder, recipe: Recipe, gradients: dict[str, tuple[str, Dims]]) -> None:
    """Add each parameter's update, from its gradient (or what is measured for it) and its shape."""
    train, sparsity, pull = recipe.train, recipe.rule.sparsity, None
    if "active" in gradients and sparsity is not None:
        often = g.op("Sub", gradients["active"][0], g.const(sparsity))
        pull = g.op("Mul", often, g.const(HOMEOSTASIS))
    for name, (gradient, dims) in gradients.items():
        if name == "active":
            continue
        if name == "power":
            way = g.op("Mul", g.op("Sub", gradient, g.input(name, dims)), g.const(FOLLOWING))
            g.op("Add", name, way, out=f"new.{name}")
            g.output(f"new.{name}", dims)
            continue
        gamma, kind = name == "gamma", recipe.optimizer_of(name)
        for part in (name, *(f"{name}.{moment}" for moment in MOMENTS[kind])):
            g.input(part, dims)
        decay = name in ("W", "V") and train.weight_decay > 0
        prefix = "gamma." if gamma else ""
        for scalar in _scalars(kind, prefix, decay=decay):
            g.input(scalar, ())
        momentum = ADAM_DECAYS[0] if gamma else train.momentum
        update(g, name, gradient, dims, kind, momentum, decay=decay, prefix=prefix, pull=pull if name == "b" else None)


def _scalars(kind: str, prefix: str, *, decay: bool) -> list[str]:
    rates = ["keep", "decaying.rate"] if decay else [f"{prefix}rate"]
    return [*rates, f"{prefix}epsilon"] if kind == "adam" else rates


def training_graph(recipe: Recipe, facts: InputFacts, kind: str, shape: LayerShape, flag: bool) -> bytes:
    """Build the graph that a kernel's key names (see `ffedge.runtime.kernels.KernelKey`)."""
    builders: dict[str, Callable[[], onnx.ModelProto]] = {
        "product": lambda: product_graph(recipe, facts, shape, dropout=flag),
        "forward": lambda: forward_graph(recipe, shape, all_labels=flag),
        "goodness": lambda: forward_graph(recipe, shape, all_labels=True, emit_rows=False),
        "learn": lambda: learning_graph(recipe, shape, emit_rows=flag),
        "accumulate": lambda: learning_graph(recipe, shape, emit_rows=flag, accumulate=True),
        "apply": lambda: apply_graph(recipe, shape),
        "tile": lambda: tile_graph(recipe, shape),
        "tile-accumulate": lambda: tile_graph(recipe, shape, accumulate=True),
        "tile-apply": lambda: tile_apply_graph(recipe, shape),
    }
    return bytes(builders[kind]().SerializeToString())
