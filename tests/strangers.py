"""What a stranger may put into a model file: changes to its protobuf, and a file that two readers read differently."""

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from networks import DATA, rows_of
from onnx import TensorProto, helper, numpy_helper
from toys import prepared, random_layers, small_spec

from ffedge.export.fold import fold
from ffedge.export.int8 import quantised
from ffedge.model.form import exact_graph, folded, head_graph, pruned_graph
from ffedge.model.write import file_bytes
from ffedge.onnx import wire
from ffedge.version import MODEL_FORMAT

LABEL, MARGIN = 3, 1e6  # of the evil model


def form(base, data="floats", *, int8=False, per_channel=False, candidates=3, **changes):
    """Return the graph of a form of a drawn network, its weights, and its file's bytes."""
    recipe, facts = prepared(small_spec(**{"label_layers": "all"} | changes), DATA[data])
    layers, rng = random_layers(recipe, facts), np.random.default_rng(0)
    gammas = [float(layer["gamma"]) for layer in layers]
    network = folded(recipe, facts, gammas, even=int8)
    weights = fold(network, layers, tried=base != "head")
    if base == "head":
        graph = head_graph(network)
        weights |= {
            "head.U": rng.random((sum(recipe.network.widths), 4), np.float32),
            "head.c": rng.random(4, np.float32),
        }
    else:
        graph = exact_graph(network) if base == "exact" else pruned_graph(network, candidates)
    if int8:
        graph, weights = quantised(graph, weights, [rows_of(DATA[data], 50)], per_channel=per_channel), {}
    name = {"exact": "int8"}.get(base, f"{base}-int8") if int8 else base
    about = {"name": name} | ({"candidates": candidates} if base == "pruned" else {})
    metadata = {"format": MODEL_FORMAT, "spec": recipe.to_dict(), "input": facts.to_dict(), "gamma": gammas}
    return graph, weights, file_bytes(graph, weights, metadata | {"form": about})


def altered(change, model):
    proto = onnx.load_from_string(model)
    change(proto)
    return proto.SerializeToString()


def tensor(name, dims):
    return TensorProto(name=name, data_type=1, dims=dims, raw_data=bytes(4 * int(np.prod(dims))))


def first(proto, kind):
    return next(node for node in proto.graph.node if node.op_type == kind)


def endless(proto):
    values = [helper.make_tensor_value_info(name, kind, []) for name, kind in (("i", 7), ("c", 9))]
    node, out = helper.make_node("Identity", ["c"], ["again"]), helper.make_tensor_value_info("again", 9, [])
    body = helper.make_graph([node], "body", values, [out])
    proto.graph.node.append(helper.make_node("Loop", ["", "yes"], [], body=body))


def foreign(proto):
    proto.graph.node[3].domain = "com.microsoft"


def unknown(proto):
    proto.graph.node[3].op_type = "ConstantOfShape"


def outside(proto):
    stored = proto.graph.initializer[0]
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.append(onnx.StringStringEntryProto(key="location", value="/etc/passwd"))


def enormous(proto):
    proto.graph.initializer.append(TensorProto(name="huge", data_type=1, dims=[2**31, 2**20], raw_data=b"1234"))


def crowded(proto):
    proto.graph.node.extend([helper.make_node("Identity", ["input"], [f"v{i}"]) for i in range(200)])


def heavy(proto):
    """1.6 million weights, each used a hundred times for every row."""
    proto.graph.initializer.extend([tensor("w", [1250, 1250]), tensor("c", [1250])])
    names = ["w", *(f"v{i}" for i in range(100))]
    proto.graph.node.extend([helper.make_node("Gemm", [a, "w", "c"], [b]) for a, b in pairwise(names)])


def laborious(proto):
    """Ten products of a million weights with themselves: little memory, much work."""
    proto.graph.initializer.extend([tensor("w", [1000, 1000]), tensor("c", [1000])])
    proto.graph.node.extend([helper.make_node("Gemm", ["w", "w", "c"], [f"v{i}"]) for i in range(10)])


def bomb(proto):
    proto.graph.initializer.extend([tensor("column", [40_000, 1]), tensor("row", [1, 40_000])])
    proto.graph.node.append(helper.make_node("Mul", ["column", "row"], ["bomb"]))


def many(proto):
    proto.graph.node.extend([onnx.NodeProto()] * 5000)


def twice(proto):
    proto.graph.initializer.append(proto.graph.initializer[0])


def empty(proto):
    proto.graph.initializer.append(TensorProto(name="none", data_type=1, dims=[0], raw_data=b""))


def other_operators(proto):
    proto.opset_import[0].domain = "evil"


def more_operators(proto):
    proto.opset_import.add(domain="evil", version=1)


def opset(proto):
    proto.opset_import[0].version = 18


def two_inputs(proto):
    proto.graph.input.append(helper.make_tensor_value_info("more", 1, [1]))


def no_input(proto):
    del proto.graph.input[:]


def sparse(proto):
    proto.graph.sparse_initializer.add().dims.extend([2**40, 2**40])


def function(proto):
    proto.functions.append(helper.make_function("d", "F", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], []))


def text(proto):
    node = first(proto, "Relu")
    node.op_type = "Cast"
    node.attribute.append(helper.make_attribute("to", TensorProto.STRING))


def other_scores(proto):
    """Let the answers come from something else."""
    for node in proto.graph.node:
        node.output[:] = ["true.scores" if name == "scores" else name for name in node.output]
    proto.graph.node.append(helper.make_node("Identity", ["input"], ["scores"]))


def no_answers(proto):
    del proto.graph.output[:]
    del proto.graph.node[:]


def hidden(model):
    """Add an attribute that one reader takes and another might leave out: C++ cuts its type, 2 + 2**32, to 2, INT.

    So Shape makes [L] of [1, L], and L numbers become L * L: a small file takes as much memory as it likes.
    """
    proto = onnx.load_from_string(model)
    proto.graph.initializer.append(tensor("wide", [1, 40_000]))
    start = wire.text(1, "start") + wire.whole(3, 1) + wire.whole(20, 2 + 2**32)
    node = wire.text(1, "wide") + wire.text(2, "sizes") + wire.text(4, "Shape") + wire.field(5, start)
    graph = proto.graph.SerializeToString() + wire.field(1, node)
    for kind, made in (("Reshape", "flat"), ("Unsqueeze", "tall"), ("Add", "square")):
        reads = {"Reshape": ("wide", "sizes"), "Unsqueeze": ("flat", "axis"), "Add": ("flat", "tall")}[kind]
        graph += wire.field(1, helper.make_node(kind, reads, [made]).SerializeToString())
    graph += wire.field(5, numpy_helper.from_array(np.array([1]), "axis").SerializeToString())
    proto.ClearField("graph")
    return proto.SerializeToString() + wire.field(7, graph)


def polyglot(model):
    """Return bytes that are a model file for a protobuf reader and an evil one, in its own format, for onnxruntime.

    onnxruntime takes bytes for its own flatbuffer where the 5th to 8th are "ORTM". A protobuf message may begin so:
    ``08 08`` (IR version 8), ``92 00`` (the tag of field 2, in two bytes) and ``4F`` (79 bytes of text, "RTM" and
    more). The first four bytes are the flatbuffer's root, 0x920808 bytes on, which stand within the documentation.
    """
    root_at, evil = 0x920808, _evil_flatbuffer(model)
    head, proto = b"\x08\x08\x92\x00\x4fRTM" + b"x" * 76, onnx.load_from_string(model)
    for field in ("ir_version", "producer_name", "doc_string"):
        proto.ClearField(field)
    table, moved = _root_at(root_at, evil)
    doc = bytes(root_at - len(head) - 5) + table
    doc += bytes(moved - len(head) - 5 - len(doc)) + evil
    length = bytes(len(doc) >> 7 * i & 127 | (128 if i < 3 else 0) for i in range(4))
    return head + b"\x32" + length + doc + proto.SerializeToString()


def _evil_flatbuffer(model):
    """Return a model in onnxruntime's own format, which gives one label with a great margin."""
    given = onnx.load_from_string(model).graph
    classes = next(o for o in given.output if o.name == "scores").type.tensor_type.shape.dim[1].dim_value
    stored = {"zero": np.array([0]), "one": np.array([1]), "C": np.array([classes])}
    make, of = helper.make_node, lambda value: numpy_helper.from_array(np.array([value]))
    nodes = [
        make("Shape", ["input"], ["shape"]),
        make("Slice", ["shape", "zero", "one", "zero"], ["N"]),
        make("Concat", ["N", "C"], ["NC"], axis=0),
        make("ConstantOfShape", ["NC"], ["scores"], value=of(np.float32(0))),
        make("ConstantOfShape", ["N"], ["label"], value=of(LABEL)),
        make("ConstantOfShape", ["N"], ["margin"], value=of(np.float32(MARGIN))),
    ]
    outputs = [output for output in given.output if output.name in ("scores", "label", "margin")]
    graph = helper.make_graph(
        nodes, "evil", given.input, outputs, [numpy_helper.from_array(v, n) for n, v in stored.items()]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.save_model_format", "ORT")
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "evil.ort")
        ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return Path(options.optimized_model_filepath).read_bytes()


def _root_at(start, content):
    """Return a flatbuffer's root table for a place, and where the flatbuffer that it points into must stand."""

    def number(at, size):
        return int.from_bytes(content[at : at + size], "little", signed=size == 4)

    root = number(0, 4)
    old = root - number(root, 4)
    places = [number(old + 4 + 2 * k, 2) for k in range((number(old, 2) - 4) // 2)]
    targets = [root + place + number(root + place, 4) if place else None for place in places]
    size = 4 + 4 * len(places)
    vtable = (4 + 2 * len(places)).to_bytes(2, "little") + size.to_bytes(2, "little")
    vtable += b"".join((4 + 4 * k if t is not None else 0).to_bytes(2, "little") for k, t in enumerate(targets))
    moved = -(-(start + size + len(vtable)) // 64) * 64
    table = (-size).to_bytes(4, "little", signed=True)
    for k, target in enumerate(targets):
        table += b"\0" * 4 if target is None else (moved + target - (start + 4 + 4 * k)).to_bytes(4, "little")
    return table + vtable, moved
