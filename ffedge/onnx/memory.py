"""How much memory a graph's own values take while it runs."""

from collections import defaultdict
from collections.abc import Mapping

from ffedge.onnx.graph import Graph, Node
from ffedge.onnx.shapes import TRUTH, walk

VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Identity"}
IN_PLACE = {"Add", "Sub", "Mul", "Div", "Relu", "Clip", "Sqrt", "Neg", "Sigmoid", "Softplus"}


def most_alive(graph: Graph, symbols: Mapping[str, int]) -> int:
    """Return the most bytes that live at once between a graph's nodes, as onnxruntime orders them.

    Values are counted from the node that makes them to the last that reads them. Views (what products alone read
    transposed is one: they read it as it lies), and results that an operator writes over an operand which nobody reads
    later, take nothing; nor do inputs, outputs and constants, whose memory is the caller's.

    Parameters
    ----------
    symbols : what the sizes of inputs that are symbols stand for.
    """
    sizes, nodes = walk(graph, symbols).sizes, as_run(graph)
    last = {name: i for i, node in enumerate(nodes) for name in node.inputs}
    readers = defaultdict[str, set[str]](set)
    for node in nodes:
        for name in node.inputs:
            readers[name].add(node.kind)
    root: dict[str, str] = {}  # a view's own memory
    live: dict[str, int] = {}
    ends: dict[str, int] = {}
    most = 0
    for i, node in enumerate(nodes):
        operands = [root.get(name, name) for name in node.inputs]
        view = node.kind in VIEWS or (node.kind == "Transpose" and readers[node.outputs[0]] == {"MatMul"})
        for name in node.outputs:
            if name in graph.outputs:
                continue
            end, size = last.get(name, i), sizes[name] // (4 if node.kind in TRUTH else 1)
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


def as_run(graph: Graph) -> list[Node]:
    """Return a graph's nodes in the order in which onnxruntime runs them: each result when the first asks for it.

    Those that nobody reads ask first, the last added first, and each asks for what it reads likewise (depth first).
    """
    maker = {name: i for i, node in enumerate(graph.nodes) for name in node.outputs}
    asked = [{maker[name] for name in node.inputs if name in maker} for node in graph.nodes]
    stack = [(i, False) for i in sorted(set(range(len(asked))) - set().union(*asked))]
    seen, result = set[int](), list[Node]()
    while stack:
        i, ready = stack.pop()
        if ready:
            result.append(graph.nodes[i])
        elif i not in seen:
            seen.add(i)
            stack += [(i, True), *((j, False) for j in sorted(asked[i]))]
    return result
