"""Optimisers as standard operators; a parameter p has its moments beside it, p.m and p.v.

What changes from step to step comes in as scalars, computed in float64 by the stepper: ``rate`` (bias-corrected for
Adam), ``epsilon`` (Adam's, scaled with the bias correction), ``keep`` = 1 - rate * weight_decay, and
``decaying.rate`` = rate / keep. ``keep * p - rate * step`` is computed as ``keep * (p - decaying.rate * step)``, which
needs no copy of p.
"""

from ffedge.onnx.graph import Dims, GraphBuilder
from ffedge.spec_parts import Optimizer

MOMENTS: dict[str, tuple[str, ...]] = {"adam": ("m", "v"), "momentum": ("m",), "sgd": ()}
ADAM_DECAYS = (0.9, 0.999)
ADAM_EPSILON = 1e-8


def update(
    g: GraphBuilder,
    name: str,
    gradient: str,
    dims: Dims,
    kind: Optimizer,
    momentum: float,
    *,
    decay: bool,
    prefix: str,
    pull: str | None = None,
) -> None:
    """Add the update of one parameter: inputs p, its moments and scalars, outputs new.p and new moments.

    Parameters
    ----------
    momentum : decay of the first moment.
    decay : whether the parameter shrinks by the scalar `keep` (decoupled weight decay, arXiv:1711.05101).
    prefix : of the names of the scalars: none, or ``gamma.``.
    pull : what is taken off a parameter that does not decay, beside the step.
    """
    for part in (name, *(f"{name}.{m}" for m in MOMENTS[kind])):
        g.input(part, dims)
        g.output(f"new.{part}", dims)
    scalars = ("keep", "decaying.rate") if decay else (f"{prefix}rate",)
    for scalar in (*scalars, f"{prefix}epsilon") if kind == "adam" else scalars:
        g.input(scalar, ())
    step = gradient
    if kind == "momentum":  # m = momentum * m + gradient
        step = g.op("Add", g.op("Mul", f"{name}.m", g.const(momentum)), gradient, out=f"new.{name}.m")
    elif kind == "adam":  # Adam (arXiv:1412.6980), Algorithm 1
        step = _adam_direction(g, name, gradient, momentum, f"{prefix}epsilon")
    if decay:
        g.op("Mul", g.op("Sub", name, g.op("Mul", step, "decaying.rate")), "keep", out=f"new.{name}")
    else:
        change = g.op("Mul", step, f"{prefix}rate")
        g.op("Sub", name, g.op("Add", change, pull) if pull else change, out=f"new.{name}")


def _adam_direction(g: GraphBuilder, name: str, gradient: str, momentum: float, epsilon: str) -> str:
    """Move each moment towards the gradient by a share of the way; in this form one temporary is enough."""
    way = g.op("Mul", g.op("Sub", gradient, f"{name}.m"), g.const(1.0 - momentum))
    m = g.op("Add", f"{name}.m", way, out=f"new.{name}.m")
    way = g.op("Mul", g.op("Sub", g.op("Mul", gradient, gradient), f"{name}.v"), g.const(1.0 - ADAM_DECAYS[1]))
    v = g.op("Add", f"{name}.v", way, out=f"new.{name}.v")
    return g.op("Div", m, g.op("Add", g.op("Sqrt", v), epsilon))
