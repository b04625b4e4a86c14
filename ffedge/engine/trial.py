"""Whether onnxruntime may update weights in place on this machine: tried, since it does not promise it."""

from collections.abc import Sequence

import numpy as np

from ffedge.engine.session import Kernel, Value

SIZES = {"N": 4, "R": 4, "T": 4}


def updates_in_place(kernels: Sequence[Kernel]) -> bool:
    """Run graphs with one buffer for each weight's input and output, and with two; say whether the bits agree."""
    return all(
        np.array_equal(once, twice)
        for kernel in kernels
        for once, twice in zip(_trial(kernel, in_place=True), _trial(kernel, in_place=False), strict=True)
    )


def _trial(kernel: Kernel, *, in_place: bool) -> list[np.ndarray]:
    rng, sizes = np.random.default_rng(0), dict(SIZES)
    for value in kernel.session.get_outputs():
        if value.name == "g":
            sizes["M"] = value.shape[1]
            sizes["R"] = sizes["N"] * sizes["M"]

    def array(value: object, kind: str) -> np.ndarray:
        dims = tuple(sizes[d] if isinstance(d, str) else d for d in value.shape)  # type: ignore[attr-defined]
        drawn = rng.integers(0, 2, dims) if kind == "tensor(int64)" else rng.random(dims, dtype=np.float32)
        return np.asarray(drawn)

    inputs = {value.name: Value(array(value, value.type)) for value in kernel.session.get_inputs()}
    outputs = {value.name: Value(array(value, value.type)) for value in kernel.session.get_outputs()}
    state = [name for name in outputs if name.startswith("new.")]
    for name in state:
        if in_place and outputs[name].array.ndim:  # as the engine does
            outputs[name] = inputs[name.removeprefix("new.")]
    for _ in range(2):
        kernel.run(inputs, outputs)
        for name in state:
            if outputs[name] is not inputs[name.removeprefix("new.")]:
                inputs[name.removeprefix("new.")], outputs[name] = outputs[name], inputs[name.removeprefix("new.")]
    others = [value.array for name, value in outputs.items() if name not in state]
    return [inputs[name.removeprefix("new.")].array for name in state] + others
