"""One `ffedge.Learner` in a process of its own: its peak and its plan, for budget.py."""

import sys
from typing import Any

import numpy as np

from ffedge import Learner
from ffedge.compare.child import serve
from ffedge.errors import FfedgeError
from ffedge.meter import rss_peak_bytes


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Learn from minibatches, predict and save; return the peak of the process, or why the budget was refused."""
    more = {"force": True, "max_drop": 1.0}  # the rows are drawn
    try:
        learner = Learner(request["model"], memory_budget=request["budget"], threads=request["threads"], **more)
    except FfedgeError as error:
        return {"refused": str(error)}
    rng, facts = np.random.default_rng(request["seed"]), learner.facts
    for _ in range(request["batches"]):
        rows = rng.integers(0, 256, (learner.recipe.train.batch_size, facts.size)).astype(facts.dtype)
        learner.observe(rows, rng.integers(0, len(learner.classes), len(rows)))
        learner.predict(rows)
    learner.save(request["out"])
    assert learner.plan is not None
    return {"measured_bytes": rss_peak_bytes(), "plan": learner.plan.to_dict(), "batch_size": len(rows)}


if __name__ == "__main__":
    sys.exit(serve(answer))
