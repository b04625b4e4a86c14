"""Latency and throughput of prediction: an exported model beside the same network in torch and a backprop MLP.

A model is trained in a process of its own; another then times all arms, block by block in turns, on the same samples,
the batch changing from call to call. Ratios are taken within a round. What an arm takes is ready in memory: raw samples
for the ONNX models, which scale inside; scaled float32 for torch, which is kind to it. Exported forms
(`ffedge.export`) may give other labels: how many, and what each gets right, stands beside the times.
"""

import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffedge.child import ask
from ffedge.compare.arms import Work
from ffedge.compare.inference_arms import ARMS, BASELINE, SAME_NETWORK
from ffedge.compare.measurer import all_versions
from ffedge.compare.rounds import medians, ratios, spread_text
from ffedge.compare.verdict import NOT_MEASURED
from ffedge.training.records import machine

DEFAULT = Work("mnist", widths=(500, 500), batch_size=256, epochs=1, threads=1)
QUICK = dataclasses.replace(DEFAULT, data="mnist-mini")
BATCH_SIZES = (1, 100, 1000)
ROUNDS, QUICK_ROUNDS = 15, 3
BLOCK_S = 0.2
Child = Callable[[dict[str, Any]], Any]
Alive = Callable[[int], None]

__all__ = ["ARMS", "BASELINE", "SAME_NETWORK", "Choice", "compare", "document", "sentences", "summary"]


@dataclass(frozen=True)
class Choice:
    """What is compared, and how long.

    Attributes
    ----------
    work : data, widths, epochs of the model's training, threads of every arm.
    block_s : least seconds of one arm's turn.
    """

    work: Work = DEFAULT
    arms: tuple[str, ...] = ARMS
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    rounds: int = ROUNDS
    block_s: float = BLOCK_S

    @property
    def rough_s(self) -> float:
        """Roughly the seconds that it takes."""
        return 15 + (self.rounds + 1) * len(self.arms) * len(self.batch_sizes) * 1.3 * self.block_s

    def check(self) -> None:
        """Raise ValueError for an arm that there is not."""
        if unknown := [name for name in self.arms if name not in ARMS]:
            raise ValueError(f"--arms must be of {', '.join(ARMS)}, got {unknown[0]!r}")


def compare(choice: Choice, alive: Alive | None = None, child: Child | None = None) -> dict[str, Any]:
    """Train a model and time all arms; return each round's seconds of a call by batch size and arm.

    Parameters
    ----------
    alive : is told the child's process id while it runs.
    child : answers the requests of training and of timing; None asks a process of its own.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(choice.work.threads))
    answer = child or (lambda request: ask("ffedge.compare", request, threads, alive))
    request = {"task": "inference"} | dataclasses.asdict(choice.work)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        trained = answer(request | {"run": str(run)})
        options = {name: getattr(choice, name) for name in ("arms", "batch_sizes", "rounds", "block_s")}
        timed = answer(request | options | {"model": str(run / "model.onnx")})
    return dict(trained | timed)


def summary(call_s: dict[str, list[float]]) -> dict[str, Any]:
    """Return the rounds of one batch size, their medians, and how many times faster each ffedge arm is."""
    ours = [name for name in call_s if name.startswith("ffedge")]
    faster = ratios(call_s, [(other, mine) for mine in ours for other in call_s if other not in ours])
    return {"call_s": call_s, "call_s_median": medians(call_s), "ratio": faster, "ratio_median": medians(faster)}


def sentences(found: dict[str, Any]) -> list[str]:
    """Say how ffedge's fastest arm stands beside the fastest of the others, whoever wins."""
    said = []
    for size, call_s in found["call_s"].items():
        ours = [name for name in call_s if name.startswith("ffedge")]
        if not ours:
            continue
        own = min(ours, key=lambda name: statistics.median(call_s[name]))
        for other in (name for name in call_s if name not in ours):
            rounds = [b / a for a, b in zip(call_s[own], call_s[other], strict=True)]
            if statistics.median(rounds) >= 1:
                text = f"{own} is {spread_text(rounds)} times as fast as {other}"
            else:
                text = f"{other} is {spread_text([1 / r for r in rounds])} times as fast as {own}: backprop is better"
                text = text if other == BASELINE else text.removesuffix(": backprop is better")
            said.append(f"Batch {size}: {text}.")
    return [*said, NOT_MEASURED]


def document(choice: Choice, found: dict[str, Any], said: Sequence[str]) -> dict[str, Any]:
    """Return everything measured as one JSON document; units stand in the names."""
    rest = {key: value for key, value in found.items() if key != "call_s"}
    return {
        "benchmark": "inference",
        "machine": machine(),
        "versions": all_versions(),
        "choice": dataclasses.asdict(choice),
        "said": list(said),
        **rest,
        "batch_size": {size: summary(call_s) for size, call_s in found["call_s"].items()},
    }
