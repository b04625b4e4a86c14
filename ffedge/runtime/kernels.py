"""Which graphs a trainer needs, by key, and whether onnxruntime may update weights in place on this machine."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ffedge.network import LayerShape
from ffedge.pages import release_libraries
from ffedge.runtime.session import Kernel, Value
from ffedge.stages import FORWARD


@dataclass(frozen=True)
class KernelKey:
    """One graph of training; layers of equal shape share it.

    Attributes
    ----------
    kind : the graph (see ffedge.graph.step).
    shape : of the layer.
    flag : ``dropout`` of a product, ``all_labels`` of a forward pass (``goodness`` has it always), ``emit_rows`` of a
        learning step.
    """

    kind: Literal[
        "product", "forward", "goodness", "learn", "accumulate", "apply", "tile", "tile-accumulate", "tile-apply"
    ]
    shape: LayerShape
    flag: bool = False

    @property
    def forward(self) -> bool:
        """Whether it is a forward pass, which evaluation runs too."""
        return self.kind in FORWARD


Build = Callable[[KernelKey], bytes]


def kernel_key(kind: str, shape: LayerShape, flag: bool = False) -> KernelKey:
    """Return the key of a layer's graph; a tile's depends on the units alone."""
    tile = LayerShape(1, 1, shape.units, 1, False) if kind.startswith("tile") else shape
    return KernelKey(kind, replace(tile, index=min(tile.index, 1)), flag)  # type: ignore[arg-type]


def trial_keys(shape: LayerShape) -> tuple[KernelKey, ...]:
    """Return the learning graphs of a small layer: those of a given one but for the sizes."""
    small = LayerShape(1, 8, 8, 2, shape.sees_label)
    return kernel_key("learn", small, True), kernel_key("tile", small)


class Kernels:
    """Builds and loads each kernel when it is first needed."""

    def __init__(self, build: Build, threads: int) -> None:
        self._build = build
        self._threads = threads
        self._loaded: dict[KernelKey, Kernel] = {}

    def get(self, kind: str, shape: LayerShape, flag: bool = False) -> Kernel:
        """Return the kernel for a layer of this shape."""
        key = kernel_key(kind, shape, flag)
        if key not in self._loaded:
            self._loaded[key] = Kernel(self._build(key), self._threads)
            release_libraries()  # loading a graph runs code that running it does not
        return self._loaded[key]


def updates_in_place(build: Build, keys: tuple[KernelKey, ...], threads: int = 1) -> bool:
    """Try learning steps with one buffer for each weight's input and output against steps with two.

    onnxruntime does not promise that the first works; it is taken only where both agree bit for bit.

    Parameters
    ----------
    keys : of the graphs that are tried (`trial_keys`).
    """
    kernels = [Kernel(build(key), threads) for key in keys]
    release_libraries()
    return all(
        np.array_equal(once, twice)
        for kernel in kernels
        for once, twice in zip(_trial(kernel, in_place=True), _trial(kernel, in_place=False), strict=True)
    )


def _trial(kernel: Kernel, *, in_place: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes: dict[str, int] = {"N": 4, "R": 4, "T": 4}
    for value in kernel.session.get_outputs():
        if value.name == "g":
            sizes["M"] = value.shape[1]
            sizes["R"] = sizes["N"] * sizes["M"]

    def array(value: object, kind: str) -> np.ndarray:
        dims = tuple(sizes[d] if isinstance(d, str) else d for d in value.shape)  # type: ignore[attr-defined]
        drawn = rng.integers(0, 2, dims) if kind == "tensor(int64)" else rng.random(dims, dtype=np.float32)
        return np.ascontiguousarray(drawn)

    inputs = {value.name: Value(array(value, value.type)) for value in kernel.session.get_inputs()}
    outputs = {value.name: Value(array(value, value.type)) for value in kernel.session.get_outputs()}
    state = [name for name in outputs if name.startswith("new.")]
    for name in state:
        if in_place:
            outputs[name] = inputs[name.removeprefix("new.")]
    for _ in range(2):
        kernel.run({k: v.ort for k, v in inputs.items()}, {k: v.ort for k, v in outputs.items()})
        for name in state:
            if not in_place:
                inputs[name.removeprefix("new.")], outputs[name] = outputs[name], inputs[name.removeprefix("new.")]
    others = [value.array for name, value in outputs.items() if name not in state]
    return [inputs[name.removeprefix("new.")].array for name in state] + others
