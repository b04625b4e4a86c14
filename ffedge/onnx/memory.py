"""How much memory a graph's own values take while it runs."""

from collections.abc import Mapping

from ffedge.onnx.graph import Graph
from ffedge.onnx.shapes import walk

VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Identity"}
IN_PLACE = {"Add", "Sub", "Mul", "Div", "Relu", "Clip", "Sqrt", "Neg", "Sigmoid", "Softplus"}


def most_alive(graph: Graph, symbols: Mapping[str, int]) -> int:
    """Return the most bytes that live at once between a graph's nodes.

    Values are counted from the node that makes them to the last that reads them. Views, and results that an operator
    writes over an operand which nobody reads later, take nothing; nor do inputs, outputs and constants, whose memory is
    the caller's.

    Parameters
    ----------
    symbols : what the sizes of inputs that are symbols stand for.
    """
    sizes = walk(graph, symbols).sizes
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    root: dict[str, str] = {}  # a view's own memory
    live: dict[str, int] = {}
    ends: dict[str, int] = {}
    most = 0
    for i, node in enumerate(graph.nodes):
        operands, view = [root.get(name, name) for name in node.inputs], node.kind in VIEWS
        for name in node.outputs:
            if name in graph.outputs:
                continue
            end, size = last.get(name, i), sizes[name]
            taken = next((o for o in operands if o in live and (view or ends.get(o, -1) <= i)), None)
            if view and operands[0] not in live:
                continue  # a view of an input or a constant
            if taken is not None and (view or (node.kind in IN_PLACE and live[taken] == size)):
                root[name] = taken
                ends[taken] = max(ends[taken], end)
            else:
                live[name], ends[name] = size, end
        most = max(most, sum(live.values()))
        for name in [n for n in live if ends[n] <= i]:
            del live[name]
    return most
