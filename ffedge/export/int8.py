"""A form with int8 weights and uint8 activities, by onnxruntime's static quantizer.

The products of the layers become products of whole numbers; all else stays float32. Scales are fixed beforehand from
calibration rows, so that a sample's answer does not depend on those beside it, as it would with scales taken from each
batch. Weights get 7 bits of the 8: with all of them, processors without VNNI (AVX2) overflow and answer otherwise.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ffedge.data.cache_folder import passing_folder
from ffedge.model.file import array_of
from ffedge.model.write import file_bytes
from ffedge.onnx.graph import TYPES, Graph, Port
from ffedge.onnx.read import read_nodes, read_parts

Array = NDArray[Any]
PRODUCTS = ["Gemm", "MatMul"]


def quantised(graph: Graph, weights: Mapping[str, Array], calibration: Iterable[Array], *, per_channel: bool) -> Graph:
    """Quantise the products with weights ``W.<l>`` of a form.

    Parameters
    ----------
    calibration : batches of raw samples [N, ...] whose activities tell the scales.
    per_channel : a scale for each unit's weights; else one for a layer's.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Batches(CalibrationDataReader):  # type: ignore[misc]
        """Hands out the calibration rows."""

        def __init__(self) -> None:
            self._batches = iter(calibration)

        def get_next(self) -> dict[str, Array] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"input": batch}

    named = onnx.load_from_string(file_bytes(graph, weights, {}))
    for place, node in enumerate(named.graph.node):
        node.name = f"{node.op_type}.{place}"
    products = [node.name for node in named.graph.node if len(node.input) > 1 and node.input[1].startswith("W.")]
    whole = [node.output[0] for node in named.graph.node if node.op_type == "Cast"]  # bytes from 0 to 255 already
    with passing_folder() as folder, _silent():
        out = folder / "quantised.onnx"
        quantize_static(
            named,
            out,
            Batches(),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=products,
            op_types_to_quantize=PRODUCTS,
            extra_options={
                "OpTypesToExcludeOutputQuantization": PRODUCTS,
                "TensorQuantOverrides": {
                    name: [{"scale": np.array(1.0, np.float32), "zero_point": np.array(0, np.uint8)}] for name in whole
                },
            },
        )
        return _read(_plain(onnx.load(out)))


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let products read bytes as they came, and all else what is not rounded; store arrays as ffedge's reader wants."""
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    for node in [node for node in graph.node if node.op_type == "QuantizeLinear"]:
        if (cast := makers.get(node.input[0])) and cast.op_type == "Cast":
            _read_instead(graph.node, node.output[0], cast.input[0])
            graph.node.remove(node)
            graph.node.remove(cast)
            continue
        rounded = next(reader.output[0] for reader in graph.node if node.output[0] in reader.input)
        _read_instead([n for n in graph.node if n.op_type not in PRODUCTS], rounded, node.input[0])
    for tensor in graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    for node in graph.node:
        node.ClearField("name")
    del graph.value_info[:]
    return model


def _read(model: onnx.ModelProto) -> Graph:
    """Return a model as ffedge's own reader sees it."""
    content = model.SerializeToString()
    parts = read_parts(content, len(content))
    nodes, names = read_nodes(content, parts)[1], {number: name for name, number in TYPES.items()}
    inputs, outputs = (
        {
            value.name: Port(
                tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim),
                names[value.type.tensor_type.elem_type],
            )
            for value in values
        }
        for values in (model.graph.input, model.graph.output)
    )
    constants = {name: array_of(content, tensor) for name, tensor in parts.tensors.items()}
    return Graph("ffedge", nodes, inputs, outputs, constants)


def _read_instead(readers: Iterable[onnx.NodeProto], name: str, other: str) -> None:
    for reader in readers:
        reader.input[:] = [other if given == name else given for given in reader.input]


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the quantizer from advising preparations that an ffedge graph does not need."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
