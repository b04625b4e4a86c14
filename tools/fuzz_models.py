"""Hostile model files: a valid one with its metadata, graph, weights or bytes changed."""

import json
import random
from collections.abc import Callable
from typing import Any

import onnx
from fuzz_bytes import NUMBERS, TEXTS, bad_json, mutated
from onnx import TensorProto, helper

FOREIGN = (
    "Loop",
    "If",
    "Scan",
    "RandomNormal",
    "ConstantOfShape",
    "Range",
    "Tile",
    "Expand",
    "Pad",
    "Resize",
    "NonZero",
)
FOREIGN += ("SequenceEmpty", "StringNormalizer", "ImageDecoder", "Einsum", "MatMul", "Conv", "LSTM", "NoSuchThing", "")


def hostile_model(model: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Return changed bytes and the name of the change."""
    if rng.randrange(3) == 0:
        return mutated(model, rng)
    proto = onnx.load_from_string(model)
    name, change = rng.choice(_CHANGES)
    change(proto, rng)
    data = proto.SerializeToString()
    if rng.randrange(10) == 0:
        return mutated(data, rng)[0], f"{name}, and bytes"
    return data, name


def _metadata(proto: onnx.ModelProto, rng: random.Random) -> None:
    entry = rng.choice([p for p in proto.metadata_props if p.key.startswith("ffedge.")])
    way = rng.randrange(8)
    if way == 0:
        entry.value = rng.choice([text for text in TEXTS if text.isascii()])
    elif way == 1:
        entry.key = rng.choice(("ffedge.", "ffedge.spec", "ffedge.x\ny", "other"))
    elif way == 2:
        proto.metadata_props.extend([onnx.StringStringEntryProto(key="ffedge.a" + str(i)) for i in range(20_000)])
    else:
        entry.value = bad_json(json.loads(entry.value), rng)


def _facts(proto: onnx.ModelProto, rng: random.Random) -> None:
    """Change the input's facts in ways that JSON allows and a graph may not bear out."""
    entry = next(p for p in proto.metadata_props if p.key == "ffedge.input")
    facts = json.loads(entry.value)
    name = rng.choice(list(_FACTS))
    value = rng.choice(_FACTS[name])
    facts[name] = value
    entry.value = json.dumps(facts)


_FACTS: dict[str, list[Any]] = {
    "shape": [[2**31], [36], [], [1] * 70, [True, 6, 6], [10**4000], [6, 6, 1], [2**24]],
    "classes": [
        [],
        ["a"] * 3,
        ["[/x]", "a", "b"],
        ["a\nb", "\x1b[2J", "c"],
        ["\ud800", "b", "c"],
        ["x" * 10**6, "b", "c"],
    ],
    "dtype": ["float32", ["uint8"], None],
    "offset": [[], "x", [0.0] * 100_000, [10**400], [[0.0]]],
    "scale": [[None], [1e999], [], [True]],
}


def _spec(proto: onnx.ModelProto, rng: random.Random) -> None:
    entry = next(p for p in proto.metadata_props if p.key == "ffedge.spec")
    spec = json.loads(entry.value)
    part = rng.choice(list(spec))
    spec[part][rng.choice(list(spec[part]))] = rng.choice([10**400, -1, [[]], {}, None, "x\ny", [10**400], 1e999, True])
    entry.value = json.dumps(spec)


def _node(proto: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice(proto.graph.node)
    way = rng.randrange(7)
    if way == 0:
        node.op_type = rng.choice([*FOREIGN, *(n.op_type for n in proto.graph.node)])
    elif way == 1:
        node.domain = rng.choice(("com.microsoft", "ai.onnx.ml", "evil", "../x", "com.microsoft.nchwc"))
        node.op_type = rng.choice((node.op_type, "FusedMatMul", "QGemm", "NhwcMaxPool", "BeamSearch"))
    elif way == 2 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(["", "none", *_names(proto)])
    elif way == 3 and node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice(["", "none", *_names(proto)])
    elif way == 4:
        del node.input[:]
    elif way == 5:
        node.attribute.append(
            helper.make_attribute(rng.choice(("axis", "axes", "to", "keepdims", "x")), _attribute(rng))
        )
    else:
        node.input.extend(list(node.input) * rng.choice((1, 50)))


def _attribute(rng: random.Random) -> Any:
    return rng.choice(
        [-1, 99, 2**62, -(2**63), 0.5, "x", [2**62], [1] * 1000, [0.5], helper.make_tensor("t", 1, [1], [1.0])]
    )


def _names(proto: onnx.ModelProto) -> list[str]:
    return [out for n in proto.graph.node for out in n.output] + [t.name for t in proto.graph.initializer] + ["input"]


def _weights(proto: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(proto.graph.initializer)
    way = rng.randrange(8)
    if way == 0:
        tensor.dims[:] = [rng.choice((*NUMBERS[:-1], -1)) for _ in range(rng.choice((0, 1, 2, 9)))]
    elif way == 1:
        tensor.data_type = rng.choice((*range(25), 2**31 - 1))
    elif way == 2:
        tensor.raw_data = rng.choice(
            (b"", tensor.raw_data[:-1], tensor.raw_data * 2, rng.randbytes(len(tensor.raw_data)))
        )
    elif way == 3:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        place = rng.choice(
            ("../victim", "/etc/passwd", "model.onnx", "/dev/zero", "x" * 5000, "a\0b", "/proc/self/mem")
        )
        for key, value in (
            ("location", place),
            ("offset", rng.choice(("0", "-1", "9" * 30))),
            ("length", "99999999999"),
        ):
            tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
    elif way == 4:
        tensor.ClearField("raw_data")
        tensor.float_data.extend([1.0] * rng.choice((0, 5, 100_000)))
    elif way == 5:
        tensor.name = rng.choice(["", "input", *_names(proto)])
    elif way == 6:
        huge = TensorProto(name="huge", data_type=1, dims=[2**31, 2**20], raw_data=b"1234")
        proto.graph.initializer.append(huge)
    else:
        del tensor.dims[:]


def _ports(proto: onnx.ModelProto, rng: random.Random) -> None:
    ports = rng.choice((proto.graph.input, proto.graph.output))
    port, way = rng.choice(ports), rng.randrange(5)
    if way == 0:
        ports.remove(port)
    elif way == 1:
        port.name = rng.choice(["", "input", *_names(proto)])
    elif way == 2:
        port.type.tensor_type.elem_type = rng.randrange(25)
    elif way == 3:
        port.type.tensor_type.shape.dim.add().dim_value = rng.choice((-1, 2**62))
    elif port.type.tensor_type.shape.dim:
        rng.choice(port.type.tensor_type.shape.dim).dim_value = rng.choice((-1, 0, 3, 2**31, 2**62))


def _loop(proto: onnx.ModelProto, rng: random.Random) -> None:
    """Add a loop that does not end, where the scores come from."""
    values = [helper.make_tensor_value_info(name, kind, []) for name, kind in (("i", 7), ("c", 9))]
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["again"])],
        "body",
        values,
        [helper.make_tensor_value_info("again", 9, [])],
    )
    proto.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    proto.graph.initializer.append(helper.make_tensor("most", TensorProto.INT64, [], [2**62]))
    loop = helper.make_node("Loop", [rng.choice(("most", "")), "yes"], [], body=body)
    proto.graph.node.insert(0, loop)


def _constant_bomb(proto: onnx.ModelProto, rng: random.Random) -> None:
    """Let one value grow large while the session loads or runs."""
    size = rng.choice((2**24, 2**28, 2**31, 2**40))
    add = proto.graph.initializer.append
    add(helper.make_tensor("size", TensorProto.INT64, [1], [size]))
    add(helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]))
    maker = rng.choice(("ConstantOfShape", "Expand", "Tile"))
    inputs = ["size"] if maker == "ConstantOfShape" else ["one", "size"]
    proto.graph.node.insert(0, helper.make_node(maker, inputs, ["bomb"]))
    _hang_on(proto, "bomb")


def _hang_on(proto: onnx.ModelProto, value: str) -> None:
    """Make the scores depend on a value."""
    proto.graph.node.insert(1, helper.make_node("ReduceSum", [value], ["bomb.sum"], keepdims=0))
    for node in proto.graph.node:
        if "scores" in node.output:
            node.output[0] = "scores.before"
            node.name = "last"
    at = next(i for i, node in enumerate(proto.graph.node) if node.name == "last")
    proto.graph.node.insert(at + 1, helper.make_node("Add", ["scores.before", "bomb.sum"], ["scores"]))


def _outer_bomb(proto: onnx.ModelProto, rng: random.Random) -> None:
    """Multiply a column by a row, with operators that ffedge itself uses."""
    size = rng.choice((4096, 16384, 40000))
    for name, dims in (("column", [size, 1]), ("row", [1, size])):
        tensor = TensorProto(name=name, data_type=1, dims=dims, raw_data=bytes(4 * size))
        proto.graph.initializer.append(tensor)
    kind = rng.choice(("Mul", "Gemm", "Add"))
    if rng.randrange(2):
        proto.graph.node.insert(0, helper.make_node(kind, ["column", "row"], ["bomb"]))
        _hang_on(proto, "bomb")
    else:  # not a constant, so that it grows only when a row is predicted
        proto.graph.initializer.append(helper.make_tensor("flat", TensorProto.INT64, [1], [-1]))
        proto.graph.node.insert(0, helper.make_node("Cast", ["input"], ["float"], to=1))
        proto.graph.node.insert(1, helper.make_node("ReduceSum", ["float"], ["total"], keepdims=0))
        proto.graph.node.insert(2, helper.make_node("Mul", ["column", "total"], ["column.input"]))
        proto.graph.node.insert(3, helper.make_node(kind, ["column.input", "row"], ["bomb"]))
        proto.graph.node.insert(4, helper.make_node("ReduceSum", ["bomb"], ["bomb.sum"], keepdims=0))
        last = next(node for node in proto.graph.node if "scores" in node.output)
        last.output[0] = "scores.before"
        at = list(proto.graph.node).index(last)
        proto.graph.node.insert(at + 1, helper.make_node("Add", ["scores.before", "bomb.sum"], ["scores"]))


def _long_chain(proto: onnx.ModelProto, rng: random.Random) -> None:
    """Add a great many nodes, each of little or of much work."""
    size, count = rng.choice(((1, 30_000), (1000, 400), (300, 20_000)))
    proto.graph.initializer.append(
        TensorProto(name="square", data_type=1, dims=[size, size], raw_data=bytes(4 * size**2))
    )
    last, nodes = "square", []
    for i in range(count):
        nodes.append(
            helper.make_node("Gemm" if size > 1 else "Identity", [last, "square"][: 1 + (size > 1)], [f"c{i}"])
        )
        last = f"c{i}"
    rest = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes, *rest])


def _extras(proto: onnx.ModelProto, rng: random.Random) -> None:
    """Add parts that a predictor's file does not have."""
    way = rng.randrange(8)
    if way == 0:
        proto.functions.append(
            helper.make_function("d", "F", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [])
        )
    elif way == 1:
        proto.graph.sparse_initializer.add().dims.extend([2**40, 2**40])
    elif way == 2:
        proto.opset_import[0].version = rng.choice((0, 1, 6, 12, 99, 2**40, -1))
    elif way == 3:
        proto.ir_version = rng.choice((0, 1, 3, 99, 2**40, -1))
    elif way == 4:
        proto.opset_import.append(
            helper.make_opsetid(rng.choice(("evil", "com.microsoft", "")), rng.choice((1, 17, 99)))
        )
    elif way == 5:
        proto.training_info.add().algorithm.node.append(helper.make_node("Loop", [], []))
    elif way == 6:
        proto.graph.value_info.extend([helper.make_tensor_value_info(f"v{i}", 1, [2**60] * 8) for i in range(20_000)])
    else:
        proto.graph.quantization_annotation.add().tensor_name = "x"


def _learning(proto: onnx.ModelProto, rng: random.Random) -> None:
    """Change the learning step as other changes change the predictor."""
    if not proto.training_info:
        return
    info = proto.training_info[0]
    found = rng.choice(info.algorithm.node)
    way = rng.randrange(9)
    names = [out for n in info.algorithm.node for out in n.output] + ["labels", "mask", *_names(proto)]
    if way == 0:
        found.op_type = rng.choice([*FOREIGN, *(n.op_type for n in info.algorithm.node)])
    elif way == 1 and found.input:
        found.input[rng.randrange(len(found.input))] = rng.choice(["", *names])
    elif way == 2:
        found.output[0] = rng.choice(["", *names])
    elif way == 3:
        found.name = rng.choice(["", "learn.0/x", "step.1/x", "forward.99/x", info.algorithm.node[-1].name])
    elif way == 4:
        pair = rng.choice(info.update_binding)
        pair.key, pair.value = rng.choice([("", ""), (pair.value, pair.key), (pair.key, "none")])
    elif way == 5:
        tensor = rng.choice(info.algorithm.initializer)
        tensor.dims[:] = [rng.choice((*NUMBERS[:-1], -1)) for _ in range(rng.choice((0, 1, 2, 9)))]
    elif way == 6:
        found.attribute.append(helper.make_attribute(rng.choice(("axis", "alpha", "transA", "x")), _attribute(rng)))
    elif way == 7:
        copy = info.algorithm.node.add()
        copy.CopyFrom(found)
        copy.output[0] = f"{found.output[0]}.again"
    else:
        nodes = list(info.algorithm.node)
        rng.shuffle(nodes)
        del info.algorithm.node[:]
        info.algorithm.node.extend(nodes)


def _swap(proto: onnx.ModelProto, rng: random.Random) -> None:
    """Put the nodes into another order, lose some, or repeat some."""
    nodes = list(proto.graph.node)
    way = rng.randrange(3)
    if way == 0:
        rng.shuffle(nodes)
    elif way == 1:
        del nodes[rng.randrange(len(nodes))]
    else:
        nodes += [rng.choice(nodes)]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


_CHANGES: list[tuple[str, Callable[[onnx.ModelProto, random.Random], None]]] = [
    ("metadata", _metadata),
    ("facts of the input", _facts),
    ("spec", _spec),
    ("node", _node),
    ("weights", _weights),
    ("inputs and outputs", _ports),
    ("endless loop", _loop),
    ("constant bomb", _constant_bomb),
    ("outer product bomb", _outer_bomb),
    ("long chain", _long_chain),
    ("extra parts", _extras),
    ("order of nodes", _swap),
    *[("learning step", _learning)] * 4,
]
