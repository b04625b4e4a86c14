"""Whether onnxruntime may update weights in place on this machine: tried, since it does not promise it."""

from collections.abc import Container, Mapping, Sequence

import numpy as np

from ffedge.engine.session import Kernel, Value

SAMPLES = TILE = 4


def updates_in_place(kernels: Sequence[Kernel], labels: int, rows: int, spared: Container[str] = ()) -> bool:
    """Run graphs with one buffer for each weight's input and output, and with two; say whether the bits agree.

    Parameters
    ----------
    labels, rows : of a sample (M, and M or 1).
    spared : names of outputs that have a buffer of their own (`ffedge.engine.kernels.spared`).
    """
    sizes = {"N": SAMPLES, "R": SAMPLES * rows, "T": TILE, "M": labels}
    return all(
        np.array_equal(once, twice)
        for kernel in kernels
        for once, twice in zip(_trial(kernel, sizes, spared), _trial(kernel, sizes, kernel.outputs), strict=True)
    )


def _trial(kernel: Kernel, sizes: Mapping[str, int], spared: Container[str]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)

    def array(value: object, kind: str) -> np.ndarray:
        dims = tuple(sizes[d] if isinstance(d, str) else d for d in value.shape)  # type: ignore[attr-defined]
        if kind == "tensor(int64)":  # labels: those of a sample differ
            return np.tile(np.arange(dims[-1]), (*dims[:-1], 1)) if len(dims) > 1 else rng.integers(0, 2, dims)
        return np.asarray(rng.random(dims, dtype=np.float32))

    inputs = {value.name: Value(array(value, value.type)) for value in kernel.session.get_inputs()}
    outputs = {value.name: Value(array(value, value.type)) for value in kernel.session.get_outputs()}
    state = [name for name in outputs if name.startswith("new.")]
    for name in state:
        if outputs[name].array.ndim and name not in spared:  # as the engine does
            outputs[name] = inputs[name.removeprefix("new.")]
    for _ in range(2):
        kernel.run(inputs, outputs)
        for name in state:
            if outputs[name] is not inputs[name.removeprefix("new.")]:
                inputs[name.removeprefix("new.")], outputs[name] = outputs[name], inputs[name.removeprefix("new.")]
    others = [value.array for name, value in outputs.items() if name not in state]
    return [inputs[name.removeprefix("new.")].array for name in state] + others
