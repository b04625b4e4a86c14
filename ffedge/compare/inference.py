"""Latency and throughput of prediction: an exported model in onnxruntime and in `Predictor`, beside a backprop MLP.

A model is trained in a process of its own; another then times all arms, block by block in turns, on the same samples,
the batch changing from call to call. Ratios are taken within a round. Samples are raw and ready in memory: all arms
scale inside.
"""

import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.compare.arms import Work
from ffedge.compare.child import ask
from ffedge.compare.load import doubts
from ffedge.compare.runner import MODULE, Ask, Runner, document, medians, ratios, thread_variables
from ffedge.data import Dataset, load
from ffedge.data.test_split import with_share
from ffedge.errors import DataError
from ffedge.predict.predictor import Predictor
from ffedge.spec import Spec

BASELINE = "backprop-ort"  # of random weights: it is timed, not judged
ARMS = ("ffedge-session", "ffedge-predictor", BASELINE)
DEFAULT = Work("mnist", widths=(500, 500), epochs=1, threads=1)
QUICK = dataclasses.replace(DEFAULT, data="mnist-mini")
QUICK_ROUNDS = 3
BATCHES_MOST = 100
ROWS = 100
TEST_SHARE = 0.1  # of the rows, where the data have none to test on
Array = NDArray[Any]


@dataclass(frozen=True)
class Timing:
    """What is compared, and how long.

    Attributes
    ----------
    work : data, widths, seed and epochs of the model's training, threads of every arm. All rows are trained on, in
        batches as `ffedge train` chooses them.
    block_s : least seconds of one arm's turn.
    """

    work: Work = DEFAULT
    arms: tuple[str, ...] = ARMS
    batch_sizes: tuple[int, ...] = (1, 100, 1000)
    rounds: int = 15
    block_s: float = 0.2


@dataclass(frozen=True)
class Way:
    """A way to predict: `prepare` turns raw samples [N, …] into what `predict` takes, untimed; labels [N] come out."""

    predict: Callable[[Any], Any]
    prepare: Callable[[Array], Any] = np.ascontiguousarray


Ways = Callable[[dict[str, Any]], dict[str, Way]]


def compare(
    runner: Runner, changes: dict[str, Any], arms: Sequence[str] = (), *, quick: bool = False
) -> dict[str, Any]:
    """Train a model and time arms; return the result's document. See `memory.compare`.

    Raises
    ------
    ValueError
        There is no such arm.
    """
    if unknown := [name for name in arms if name not in ARMS]:
        raise ValueError(f"`arms` must be of {', '.join(ARMS)}, got {unknown[0]!r}")
    work = dataclasses.replace(QUICK if quick else DEFAULT, **changes)
    timing = Timing(work, tuple(arms) or ARMS, rounds=QUICK_ROUNDS if quick else Timing.rounds)
    choice = dataclasses.asdict(timing)
    for name in ("rows", "batch_size"):  # what training took of them is in the result
        del choice["work"][name]
    return document("inference", choice=choice, **runner.once("inference", choice, work, lambda: taken(timing)))


def taken(timing: Timing, child: Ask | None = None) -> dict[str, Any]:
    """Train a model and time all arms; return labels and, by batch size, each round's seconds of a call.

    Parameters
    ----------
    child : answers the requests of training and of timing; None asks a process of its own.
    """
    answer = child or (lambda request: ask(MODULE, request, thread_variables(timing.work.threads)))
    request = {"task": "inference"} | dataclasses.asdict(timing) | dataclasses.asdict(timing.work)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        trained = answer(request | {"run": str(run)})
        timed = answer(request | {"model": str(run / "model.onnx")})
    calls = timed.pop("call_s")
    seconds = {f"{arm} at batch {size}": rounds for size, of in calls.items() for arm, rounds in of.items()}
    sizes = {size: summary(call_s) for size, call_s in calls.items()}
    doubt = {"doubts": doubts([timed.get("others_cores")], seconds)}
    return dict(trained | timed | doubt | {"batch_size": sizes})


def ways(request: dict[str, Any]) -> dict[str, Way]:
    """Return the ways to predict with a model file of ffedge, by arm."""
    from ffedge.export.clock import plain_session

    model, threads = request["model"], request["threads"]
    predictor = Predictor(model, threads=threads)
    result = {
        "ffedge-session": session_way(plain_session(model, threads)),
        "ffedge-predictor": Way(lambda x: predictor.predict(x).label),
    }
    if BASELINE in request["arms"]:
        result[BASELINE] = session_way(plain_session(backprop_mlp(predictor), threads))
    return result


def session_way(session: Any) -> Way:
    """Return the way to predict by a session of onnxruntime."""
    return Way(lambda x: session.run(["label"], {"input": x})[0])


def backprop_mlp(predictor: Predictor) -> bytes:
    """Return a plain MLP of a model's widths as ONNX: raw samples in, label out; its weights are random."""
    from ffedge.onnx.graph import GraphBuilder, model_bytes

    facts, network = predictor.facts, predictor.recipe.network
    sizes, rng = (facts.size, *network.dense_units, facts.n_classes), np.random.default_rng(0)
    g = GraphBuilder("mlp")
    rows = g.op("Reshape", g.input("input", ("N", *facts.shape), facts.dtype), g.ints(-1, facts.size))
    x = g.op("Cast", rows, to=1) if facts.dtype == "uint8" else rows
    z = g.op("Mul", g.op("Sub", x, g.const(facts.offset)), g.const(facts.scale))
    for i, (inputs, units) in enumerate(itertools.pairwise(sizes)):
        W = g.const(rng.normal(0, inputs**-0.5, (inputs, units)), name=f"W{i}")
        z = g.op("Gemm", g.op("Relu", z) if i else z, W, g.const(np.zeros(units), name=f"b{i}"))
    g.op("ArgMax", z, out="label", axis=1, keepdims=0)
    g.output("label", ("N",), "int64")
    return model_bytes(g.graph)


def answer(request: dict[str, Any], ways_of: Ways = ways) -> dict[str, Any]:
    """Do a child's work: train what `ffedge train` trains to the folder ``run``, or time."""
    if "run" not in request:
        return time_ways(request, ways_of(request))
    from ffedge.training.train import train

    dataset, taken_aside = opened(request)
    spec = Spec.make(widths=tuple(request["widths"]), epochs=request["epochs"], seed=request["seed"])
    run = train(spec, dataset, Path(request["run"]), force=True, progress=False)
    return {
        "train_rows": len(dataset.train.labels),
        "train_batch_size": run.report.spec["train"]["batch_size"],
        "test_rows_taken_aside": taken_aside,
        "test_accuracy": run.report.test_accuracy,
        "model_bytes": run.report.model_bytes,
    }


def opened(request: dict[str, Any]) -> tuple[Dataset, bool]:
    """Open the data; return whether rows to test on were taken aside, as they have none. DataError for a table."""
    dataset = load(request["data"], request["data_dir"])
    if dataset.table:
        raise DataError(f"{dataset.name}: is a table, and what is compared reads arrays. Pass an .npz")
    return (dataset, False) if dataset.test else (with_share(dataset, TEST_SHARE), True)


def time_ways(request: dict[str, Any], by_name: dict[str, Way]) -> dict[str, Any]:
    """Time the arms in this process; compare the labels that they give to all test samples."""
    split = opened(request)[0].test
    assert split is not None
    samples, truth = next(split.inputs.blocks(len(split.labels))), split.labels[np.arange(len(split.labels))]
    arms = {name: by_name[name] for name in request["arms"]}
    labels = {name: labels_of(way, samples) for name, way in arms.items() if name != BASELINE}
    first = next(iter(labels.values()), None)
    return {
        "samples": len(samples),
        "accuracy": {name: float((given == truth).mean()) for name, given in labels.items()},
        "labels_unlike_the_first": {name: int((given != first).sum()) for name, given in labels.items()},
        "call_s": {str(size): rounds(arms, samples, size, request) for size in request["batch_sizes"]},
    }


def labels_of(way: Way, samples: Array) -> Array:
    """Return the label [N] of each sample, some at a time."""
    parts = (samples[at : at + ROWS] for at in range(0, len(samples), ROWS))
    return np.concatenate([np.asarray(way.predict(way.prepare(part))) for part in parts])


def rounds(arms: dict[str, Way], samples: Array, size: int, request: dict[str, Any]) -> dict[str, list[float]]:
    """Return the seconds of a call, each round's mean over its block; the arms take turns."""
    from ffedge.export.clock import take_turns

    if size > len(samples):
        samples = np.concatenate([samples] * -(-size // len(samples)))
    count = min(BATCHES_MOST, len(samples) // size)
    batches = [samples[at * size : (at + 1) * size] for at in range(count)]
    calls = {name: [functools.partial(way.predict, way.prepare(x)) for x in batches] for name, way in arms.items()}
    return take_turns(calls, request["rounds"], request["block_s"])


def summary(call_s: dict[str, list[float]]) -> dict[str, Any]:
    """Return the rounds of one batch size, their medians, and how many times faster each ffedge arm is."""
    ours = [name for name in call_s if name.startswith("ffedge")]
    faster = ratios(call_s, [(other, mine) for mine in ours for other in call_s if other not in ours])
    return {"call_s": call_s, "call_s_median": medians(call_s), "ratio": faster, "ratio_median": medians(faster)}
