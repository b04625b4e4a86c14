"""The arms of a comparison, and the work that all of them do: same data, batches, widths, seed and threads."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

from ffedge.errors import FfedgeError
from ffedge.spec import Optimizer, Variant

Trainer = Literal["onnx", "torch", "backprop", "backprop-ort"]
Form = Literal["plain", "checkpoint", "hook", "accumulate"]
NEEDS = {"torch": ("torch", "torch"), "backprop": ("torch", "torch"), "backprop-ort": ("onnxsim", "bench")}


@dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    Attributes
    ----------
    trainer : ffedge's engine, or ``backprop`` in torch, or ``backprop-ort`` in onnxruntime, compiled by onnxsim.
    variant : of ffedge.
    optimizer : of either.
    form : of backprop in torch (`ffedge.reference.backprop`).
    in_place : of backprop in onnxruntime (`ffedge.compare.backprop_onnx`).
    """

    trainer: Trainer
    variant: Variant = "ff"
    optimizer: Optimizer = "adam"
    form: Form = "plain"
    in_place: bool = False

    @property
    def is_backprop(self) -> bool:
        """Whether the arm is a baseline."""
        return self.trainer.startswith("backprop")

    @property
    def name(self) -> str:
        """Return the arm's name in tables and files."""
        if self.trainer == "backprop":
            return f"backprop-{self.optimizer}" + ("" if self.form == "plain" else f"-{self.form}")
        if self.trainer == "backprop-ort":
            return f"backprop-{self.optimizer}-ort" + ("-inplace" if self.in_place else "")
        return f"ffedge-{self.variant}-{self.optimizer}" + ("" if self.trainer == "onnx" else "-torch")


FORMS: tuple[Form, ...] = get_args(Form)
OPTIMIZERS: tuple[Optimizer, ...] = ("adam", "sgd", "momentum")
ALL = (
    *(Arm("onnx", variant) for variant in ("ff", "fcff", "acff")),
    *(Arm("onnx", "ff", optimizer) for optimizer in ("sgd", "momentum")),
    Arm("torch", "ff"),
    *(Arm("backprop", optimizer=optimizer, form=form) for optimizer in OPTIMIZERS for form in FORMS),
    *(Arm("backprop-ort", optimizer=optimizer, in_place=also) for optimizer in OPTIMIZERS for also in (False, True)),
)
ARMS = {arm.name: arm for arm in ALL}
SWEPT = (
    "ffedge-ff-adam",
    "ffedge-ff-sgd",
    "backprop-adam",
    "backprop-adam-hook",
    "backprop-sgd",
    "backprop-adam-ort-inplace",
)
QUICK = ("ffedge-ff-adam", "ffedge-acff-adam", "backprop-adam", "backprop-adam-hook", "backprop-adam-ort-inplace")


@dataclass(frozen=True)
class Work:
    """What each arm does.

    Attributes
    ----------
    data : a known name or a path.
    rows : training rows used, at most; the first ones of the stream.
    epochs : passes over the rows; ffedge takes as many for each layer.
    """

    data: str = "mnist-mini"
    data_dir: str | None = None
    widths: tuple[int, ...] = (500,) * 4
    batch_size: int = 64
    rows: int = 3000
    epochs: int = 1
    seed: int = 0
    threads: int = 2

    @property
    def text(self) -> str:
        """The work in a few words."""
        widths = ",".join(map(str, self.widths))
        if len(set(self.widths)) == 1:
            widths = f"{len(self.widths)} x {self.widths[0]}"
        return f"{widths}, batch {self.batch_size}"


def check_arms(names: list[str]) -> None:
    """Say what is wrong with a choice of arms, before any is measured.

    Raises
    ------
    ValueError
        There is no such arm.
    FfedgeError
        A package that an arm needs is not installed.
    """
    if unknown := [name for name in names if name not in ARMS]:
        raise ValueError(f"--arms must be of {', '.join(ARMS)}, got {unknown[0]!r}")
    for name in names:
        package, extra = NEEDS.get(ARMS[name].trainer, (None, None))
        if package is not None and find_spec(package) is None:
            raise FfedgeError(
                f"the arm {name} needs {package}, which is not installed. Run: pip install 'ffedge[{extra}]', or "
                "choose others with --arms"
            )
