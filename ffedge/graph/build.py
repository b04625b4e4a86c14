"""A small builder of ONNX graphs: standard operators only, opset 17, IR version 8."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64, "bool": TensorProto.BOOL}
Dims = tuple[int | str, ...]


class GraphBuilder:
    """Collects nodes; a value is known by its name.

    Attributes
    ----------
    stage : of a learning step (`ffedge.stages`), to which the nodes added next belong; they carry its name.
    """

    def __init__(self, name: str) -> None:
        self.name, self.stage = name, ""
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._declared: set[str] = set()

    def input(self, name: str, dims: Dims, dtype: str = "float32") -> str:
        """Declare an input, once however often it is asked for; a dimension is a number or a symbol."""
        if name not in self._declared:
            self._declared.add(name)
            self.inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], dims))
        return name

    def output(self, name: str, dims: Dims, dtype: str = "float32") -> None:
        """Declare a value, made by a node, as an output."""
        self.outputs.append(helper.make_tensor_value_info(name, TYPES[dtype], dims))

    def const(self, value: ArrayLike, dtype: DTypeLike = np.float32, name: str | None = None) -> str:
        """Store a constant; small equal constants are stored once."""
        array = np.asarray(value, dtype)
        if name is None:
            name = f"const.{array.dtype.name}.{array.tolist()}".replace(" ", "")
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def ints(self, *values: int) -> str:
        """Store a list of int64: axes or a shape."""
        return self.const(values, np.int64)

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        out = out or f"{kind.lower()}.{len(self.nodes)}"
        name = f"{self.stage}/{len(self.nodes)}" if self.stage else None
        self.nodes.append(helper.make_node(kind, inputs, [out], name, **attributes))
        return out

    def sum(self, value: str, axis: int, keep: bool = False, out: str | None = None) -> str:
        """Add a sum over one axis."""
        return self.op("ReduceSum", value, self.ints(axis), keepdims=int(keep), out=out)

    def mean(self, value: str, axis: int, keep: bool = False) -> str:
        """Add a mean over one axis (its axes are an attribute in this opset)."""
        return self.op("ReduceMean", value, axes=[axis], keepdims=int(keep))

    def model(self, *, check: bool = True) -> onnx.ModelProto:
        """Return the model, checked."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, list(self.initializers.values()))
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="ffedge"
        )
        if check:
            onnx.checker.check_model(model)
        return model
