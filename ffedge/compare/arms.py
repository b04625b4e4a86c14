"""The arms of a comparison, and the work that all of them do: same data, batches, widths, seed and threads."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from ffedge.errors import FfedgeError
from ffedge.spec_parts import Optimizer, Variant


@dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    Attributes
    ----------
    variant : of ffedge; None: a baseline, trained by backpropagation.
    form : of a baseline, as its module understands it.
    module : makes a baseline's network, by its ``build(arm, widths, facts, rate, train)``; see `train.Net`.
    needs : package that a baseline needs, and ffedge's extra that brings it.
    """

    name: str
    optimizer: Optimizer
    variant: Variant | None = None
    form: str = ""
    module: str = "ffedge.compare.backprop"
    needs: tuple[str, str] = ("torch", "torch")


def ffedge_arm(variant: Variant, optimizer: Optimizer) -> Arm:
    """Return an arm of ffedge."""
    return Arm(f"ffedge-{variant}-{optimizer}", optimizer, variant)


OPTIMIZERS: tuple[Optimizer, ...] = ("adam", "sgd", "momentum")
ALL = (
    *(ffedge_arm(variant, "adam") for variant in ("ff", "fcff", "acff")),
    *(ffedge_arm("ff", optimizer) for optimizer in ("sgd", "momentum")),
    *(Arm(f"backprop-{optimizer}", optimizer) for optimizer in OPTIMIZERS),
)
ARMS = {arm.name: arm for arm in ALL}
QUICK = ("ffedge-ff-adam", "ffedge-acff-adam", "backprop-adam")


@dataclass(frozen=True)
class Work:
    """What each arm does.

    Attributes
    ----------
    data : a known name or a path.
    rows : training rows used, at most; drawn over all, the same for every arm and seed.
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
        alike = len(set(self.widths)) == 1
        widths = f"{len(self.widths)} x {self.widths[0]}" if alike else ",".join(map(str, self.widths))
        return f"{widths}, batch {self.batch_size}"


def chosen_arms(names: Sequence[str] = (), *, quick: bool = False) -> list[str]:
    """Return the arms to measure: those named, or, of all or a few, those whose packages are installed.

    Raises
    ------
    ValueError
        There is no such arm.
    FfedgeError
        A package that a named arm needs is not installed.
    """
    if unknown := [name for name in names if name not in ARMS]:
        raise ValueError(f"`arms` must be of {', '.join(ARMS)}, got {unknown[0]!r}")
    missing = {name for name, arm in ARMS.items() if not arm.variant and find_spec(arm.needs[0]) is None}
    for name in (name for name in names if name in missing):
        package, extra = ARMS[name].needs
        raise FfedgeError(
            f"the arm {name} needs {package}, which is not installed. Run: pip install 'ffedge[{extra}]', or choose "
            "other arms"
        )
    return list(names) or [name for name in (QUICK if quick else ARMS) if name not in missing]
