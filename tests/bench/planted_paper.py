"""Trials made up for the tests of the paper's tables, sentences and figures."""

from paper import TRACED
from paper_tables import Result, groups


def found(arm="ff", seed=0, test=0.9, data="mnist", epochs=3, rows=1000, point="paper", value="", **more):
    """A trial; `train` is a point above `test`, collaborative sums half a point; gamma falls in the second layer."""
    learnt = arm.startswith("acff")
    gamma = [1.0, 0.8] if learnt else [None if arm == "ff" else 1.0] * 2
    traces = [{name: [0.1 * (e + 1) for e in range(epochs)] for name in TRACED} for _ in range(2)]
    for layer in (0, 1):
        traces[layer]["accuracy"][1] = traces[layer]["accuracy_sum"][1] = None
        traces[layer]["gamma"] = [gamma[layer]] * epochs
    changes = [["batch_size", 500]] if point != "paper" else []
    trial = {"data": data, "arm": arm, "seed": seed, "epochs": epochs, "rows": rows, "point": point, "value": value}
    plain = {
        "trial": trial | {"changes": changes},
        "versions": {"ffedge": "0", "onnxruntime": "1"},
        "train_accuracy": test + 0.01,
        "test_accuracy": test,
        "train_collaborative": test + 0.015,
        "test_collaborative": test + 0.005,
        "train_layers": [test, test],
        "test_layers": [test, test],
        "gamma": gamma,
        "trace": traces,
        "seconds": [2.0, 2.0],
        "cpu_s": [0.5, 0.25],
        "gemm_flop": [1e9, 1e9],
        "train_rows": 1000,
    }
    return Result(**plain | more)


def trials(arms, data="mnist", **more):
    """Trials of some arms, whose test accuracies are given seed by seed."""
    return [found(arm, seed, test, data, **more) for arm, tests in arms.items() for seed, test in enumerate(tests)]


def group(arms, data="mnist", **more):
    """One group of such trials."""
    (made,) = groups(trials(arms, data, **more))
    return made
