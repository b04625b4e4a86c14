"""The arms of a comparison, and the work that all of them do: same data, batches, widths, seed and threads."""

from dataclasses import dataclass
from typing import Literal, get_args

from ffedge.spec import Optimizer, Variant

Trainer = Literal["onnx", "torch", "backprop"]
Form = Literal["plain", "checkpoint", "hook", "accumulate"]


@dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    Attributes
    ----------
    trainer : ffedge's engine, or ``backprop`` in torch.
    variant : of ffedge.
    optimizer : of either.
    form : of backprop (`ffedge.reference.backprop`).
    """

    trainer: Trainer
    variant: Variant = "ff"
    optimizer: Optimizer = "adam"
    form: Form = "plain"

    @property
    def name(self) -> str:
        """Return the arm's name in tables and files."""
        if self.trainer == "backprop":
            return f"backprop-{self.optimizer}" + ("" if self.form == "plain" else f"-{self.form}")
        return f"ffedge-{self.variant}-{self.optimizer}" + ("" if self.trainer == "onnx" else "-torch")


FORMS: tuple[Form, ...] = get_args(Form)
OPTIMIZERS: tuple[Optimizer, ...] = ("adam", "sgd", "momentum")
ALL = (
    *(Arm("onnx", variant) for variant in ("ff", "fcff", "acff")),
    *(Arm("onnx", "ff", optimizer) for optimizer in ("sgd", "momentum")),
    Arm("torch", "ff"),
    *(Arm("backprop", optimizer=optimizer, form=form) for optimizer in OPTIMIZERS for form in FORMS),
)
ARMS = {arm.name: arm for arm in ALL}
SWEPT = ("ffedge-ff-adam", "backprop-adam", "backprop-adam-hook", "backprop-sgd")
QUICK = ("ffedge-ff-adam", "ffedge-acff-adam", "backprop-adam", "backprop-adam-hook", "backprop-sgd")


@dataclass(frozen=True)
class Work:
    """What each arm does.

    Attributes
    ----------
    data : a known name or a path.
    rows : training rows used, at most; the first ones of the stream.
    """

    data: str = "mnist-mini"
    data_dir: str | None = None
    widths: tuple[int, ...] = (500,) * 4
    batch_size: int = 64
    rows: int = 3000
    epochs: int = 1
    seed: int = 0
    threads: int = 2
