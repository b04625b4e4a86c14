"""Boards that learn together beside one that has all rows: accuracy by rounds and by bytes that travelled.

    python bench/fleet.py

784-500-500 on the first rows of MNIST and Fashion-MNIST, dealt to 10 boards evenly or, class by class, by a Dirichlet
distribution of 0.3; ffedge's layers all at once, or one a round with twice as many rounds; backprop by the same
averaging; and each of them on all rows at once. Boards learn in turn in this process: the messages are left out, the
average and its checks are those of `ffedge merge` and of the Flower app. Bytes are those of the layers that travel up
and down, of all boards together; a layer goes down where it has changed since. Rounds and bytes to an accuracy go by
rows that are held out; the test set is read once, at the end.
"""

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import Lines, arguments, table, write_results
from fleet_arms import Arm, Backprop, Ours, Rows, bytes_of, in_memory
from numpy.typing import NDArray

from ffedge.data import Dataset, Split, load
from ffedge.meter import rss_bytes, rss_peak_bytes

HELD_OUT, DIRICHLET = 2000, 0.3
GOALS = {"mnist": (0.95, 0.97), "fashion-mnist": (0.8, 0.84)}
ARMS: dict[str, tuple[Callable[[Dataset, int], Arm], bool]] = {  # its network, and whether one layer learns in a round
    "ffedge, all layers": (Ours, False),
    "ffedge, one layer a round": (Ours, True),
    "backprop": (Backprop, False),
}
OURS, BACKPROP = "ffedge, all layers", "backprop"
SEEDS = 1000  # of a round, apart


def main() -> None:
    """Run the arms and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, nargs=2, default=[20_000, 5_000], help="of MNIST and of Fashion-MNIST")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--central-rounds", type=int, default=10, help="epochs, where one board has all rows")
    parser.add_argument("--boards", type=int, default=10)
    parser.add_argument("--many", type=int, default=500, help="boards of the large fleet")
    parser.add_argument("--many-rounds", type=int, default=60)
    parser.add_argument("--asked", type=int, default=20, help="of them in a round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, default=Path("fleet.jsonl"), help="results so far, a line each")
    options = parser.parse_args()
    lines, sets = Lines(options.kept), functools.cache(rows_of)
    results = []
    for job in jobs(options):
        dataset, held_out = sets(job["data"], job["rows"])
        results.append(lines.take(job, functools.partial(run, dataset, held_out, **job)))
    print(table(["", *HEADS], [line(result) for result in results]))
    write_results("fleet", options, results, ["onnxruntime", "torch"])


def jobs(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what is run: the large fleet first, whose memory is told, and backprop last, which brings torch's."""
    same = {"asked": 0, "faulty": False, "rounds": options.rounds, "boards": options.boards, "seed": options.seed}
    found = []
    for data, rows in zip(GOALS, options.rows, strict=True):
        of = same | {"data": data, "rows": rows}
        found += [of | {"name": name, "dealt": dealt} for name in ARMS for dealt in ("evenly", "by class")]
        alone = {"dealt": "on one", "boards": 1, "rounds": options.central_rounds}
        found += [of | {"name": name} | alone for name in (OURS, BACKPROP)]
    fashion = same | {"data": "fashion-mnist", "rows": options.rows[1]}
    found.append(fashion | {"name": OURS, "dealt": "by class", "faulty": True})
    many = {"boards": options.many, "rounds": options.many_rounds, "asked": options.asked, "dealt": "by class"}
    first = same | {"data": "mnist", "rows": options.rows[0], "name": OURS} | many
    return [first, *sorted(found, key=lambda job: job["name"] == BACKPROP)]


def rows_of(data: str, rows: int) -> tuple[Dataset, Split]:
    """Return a data set of some training rows, in memory, and other training rows that are held out."""
    loaded = load(data)
    both = in_memory(loaded.train, rows + HELD_OUT)
    parts = [
        Split(type(both.inputs)(both.inputs.take(p)), both.labels[p])
        for p in (np.arange(rows), np.arange(rows, rows + HELD_OUT))
    ]
    return Dataset(loaded.name, parts[0], loaded.test, loaded.classes, loaded.sha256), parts[1]


def deal(dataset: Dataset, boards: int, how: str, seed: int) -> list[Rows]:
    """Deal a data set's rows to boards: evenly, or each class's by a Dirichlet distribution; boards of one row go."""
    rng, labels = np.random.default_rng([seed, 20]), np.asarray(dataset.train.labels)
    if how == "evenly":
        return [np.sort(part) for part in np.array_split(rng.permutation(len(labels)), boards)]
    parts: list[list[int]] = [[] for _ in range(boards)]
    for label in range(dataset.n_classes):
        rows = rng.permutation(np.flatnonzero(labels == label))
        cuts = (np.cumsum(rng.dirichlet([DIRICHLET] * boards))[:-1] * len(rows)).astype(int)
        for part, new in zip(parts, np.split(rows, cuts), strict=True):
            part.extend(new.tolist())
    return [np.sort(np.array(part, np.int64)) for part in parts if len(part) > 1]


def run(
    dataset: Dataset,
    held_out: Split,
    *,
    data: str,
    rows: int,
    name: str,
    dealt: str,
    boards: int,
    rounds: int,
    asked: int,
    faulty: bool,
    seed: int,
) -> dict[str, Any]:
    """Let boards learn together.

    Parameters
    ----------
    asked : boards of a round, drawn anew; 0 asks all.
    faulty : board 3 is killed after a quarter of the rounds, and board 7 answers in every third round alone.
    """
    began, before = time.process_time(), rss_bytes()
    shares = deal(dataset, boards, "evenly" if boards == 1 else dealt, seed)
    (made, one), rng = ARMS[name], np.random.default_rng([seed, 21])
    arm = made(dataset, seed)
    everything, total = list(range(len(arm.layers))), rounds * (len(arm.layers) if one else 1)
    changed = np.zeros(len(everything), np.int64)  # in which round, of each layer
    has = np.full(len(shares), -1)  # the round whose layers a board has
    travelled, points, moved = 0, [], [0.0]
    for turn in range(total):
        which = [turn % len(everything)] if one else everything
        sent = {}
        for board in who(len(shares), turn, total, rng, faulty=faulty, asked=asked):
            down = [i for i in everything if changed[i] > has[board] or has[board] < 0]
            travelled += bytes_of(arm.layers, down) + bytes_of(arm.layers, which)
            has[board] = turn
            learnt = arm.learnt(shares[board], which, 1 - turn / total, SEEDS * turn + board)
            sent[str(board)] = (learnt, len(shares[board]))
        moved.append(max(arm.take(sent, which).values(), default=0.0))
        changed[which] = turn + 1
        points.append((turn + 1, travelled if len(shares) > 1 else 0, arm.accuracy(held_out)))
    assert dataset.test is not None
    sizes = [len(share) for share in shares]
    return {
        "boards_with_rows": len(shares),
        "rows_least": min(sizes),
        "rows_most": max(sizes),
        "bytes": points[-1][1],
        "reached": {str(goal): next((p[:2] for p in points if p[2] >= goal), None) for goal in GOALS[data]},
        "test_accuracy": arm.accuracy(dataset.test),
        "most_moved": max(moved),
        "processor_s": time.process_time() - began,
        "rss_before_bytes": before,
        "rss_peak_bytes": rss_peak_bytes(),
        "points": points,
    }


def who(boards: int, turn: int, total: int, rng: np.random.Generator, *, faulty: bool, asked: int) -> NDArray[np.int64]:
    """Return the boards that answer in a round."""
    if asked:
        return np.sort(rng.choice(boards, asked, replace=False))
    gone = {3} if faulty and turn >= total // 4 else set()
    gone |= {7} if faulty and turn % 3 else set()
    return np.setdiff1d(np.arange(boards), [*gone])


HEADS = ("dealt", "boards", "rounds", "MB", "held out", "test", "first goal", "second", "moved", "s", "peak MiB")


def line(result: dict[str, Any]) -> list[object]:
    """Return a result as cells of a table."""
    goals = [f"{at[0]} / {at[1] / 1e6:.0f} MB" if at else "-" for at in result["reached"].values()]
    accuracy = [f"{100 * value:.2f}" for value in (result["points"][-1][2], result["test_accuracy"])]
    dealt = result["dealt"] + " (faulty)" * result["faulty"]
    cells = [f"{result['data']}: {result['name']}", dealt, result["boards"], len(result["points"])]
    tail = [f"{result['most_moved']:.1f}", f"{result['processor_s']:.0f}", f"{result['rss_peak_bytes'] / 2**20:.0f}"]
    return [*cells, f"{result['bytes'] / 1e6:.0f}", *accuracy, *goals, *tail]


if __name__ == "__main__":
    main()
