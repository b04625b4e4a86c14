"""How much memory a graph's own values take while it runs, as a function of the samples that go through it."""

import math
from collections.abc import Sequence

import onnx

from ffedge.spec import ITEM_BYTES

Line = tuple[int, int]  # bytes = first + second * samples
VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Identity"}
IN_PLACE = {"Add", "Sub", "Mul", "Div", "Relu", "Clip", "Sqrt", "Exp", "Log", "Neg", "Sigmoid", "Softplus"}


def live_lines(model: onnx.ModelProto, labels: int) -> list[Line]:
    """Return lines whose greatest value is the most bytes that live at once between a graph's nodes.

    Values are counted from the node that makes them to the last that reads them. Views, and results that an operator
    writes over an operand which nobody reads later, take nothing. Inputs, outputs and constants are not counted: their
    memory is the caller's.

    Parameters
    ----------
    labels : M, labels tried for each of the N samples; a graph with a dimension T counts T in place of N.
    """
    one, two = (_peaks(model, _sizes(model, count, labels)) for count in (1, 2))
    lines = {(2 * a - b, b - a) for a, b in zip(one, two, strict=True)}
    return sorted(line for line in lines if not any(_below(line, other) for other in lines))


def most_bytes(lines: Sequence[Line], samples: int) -> int:
    """Return what the lines say for a number of samples."""
    return max((start + slope * samples for start, slope in lines), default=0)


def _below(line: Line, other: Line) -> bool:
    return line != other and line[0] <= other[0] and line[1] <= other[1]


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


def _peaks(model: onnx.ModelProto, sizes: dict[str, int]) -> list[int]:
    """Return the bytes that live while each node runs."""
    nodes = model.graph.node
    outputs = {value.name for value in model.graph.output}
    last = {name: i for i, node in enumerate(nodes) for name in node.input}
    root: dict[str, str] = {}  # a view's own memory
    live: dict[str, int] = {}
    ends: dict[str, int] = {}
    peaks = []
    for i, node in enumerate(nodes):
        operands = [root.get(name, name) for name in node.input]
        for name in node.output:
            if name in outputs:
                continue
            end, size = last.get(name, i), sizes.get(name, 0)
            taken = next((o for o in operands if o in live and (node.op_type in VIEWS or _free(o, i, ends))), None)
            if node.op_type in VIEWS and operands[0] not in live:
                continue  # a view of an input or a constant
            if taken is not None and (node.op_type in VIEWS or (node.op_type in IN_PLACE and live[taken] == size)):
                root[name] = taken
                ends[taken] = max(ends[taken], end)
            else:
                live[name], ends[name] = size, end
        peaks.append(sum(live.values()))
        for name in [n for n in live if ends[n] <= i]:
            del live[name]
    return peaks


def _free(name: str, at: int, ends: dict[str, int]) -> bool:
    return ends.get(name, -1) <= at
