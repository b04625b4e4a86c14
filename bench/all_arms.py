"""All arms beside backprop: those of `ffedge bench`, more forms of it in torch, and backprop in onnxruntime.

``python -m all_arms`` measures one, as ``python -m ffedge.compare`` does.
"""

from ffedge.compare.__main__ import answer
from ffedge.compare.arms import ARMS, OPTIMIZERS, Arm
from ffedge.compare.child import serve

ONNXSIM = ("onnxsim", "bench")
SWEPT = (
    "ffedge-ff-adam",
    "ffedge-ff-sgd",
    "backprop-adam",
    "backprop-adam-hook",
    "backprop-sgd",
    "backprop-adam-ort-inplace",
)
ARMS |= {
    arm.name: arm
    for optimizer in OPTIMIZERS
    for arm in (
        Arm(f"backprop-{optimizer}-hook", optimizer, form="hook", module="torch_forms"),
        Arm(f"backprop-{optimizer}-checkpoint", optimizer, form="checkpoint", module="torch_forms"),
        Arm(f"backprop-{optimizer}-accumulate", optimizer, form="accumulate", module="torch_forms"),
        Arm(f"backprop-{optimizer}-ort", optimizer, module="ort_backprop", needs=ONNXSIM),
        Arm(f"backprop-{optimizer}-ort-inplace", optimizer, form="inplace", module="ort_backprop", needs=ONNXSIM),
    )
}

if __name__ == "__main__":
    serve(answer)
