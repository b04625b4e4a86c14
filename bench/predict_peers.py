"""The same goodness network in torch, and a backprop MLP of its widths in ONNX, for `predict_latency`.

Shape letters: N samples, C classes, H units of a layer.
"""

import itertools
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from ffedge.runtime import Predictor

NORM_EPSILON = 1e-4


class TorchNetwork:
    """The same network, with the same weights, as Forward-Forward code in torch predicts: the label over the input.

    Raises
    ------
    ValueError
        The model's options are not those of this loop: overlay, RMS norm, mean goodness.
    """

    def __init__(self, model: str, predictor: Predictor) -> None:
        network, facts = predictor.spec.network, predictor.facts
        found = (network.label_mode, network.norm, network.input_norm, network.goodness)
        if found != ("overlay", "rms", "none", "mean"):
            raise ValueError(f"model must use an overlay, RMS norm and mean goodness, got {found}")
        stored = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in onnx.load(model).graph.initializer}
        self.classes, self.label_scale = facts.n_classes, float(network.label_scale)
        self.offset, self.scale = torch.tensor(facts.offset), torch.tensor(facts.scale)
        self.layers: list[tuple[torch.Tensor, torch.Tensor]] = []
        for i in range(len(network.widths)):
            W, b, V = (stored.get(f"layers.{i}.{name}") for name in "WbV")
            if i == 0:  # the label's rows of W stand where the label stands in the input
                self.layers.append((torch.cat([V, W]), b.reshape(1, -1)))
            else:  # a label that a further layer sees is a bias for each class
                self.layers.append((W, (b if V is None else b + self.label_scale * V).reshape(-1, len(b))))

    def scaled(self, images: Any) -> torch.Tensor:
        """Return raw images as scaled inputs [N, 784] float32."""
        return (torch.from_numpy(images.reshape(len(images), -1)).float() - self.offset) * self.scale

    @torch.inference_mode()
    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network once for each label, as published code does; return the best label [N]."""
        scores = []
        for label in range(self.classes):
            activity = x.clone()
            activity[:, : self.classes] = 0.0
            activity[:, label] = self.label_scale
            scores.append(self._goodness(activity, slice(label, label + 1)))
        return torch.stack(scores, 1).argmax(1)

    @torch.inference_mode()
    def predict_stacked(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network once on all N * C labelled rows; return the best label [N]."""
        rows = x.repeat_interleave(self.classes, 0)
        rows[:, : self.classes] = (self.label_scale * torch.eye(self.classes)).repeat(len(x), 1)
        return self._goodness(rows, slice(None)).reshape(-1, self.classes).argmax(1)

    def _goodness(self, activity: torch.Tensor, labels: slice) -> torch.Tensor:
        """Return the goodness [N], summed over layers; the labels of the rows take turns."""
        total = torch.zeros(len(activity))
        for W, bias in self.layers:
            chosen = bias if len(bias) == 1 else bias[labels]
            if len(chosen) > 1:
                chosen = chosen.repeat(len(activity) // len(chosen), 1)
            y = torch.relu(torch.addmm(chosen, activity, W))
            goodness = y.pow(2).mean(1)
            total += goodness
            activity = y / (goodness.sqrt().unsqueeze(1) + NORM_EPSILON)
        return total


def backprop_mlp(network: TorchNetwork) -> bytes:
    """Return a plain MLP 784-500-500-10 as ONNX: raw uint8 in, label out; its weights are random."""
    rng, nodes, value = np.random.default_rng(0), [], "x"
    sizes = [network.layers[0][0].shape[0], *(W.shape[1] for W, _ in network.layers), network.classes]
    stored = {"scale": network.scale.numpy(), "offset": network.offset.numpy(), "flat": np.array([-1, sizes[0]])}

    def op(kind: str, *inputs: str, out: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    op("Cast", op("Reshape", "input", "flat", out="rows"), out="float", to=TensorProto.FLOAT)
    op("Mul", op("Sub", "float", "offset", out="centred"), "scale", out="x")
    for i, (inputs, units) in enumerate(itertools.pairwise(sizes)):
        stored[f"W{i}"] = rng.normal(0, inputs**-0.5, (inputs, units)).astype(np.float32)
        stored[f"b{i}"] = np.zeros(units, np.float32)
        value = op("Gemm", value, f"W{i}", f"b{i}", out=f"z{i}")
        value = op("Relu", value, out=f"y{i}") if i < len(sizes) - 2 else value
    op("ArgMax", value, out="label", axis=1, keepdims=0)
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, ["N", 28, 28])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["N"])],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
