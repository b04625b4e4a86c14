"""What changes the graph of a model file: specs of small networks, each named by its settings."""

from dataclasses import dataclass
from itertools import product

from ffedge import Spec

UNIT_INPUTS = (
    (0.03, 0.03),
    10.0,
    3.0,
)  # rate, slope and label scale by which inputs of length 1 are learnt in 2 epochs
CONVOLUTIONS = (  # strides and pools of each kind, a kernel of 1, dense layers behind or none
    ("images", ("10c5s2", "20c3p2", 30)),
    ("colours", ("12c3a2", "20c1", "20c3s2a2")),
)


@dataclass(frozen=True)
class Case:
    """A spec and the kind of data that it learns."""

    data: str
    changes: dict

    def spec(self):
        """Return what a small network learns in a second or two."""
        if self.changes.get("class_goodness", "tried") != "tried":
            return Spec.make(epochs=6, threads=1, batch_size=64, rate=(0.004,), **self.changes)
        widths, input_norm = self.changes["widths"], self.changes.get("input_norm")
        rate, slope, scale = UNIT_INPUTS if input_norm == "unit" else ((0.015, 0.005), 1.0, 10.0)
        return Spec.make(
            epochs=2,
            threads=1,
            batch_size=64,
            rate=rate[: len(widths)],
            slope=slope / (widths[0] if self.changes.get("goodness") == "sum" else 1),
            label_scale=scale,
            **self.changes,
        )

    def __str__(self):
        widths = self.changes["widths"]
        shown = f"{len(widths)}x{widths[0]}" if len(set(widths)) == 1 else ",".join(map(str, widths))
        return "-".join([self.data, shown, *(str(v) for name, v in self.changes.items() if name != "widths")])


def cases():
    """Yield what changes the graph: label modes, norms and depths in full for both kinds of data, the rest in turns."""
    for data in ("images", "table"):
        for at, (mode, norm, layers) in enumerate(product(("overlay", "concat"), ("unit", "rms", "layer"), (2, 4))):
            yield Case(
                data,
                {
                    "widths": (32,) * layers,
                    "label_mode": mode,
                    "norm": norm,
                    "label_layers": ("all", "first")[at // 2 % 2],
                    "goodness": ("mean", "sum")[at // 3 % 2],
                    "input_norm": ("none", "unit", "none", "rms", "none")[at % 5],
                },
            )
    for scaling in ("standard", "centred", "feature", "range"):
        yield Case("images", {"widths": (32, 24), "scaling": scaling, "prediction_weights": "collaborative"})
    yield Case("table", {"widths": (32,), "variant": "ff", "scaling": "none"})
    for kind, norm in product(("groups", "readout"), ("rms", "unit")):
        yield Case("images", {"widths": (40, 40), "class_goodness": kind, "norm": norm})
        yield Case("table", {"widths": (45, 31, 31), "class_goodness": kind, "norm": norm})
    yield Case("images", {"widths": (120, 105), "class_goodness": "top-groups"})
    for kind, (data, widths) in product(("groups", "top-groups", "readout"), CONVOLUTIONS):
        yield Case(data, {"widths": widths, "class_goodness": kind})
    for kind in ("tried", "groups", "readout"):
        yield Case("csv", {"widths": (40, 40), "class_goodness": kind})
    yield Case("clock", {"widths": (40, 40), "class_goodness": "readout"})


CASES = {str(case): case for case in cases()}
