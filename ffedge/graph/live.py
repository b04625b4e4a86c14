"""How much memory a graph's own values take while it runs, as a function of the samples that go through it."""

import math

import onnx

from ffedge.liveness import Line, lines_of, most_bytes, peaks
from ffedge.spec import ITEM_BYTES

__all__ = ["live_lines", "most_bytes"]


def live_lines(model: onnx.ModelProto, labels: int) -> list[Line]:
    """Return lines whose greatest value is the most bytes that live at once between a graph's nodes.

    Values are counted from the node that makes them to the last that reads them. Views, and results that an operator
    writes over an operand which nobody reads later, take nothing. Inputs, outputs and constants are not counted: their
    memory is the caller's.

    Parameters
    ----------
    labels : M, labels tried for each of the N samples; a graph with a dimension T counts T in place of N.
    """
    return lines_of(lambda count: _peaks(model, _sizes(model, count, labels)))


def _peaks(model: onnx.ModelProto, sizes: dict[str, int]) -> list[int]:
    nodes = [(node.op_type, tuple(node.input), tuple(node.output)) for node in model.graph.node]
    return peaks(nodes, {value.name for value in model.graph.output}, sizes)


def _sizes(model: onnx.ModelProto, count: int, labels: int) -> dict[str, int]:
    """Return the bytes of every value for a number of samples."""
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    symbols = {"N": count, "M": labels, "R": count * labels, "T": count}
    for value in (*bound.graph.input, *bound.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = symbols[dim.dim_param]
    inferred = onnx.shape_inference.infer_shapes(bound, data_prop=True).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred.value_info}
    return {name: ITEM_BYTES * math.prod(shape) for name, shape in shapes.items()}
