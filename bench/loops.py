"""A training in this process, by its loop, for scripts that look at more than `ffedge train` reports."""

from typing import Any

from ffedge.data.dataset import Dataset
from ffedge.meter import PeakMeter
from ffedge.resolve import resolve
from ffedge.spec import Spec
from ffedge.training.facts import measure
from ffedge.training.loop import Loop
from ffedge.training.train import make_engine
from ffedge.training.watch import Journal, Watcher


def loop_of(
    asked: dict[str, Any], data: Dataset, journal: Journal | None = None, watcher: Watcher | None = None
) -> Loop:
    """Return the loop that trains what `Spec.make` makes of some fields, from the first batch on."""
    spec = Spec.make(**asked)
    facts = measure(data, spec.network.scaling)
    recipe = resolve(spec, facts, len(data.train.labels))
    engine = make_engine(recipe, facts, [{} for _ in recipe.network.widths])
    return Loop(recipe, data, facts, engine, journal or Journal(), watcher or Watcher(), PeakMeter())
