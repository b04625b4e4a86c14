"""What each block of measured numbers is made from: the names of its results, whose documents its text gets."""

from collections.abc import Callable

import accuracy_blocks as reached
import cost_blocks as cost
import fleet_blocks
import paper_blocks
from results import COMMANDS

PAPER = ("paper", "paper-whole", "paper-whole-fashion")  # its arms on few rows, over seeds, and on the paper's own
PICTURES = tuple(f"accuracy-pictures-{name}" for name in ("small", "grey", "bfloat16", "wide", "top-groups"))
WIDE = ("accuracy-wide-shifts-mnist", "accuracy-wide-shifts", "accuracy-wide-readout")
BLOCKS: dict[str, tuple[tuple[str, ...], Callable[..., str]]] = {
    "machine": (tuple(COMMANDS), cost.machine),
    "accuracy-one-pass": (("accuracy-groups", "accuracy-readout", "accuracy"), reached.accuracy_one_pass),
    "accuracy-pictures": (PICTURES, reached.accuracy_pictures),
    "accuracy-wide": (WIDE, reached.accuracy_wide),
    "accuracy-spiking": (("accuracy-spiking", "accuracy"), reached.accuracy_spiking),
    "depth": (("depth", "depth-deep"), reached.depth),
    "time-to-accuracy": (("time-to-accuracy", "time-to-accuracy-one-pass"), reached.time_to_accuracy),
    "memory": (cost.MEMORY, cost.memory),
    "fleet": (("fleet",), fleet_blocks.fleet),
    "paper": (PAPER, paper_blocks.paper),
    "paper-runs": (PAPER, paper_blocks.runs),
    "paper-tables": (PAPER, paper_blocks.tables),
    "paper-gammas": (PAPER, paper_blocks.gammas),
    "paper-readings": (("paper-points",), paper_blocks.readings),
    "paper-again": (("paper-points-again",), paper_blocks.readings),
}
REACHED = (
    "accuracy",
    "accuracy-default",
    "tables",
    "csv-peers",
    "learn",
    "few-shot",
    "forgetting",
    "rejection",
    "drift",
    "spikes",
    "spikes-groups",
    "spikes-pictures",
)
COST = (
    "memory-depth",
    "depth-time",
    "conv-memory",
    "peers-memory",
    "epoch-time",
    "threads",
    "predict-latency",
    "forms",
    "speed",
)
COST += ("class-goodness", "budget", "budget-learner", "budget-speed")
ALONE = {reached: REACHED, cost: (*COST, "kills", "deploy", "serving")}  # made from the result of the same name alone
BLOCKS |= {
    name: ((name,), getattr(module, name.replace("-", "_"))) for module, names in ALONE.items() for name in names
}
