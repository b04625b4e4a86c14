"""Optimisers as standard operators; a parameter p has its moments beside it, p.m and p.v.

What changes from step to step comes in as scalars, computed in float64 by the stepper: `rate` (bias-corrected for
Adam), `epsilon` (Adam's, scaled with the bias correction), `keep` (1 - rate * weight_decay).
"""

from ffedge.graph.build import Dims, GraphBuilder
from ffedge.spec import ADAM_DECAYS, MOMENTS, Optimizer


def update(
    g: GraphBuilder, name: str, gradient: str, dims: Dims, kind: Optimizer, momentum: float, *, decay: bool, prefix: str
) -> None:
    """Add the update of one parameter: inputs p and its moments, outputs new.p and new moments.

    Parameters
    ----------
    momentum : decay of the first moment.
    decay : whether the parameter shrinks by the scalar `keep` (decoupled weight decay, arXiv:1711.05101).
    prefix : of the names of the scalars.
    """
    for part in (name, *(f"{name}.{m}" for m in MOMENTS[kind])):
        g.output(f"new.{part}", dims)
    step = gradient
    if kind == "momentum":  # m = momentum * m + gradient
        step = g.op("Add", g.op("Mul", f"{name}.m", g.const(momentum)), gradient, out=f"new.{name}.m")
    elif kind == "adam":  # Adam (arXiv:1412.6980), Algorithm 1, in the order of its section 2's last remark
        step = _adam_direction(g, name, gradient, momentum, f"{prefix}epsilon")
    shift = g.op("Mul", step, f"{prefix}rate")
    g.op("Sub", g.op("Mul", name, "keep") if decay else name, shift, out=f"new.{name}")


def _adam_direction(g: GraphBuilder, name: str, gradient: str, momentum: float, epsilon: str) -> str:
    second = ADAM_DECAYS[1]
    kept = g.op("Mul", f"{name}.m", g.const(momentum))
    m = g.op("Add", kept, g.op("Mul", gradient, g.const(1.0 - momentum)), out=f"new.{name}.m")
    fresh = g.op("Mul", g.op("Mul", gradient, gradient), g.const(1.0 - second))
    v = g.op("Add", g.op("Mul", f"{name}.v", g.const(second)), fresh, out=f"new.{name}.v")
    return g.op("Div", m, g.op("Add", g.op("Sqrt", v), epsilon))
