"""Backpropagation as one ONNX graph, compiled by onnxsim without torch in a child process (`ffedge.compare.child`).

So the process that trains loads onnxruntime alone, as ffedge's does. onnxsim fixes all shapes; a row's weight in the
loss, an input, lets the last short batch of an epoch be padded with rows that weigh nothing.

Shape letters: N samples of a batch, I inputs, C classes.
"""

import base64
import itertools
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from common import PATHS

from ffedge.compare.child import ask, serve
from ffedge.errors import FfedgeError
from ffedge.spec_parts import Optimizer

if TYPE_CHECKING:
    import onnx

    from ffedge.onnx.graph import GraphBuilder

TRIAL_UNITS = 8


@dataclass(frozen=True)
class StepGraph:
    """A training step, compiled.

    Attributes
    ----------
    step : the graph: ``x`` [N, I], ``y`` [N, C] one-hot, ``weight`` [N, 1], ``lr`` and the state in; ``loss`` and the
        new state out.
    state : from the name of each weight (``W0``, ``b0``, …) and moment to that of the output which replaces it.
    forward : ``x`` [any, I] and the weights in, ``label`` out.
    saved_bytes : values of the forward pass that the backward pass reads, weights left out.
    """

    step: bytes
    forward: bytes
    state: dict[str, str]
    saved_bytes: int


def compiled(sizes: tuple[int, ...], batch_size: int, optimizer: Optimizer) -> tuple[StepGraph, StepGraph]:
    """Compile the step of an MLP with ReLU, cross-entropy and an optimiser, and that of a narrow one of its depth.

    Parameters
    ----------
    sizes : inputs, units of each layer, classes.

    Raises
    ------
    FfedgeError
        onnxsim is not installed, or knows no training loop.
    """
    narrow = (TRIAL_UNITS,) * len(sizes)
    asked = [{"sizes": s, "batch_size": n, "optimizer": optimizer} for s, n in ((sizes, batch_size), (narrow, 4))]
    answers = ask("ort_graph", {"graphs": asked}, PATHS)
    whole, trial = (StepGraph(**a | {key: base64.b64decode(a[key]) for key in ("step", "forward")}) for a in answers)
    return whole, trial


def loss_graph(sizes: tuple[int, ...], batch_size: int) -> "onnx.ModelProto":
    """Build the MLP and its loss: the sum over rows of ``weight * (log sum exp z - z[true])``, z the head's outputs.

    The largest z of a row is taken off first (a MaxPool, whose gradient onnxsim knows), so that exp cannot overflow.
    """
    import numpy as np
    import onnx

    from ffedge.onnx.graph import GraphBuilder, model_bytes

    g, (inputs, *_, classes) = GraphBuilder("backprop"), sizes
    g.input("x", (batch_size, inputs))
    g.input("y", (batch_size, classes))
    g.input("weight", (batch_size, 1))
    for name, dims in parameters(sizes).items():
        g.const(np.zeros(dims), name=name)
    z = _layers(g, sizes)
    z = g.op("Reshape", z, g.ints(batch_size, 1, 1, classes))
    z = g.op("Sub", z, g.op("MaxPool", z, kernel_shape=[1, classes]))
    z = g.op("Reshape", z, g.ints(batch_size, classes))
    true = g.sum(g.op("Mul", z, "y"), 1, keep=True)
    rows = g.op("Sub", g.op("Log", g.sum(g.op("Exp", z), 1, keep=True)), true)
    g.op("ReduceSum", g.op("Mul", rows, "weight"), out="loss", keepdims=0)
    g.output("loss", ())
    return onnx.load_from_string(model_bytes(g.graph))


def parameters(sizes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (inputs, units) in enumerate(itertools.pairwise(sizes)):
        shapes |= {f"W{i}": (inputs, units), f"b{i}": (units,)}
    return shapes


def _layers(g: "GraphBuilder", sizes: tuple[int, ...]) -> str:
    z = "x"
    for i in range(len(sizes) - 1):
        z = g.op("Gemm", g.op("Relu", z) if i else z, f"W{i}", f"b{i}")
    return z


def _forward_graph(sizes: tuple[int, ...]) -> bytes:
    from ffedge.onnx.graph import GraphBuilder, model_bytes

    g = GraphBuilder("predict")
    g.input("x", ("N", sizes[0]))
    for name, dims in parameters(sizes).items():
        g.input(name, dims)
    g.op("ArgMax", _layers(g, sizes), out="label", axis=1, keepdims=0)
    g.output("label", ("N",), "int64")
    return model_bytes(g.graph)


def _sgd() -> "onnx.ModelProto":
    """Build plain SGD as onnxsim takes it: a weight, its gradient and the rate in, the new weight out."""
    import onnx

    from ffedge.onnx.graph import GraphBuilder, model_bytes

    g = GraphBuilder("sgd")
    for name, dims in (("weight", (1,)), ("gradient", (1,)), ("rate", ())):
        g.input(name, dims)
    g.op("Sub", "weight", g.op("Mul", "rate", "gradient"), out="new")
    g.output("new", (1,))
    return onnx.load_from_string(model_bytes(g.graph))


def _compile(sizes: tuple[int, ...], batch_size: int, optimizer: Optimizer) -> StepGraph:
    sys.modules.setdefault("torch", None)  # onnxsim would import it, and needs it not
    try:
        from onnxsim import compile_training_loop
        from onnxsim.compile_training import CustomOptimizer
    except ImportError as error:
        raise FfedgeError(
            "backprop in onnxruntime needs onnxsim 0.8 or newer, which is not installed. "
            "Run: pip install 'ffedge[bench]'"
        ) from error
    model = loss_graph(sizes, batch_size)
    rule = {"adam": "adam", "momentum": "sgd_momentum", "sgd": CustomOptimizer(_sgd(), 0)}[optimizer]
    step = compile_training_loop(model, "loss", list(parameters(sizes)), optimizer=rule).step_graph
    return StepGraph(
        step.model.SerializeToString(), _forward_graph(sizes), dict(step.state), _saved_bytes(model, step.model)
    )


def _saved_bytes(forward: "onnx.ModelProto", step: "onnx.ModelProto") -> int:
    """Add up the values of the forward graph, its inputs included, that other nodes of the step read."""
    import math

    from onnx.shape_inference import infer_shapes

    graph = infer_shapes(forward).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.value_info)}
    own = {name for node in graph.node for name in node.output}
    behind = [node for node in step.graph.node if not own & set(node.output)]
    read = {name for node in behind for name in node.input} & set(shapes)
    return sum(4 * math.prod(shapes[name]) for name in read)


def answer(request: dict[str, Any]) -> Any:
    """Compile each of ``graphs``."""
    plain = []
    for asked in request["graphs"]:
        graph = asdict(_compile(tuple(asked["sizes"]), asked["batch_size"], asked["optimizer"]))
        plain.append(graph | {key: base64.b64encode(graph[key]).decode() for key in ("step", "forward")})
    return plain


if __name__ == "__main__":
    serve(answer)
