"""How a run learnt: what its metrics.jsonl tells, as charts over the epochs."""

from collections.abc import Sequence
from pathlib import Path

from ffedge.errors import ModelError
from ffedge.files import regular_file
from ffedge.page.charts import Line, line_chart
from ffedge.page.document import section
from ffedge.training.records import EpochRecord

MOST_BYTES = 1 << 26


def metrics(run: Path, layers: int) -> list[EpochRecord]:
    """Read a run's metrics.jsonl; ModelError where it cannot be, or tells of more layers than there are."""
    path = run / "metrics.jsonl"
    try:
        with regular_file(path) as file:
            lines = file.read(MOST_BYTES).decode().split("\n")[:-1]  # a kill may have torn the last one
        records = [EpochRecord.read(line) for line in lines]
        if strange := [record.layer for record in records if not 0 <= record.layer < layers]:
            raise ValueError(f"it has a layer {strange[0]}, but the network {layers}")
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}). The epochs are not shown") from error
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: is damaged ({error}). The epochs are not shown") from error
    return records


def epochs(records: Sequence[EpochRecord]) -> str:
    """Return the charts over the epochs: loss, accuracy, gamma, and of each layer both goodnesses."""
    layers = sorted({record.layer for record in records})
    of = {layer: [record for record in records if record.layer == layer] for layer in layers}

    def lines(field: str, suffix: str = "", *, dashed: bool = False) -> list[Line]:
        return [
            Line(f"layer {layer}{suffix}", [(r.epoch + 1, getattr(r, field)) for r in mine], layer, dashed)
            for layer, mine in of.items()
        ]

    accuracy = [*lines("accuracy_sum", ", summed"), *lines("accuracy", " alone", dashed=True)]
    charts = [
        line_chart("Loss of each layer", lines("loss"), "epoch"),
        line_chart("Accuracy on held-out rows", accuracy, "epoch", per_cent=True),
        line_chart("Gamma: how much the other layers count", lines("gamma"), "epoch"),
    ]
    for layer, mine in of.items():
        pair = [
            Line("true labels", [(r.epoch + 1, r.goodness_positive) for r in mine], 2),
            Line("wrong labels", [(r.epoch + 1, r.goodness_negative) for r in mine], 3),
        ]
        charts.append(line_chart(f"Goodness of layer {layer}", pair, "epoch"))
    return section("How it learnt", charts)
