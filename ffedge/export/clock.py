"""Seconds of a call, taken block by block in turns, so that slow drift of the machine cancels in ratios of a round."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnxruntime as ort

CALLS_LEAST = 3
Calls = Mapping[str, Sequence[Callable[[], Any]]]


def plain_session(model: str | bytes, threads: int) -> ort.InferenceSession:
    """Load a model as its user would, with onnxruntime's defaults but for the threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def take_turns(calls: Calls, rounds: int, block_s: float) -> dict[str, list[float]]:
    """Return the seconds of a call of each name, each round's mean over its block; the names take turns.

    Parameters
    ----------
    calls : of each name, calls that are made in order, again and again.
    block_s : least seconds of one name's turn.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, named in calls.items():
            value = _block(named, block_s)
            if turn:  # the first turn warms up
                seconds[name].append(value)
    return seconds


def _block(calls: Sequence[Callable[[], Any]], least: float) -> float:
    count, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < least or count < CALLS_LEAST:
        calls[count % len(calls)]()
        count += 1
    return passed / count
