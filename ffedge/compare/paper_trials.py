"""What `ffedge bench --paper` trains: arms x data sets x seeds of the NetworkFF paper (arXiv:2512.17531)."""

from dataclasses import dataclass
from typing import Any

from ffedge.compare.gemm import gemm_flop
from ffedge.network import InputFacts
from ffedge.resolve import resolve
from ffedge.spec import Spec

DATA = ("mnist", "fashion-mnist")
ARMS = ("ff", "fcff", "acff")
CONTROL = "-shuffled"
ROWS = 50_000
EPOCHS = 1000
SEEDS = 5
WIDTHS = (500, 500)
CHUNK_ROWS = 1000
FLOP_A_SECOND = 1e11  # roughly, to foretell how long a trial takes
START_S = 3.0


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes
    ----------
    arm : a variant, with ``-shuffled`` for the control: the other layers' goodness is another sample's.
    point, value : which reading of which open point (`paper_points`); ``paper`` is the preset.
    rows : the first so many of the training split are trained on, none of them held out.
    changes : fields of the preset `paper` that are changed, sorted by name.
    """

    data: str
    arm: str
    seed: int
    epochs: int
    rows: int = ROWS
    point: str = "paper"
    value: str = ""
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """The trial in a few words."""
        reading = f", {self.point} {self.value}".rstrip() if self.point != "paper" else ""
        return f"{self.data}, {self.arm}, seed {self.seed}, {self.epochs} epochs{reading}"

    @property
    def name(self) -> str:
        """A file's name that no other trial has."""
        parts = (self.point, self.value, self.data, self.arm, f"{self.epochs}x{self.rows}", f"seed{self.seed}")
        return "-".join("".join(c if c.isalnum() or c == "." else "-" for c in part) for part in parts if part)

    def spec(self, data_changes: dict[str, Any] | None = None) -> Spec:
        """Return the spec that the trial trains."""
        values: dict[str, Any] = {
            "variant": self.arm.removesuffix(CONTROL),
            "epochs": self.epochs,
            "seed": self.seed,
            "widths": WIDTHS,
            "holdout": 0.0,
            "chunk_size": CHUNK_ROWS,
            "tile_bytes": 2**23,  # the weights whole: a tile would copy its columns of the input
            "threads": 1,
        }
        values |= dict(self.changes) | (data_changes or {})
        keeps = values.get("schedule", "greedy") == "greedy" and values.get("negatives") != "hard-sum"
        return Spec.make("paper", cache="activations" if keeps else "none", **values)

    @property
    def rough_s(self) -> float:
        """Roughly the seconds that it takes, to be scaled by what was measured."""
        facts = InputFacts((28, 28), "uint8", tuple(map(str, range(10))))
        recipe = resolve(self.spec(), facts, self.rows)
        flop = sum(gemm_flop(recipe, layer, facts.size, facts.n_classes) for layer in range(len(recipe.network.widths)))
        return START_S + 2 * flop * self.rows * self.epochs / FLOP_A_SECOND


@dataclass(frozen=True)
class Choice:
    """What to train; `trials` says in which order.

    Attributes
    ----------
    open_points : train the readings of what the paper leaves open instead (`paper_points`), in minibatches.
    readings : of these, those alone that are named (``gamma: 0.3``), and FF beside them; empty for all.
    """

    data: tuple[str, ...] = DATA
    arms: tuple[str, ...] = ARMS
    seeds: tuple[int, ...] = tuple(range(SEEDS))
    epochs: int = EPOCHS
    rows: int = ROWS
    changes: tuple[tuple[str, Any], ...] = ()
    open_points: bool = False
    readings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the result."""
        return "paper-points" if self.open_points else "paper"

    def check(self) -> None:
        """Raise ValueError for an arm that there is not."""
        known = [arm + end for arm in ARMS for end in ("", CONTROL) if arm != "ff" or not end]
        if unknown := [arm for arm in self.arms if arm not in known]:
            raise ValueError(f"--arms must be of {', '.join(known)}, got {unknown[0]!r}")

    def trials(self) -> list[Trial]:
        """Return the trials, seed after seed, so that all arms have as many whenever it is stopped."""
        return [
            Trial(data, arm, seed, self.epochs, self.rows, changes=self.changes)
            for seed in self.seeds
            for data in self.data
            for arm in self.arms
        ]
