"""The NetworkFF paper (arXiv:2512.17531): FF, F-CFF and A-CFF as it trains them, over seeds.

    python bench/paper.py --rows 5000                         # 5 seeds; 2 to 3 hours of one core
    python bench/paper.py --seeds 0 --data mnist              # the paper's own 50,000 rows
    python bench/paper.py --readings --data mnist             # what it leaves open; an hour and a half of one core
    python bench/paper.py --readings --data mnist --seeds 3 4 5 6 7 --reading "gamma: 0.3"

A trial is a run of `ffedge.train` in its own folder, which goes on where it was stopped; what it came to stands in its
own file, and is not trained again. README.md says what is measured; PAPER.md, what came of it.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import math
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import table
from gemm import gemm_flop, gemm_flop_per_s
from numpy.typing import NDArray
from paper_tables import (
    READING_HEAD,
    STATISTICS_HEAD,
    TABLE_HEAD,
    Result,
    accuracy_rows,
    comparisons,
    groups_of,
    place,
    reading_rows,
    statistics_rows,
)
from paper_trials import (
    ARMS,
    BATCH_SIZE,
    CHUNK_ROWS,
    CONTROL,
    DATA,
    EPOCHS,
    READING_EPOCHS,
    READING_ROWS,
    READING_SEEDS,
    READINGS,
    ROWS,
    SCHEDULES,
    SEEDS,
    WIDTHS,
    Trial,
    main_trials,
    reading_trials,
)

from ffedge.compare.runner import all_versions, document
from ffedge.data import Dataset, Split, load
from ffedge.data.dataset import chosen
from ffedge.data.stream import spread_evenly
from ffedge.engine.base import Engine
from ffedge.files import atomic_file
from ffedge.network import InputFacts
from ffedge.predict.evaluation import predicted
from ffedge.predict.predictor import Predictor
from ffedge.presets import PRESETS
from ffedge.recipe import Recipe
from ffedge.seeds import Draw, generator
from ffedge.training.checkpoint import Checkpoints
from ffedge.training.loop import Loop
from ffedge.training.records import EpochRecord
from ffedge.training.train import Run, train
from ffedge.training.watch import Progress, Watcher

CURVE_ROWS = 2000  # whose accuracy is measured while training
TRAIN_ROWS = 10_000  # whose accuracy is measured in the end
EACH_UP_TO, IN_A_DECADE = 20, 40  # epochs that are measured
TRACED = ("loss", "goodness_positive", "goodness_negative", "accuracy", "accuracy_sum", "gamma")


def main() -> None:
    options = parsed()
    trials = reading_trials(options) if options.readings else main_trials(options)
    limits = gemm_limits(options.threads, options.widths or WIDTHS)
    name = "paper-points" if options.readings else "paper"
    settings = {key: value for key, value in vars(options).items() if key not in ("out", "data_dir")}
    path = options.out / f"{name}.json"
    options.out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    for index, trial in enumerate(trials):
        print(f"[{index + 1}/{len(trials)}] {trial.text}", file=sys.stderr, flush=True)
        results.append(taken(trial, options))
        facts = {"settings": settings, "preset": PRESETS["paper"], "gemm_flop_per_s": limits}
        path.write_text(document_text(document(name, **facts, trials=results)))  # read already while others train
    show(results)
    print(path)


def parsed() -> argparse.Namespace:
    """Read the flags; what is not given is the paper's, or, of readings, their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", action="store_true", help="of what the paper leaves open, in minibatches")
    parser.add_argument("--reading", action="append", default=[], choices=[r.name for r in READINGS], help="this alone")
    parser.add_argument("--data", nargs="+", default=list(DATA))
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=[*ARMS, *(a + CONTROL for a in ARMS[1:])])
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--batch-size", type=int, help="(default: all; of readings 125)")
    parser.add_argument("--widths", type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("bench-paper"), help="what stands there is not trained again")
    options = parser.parse_args()
    usual = {"epochs": EPOCHS, "rows": ROWS, "seeds": list(range(SEEDS))}
    if options.readings:
        usual = {"epochs": READING_EPOCHS, "rows": READING_ROWS, "seeds": list(range(READING_SEEDS))}
        usual["batch_size"] = BATCH_SIZE
    elif options.reading:
        parser.error("--reading belongs to --readings")
    for key, value in usual.items():
        if getattr(options, key) is None:
            setattr(options, key, value)
    return options


def show(results: Sequence[dict[str, Any]]) -> None:
    """Print the paper's tables beside ours, and a row for each reading."""
    found = groups_of([{"trials": results}])
    for group in (group for group in found if group.point == "paper"):
        print(f"{place(group)}\n{table(TABLE_HEAD, accuracy_rows(group))}\n")
        if group.seeds > 1:
            print(f"{table(STATISTICS_HEAD, statistics_rows(comparisons(group)))}\n")
    for data, schedule in itertools.product(dict.fromkeys(g.data for g in found if g.point != "paper"), SCHEDULES):
        print(f"{data}, {schedule}\n{table(READING_HEAD, reading_rows(found, data, schedule))}\n")


def document_text(whole: dict[str, Any]) -> str:
    """Write a document with a line for each trial."""
    text = json.dumps(whole | {"trials": []}, indent=1)
    lines = ",\n  ".join(json.dumps(trial) for trial in whole["trials"])
    return text.replace('"trials": []', f'"trials": [\n  {lines}\n ]') + "\n"


class ComparedLoop(Loop):
    """Measures the accuracy of an epoch on some of the rows that it trains on, as none are held out."""

    def measured_in(self, epoch: int) -> NDArray[np.int64]:
        """Return the rows that give an epoch's accuracy: none in most late epochs."""
        if not measured(epoch, self.recipe.train.epochs):
            return self.held_out
        return self._stream.rows[spread_evenly(len(self._stream.rows), CURVE_ROWS)]


def measured(epoch: int, epochs: int) -> bool:
    """Tell whether an epoch is measured: each of the first, then as many in each decade, and the last."""
    done = epoch + 1
    step = math.floor(IN_A_DECADE * math.log10(done)) > math.floor(IN_A_DECADE * math.log10(max(1, epoch)))
    return done <= EACH_UP_TO or done == epochs or step


class ShuffledEngine:
    """An engine whose layers hear another sample's goodness in eq. 5: the control of collaboration.

    True label stands for true label, wrong for wrong: the same threshold on the average, and no information about the
    sample. All samples of a chunk are moved by as many places.
    """

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine, self._seed = engine, seed
        self._chunk = (-1, -1, 0)

    def __getattr__(self, name: str) -> Any:
        """Do all else as the engine does."""
        return getattr(self._engine, name)

    def learn(self, layer: int, source: Any, labels: Any, other: Any, *, step: int, **options: Any) -> Any:
        """Learn from a chunk."""
        same = self._chunk[:2] == (layer, step)
        self._chunk = (layer, step, self._chunk[2] + 1 if same else 0)
        moved = generator(self._seed, Draw.OTHER, *self._chunk).integers(1, max(2, len(other)))
        return self._engine.learn(layer, source, labels, np.roll(other, -moved, axis=0), step=step, **options)


class ShuffledLoop(ComparedLoop):
    """Trains on a `ShuffledEngine`."""

    def __init__(
        self, recipe: Recipe, dataset: Dataset, facts: InputFacts, engine: Any, *more: Any, **options: Any
    ) -> None:
        super().__init__(recipe, dataset, facts, ShuffledEngine(engine, recipe.train.seed), *more, **options)


class Clock(Watcher):
    """Counts the process's own seconds of training each layer, evaluation left out."""

    def __init__(self) -> None:
        self._since = time.process_time()
        self._spent: dict[int, float] = {}
        self._epochs: dict[int, int] = {}

    def batch(self, progress: Progress) -> None:
        """Count from the last batch or evaluation on."""
        now = time.process_time()
        for layer in progress.layers:
            self._spent[layer] = self._spent.get(layer, 0.0) + (now - self._since) / len(progress.layers)
        self._since = now

    def epoch(self, records: list[EpochRecord]) -> None:
        """Leave out the evaluation."""
        for record in records:
            self._epochs[record.layer] = self._epochs.get(record.layer, 0) + 1
        self._since = time.process_time()

    def cpu_s(self, layers: int) -> list[float | None]:
        """Return the seconds of a mean epoch of each layer; None where none was seen."""
        return [self._spent[i] / self._epochs[i] if i in self._epochs else None for i in range(layers)]


def taken(trial: Trial, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a trial came to, training it where its file is not there.

    Raises
    ------
    RuntimeError
        The file is another trial's.
    """
    path = options.out / f"{trial.name}.json"
    if not path.exists():
        whole = load(trial.data, options.data_dir)
        first = np.arange(min(trial.rows, len(whole.train.labels)))
        dataset = dataclasses.replace(whole, train=chosen(whole.train, first))
        folder, clock = options.out / "runs" / trial.name, Clock()
        begun = bool(Checkpoints(folder / "checkpoint").generations())
        loop = ShuffledLoop if trial.arm.endswith(CONTROL) else ComparedLoop
        spec = trial.spec({"threads": options.threads})
        run = train(spec, dataset, folder, resume=begun, force=not begun, watcher=clock, loop=loop)
        result = result_of(trial, run, dataset, clock.cpu_s(len(run.report.layers)))
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(result)))
        shutil.rmtree(folder)
        with contextlib.suppress(OSError):  # others may be at work there
            folder.parent.rmdir()
    found: dict[str, Any] = json.loads(path.read_text())
    if found["trial"] != json.loads(json.dumps(dataclasses.asdict(trial))):
        raise RuntimeError(f"{path}: is the result of another trial. Choose another --out")
    return found


def result_of(trial: Trial, run: Run, dataset: Dataset, cpu_s: list[float | None]) -> Result:
    """Sum up a finished run, and measure its model on the test split and on `TRAIN_ROWS` of the training rows."""
    report, predictor = run.report, Predictor(run.model, threads=1)
    layers = range(len(predictor.recipe.network.dense_units))
    gammas = [report.layers[layer].gamma for layer in layers]
    rule = dataclasses.replace(predictor.recipe.rule, prediction_weights="collaborative")
    collaborative = dataclasses.replace(predictor.recipe, rule=rule)
    weights = np.array(collaborative.score_weights([{"gamma": gamma or 0.0} for gamma in gammas]))
    shown = spread_evenly(len(dataset.train.labels), TRAIN_ROWS)
    on_train = accuracies(predictor, dataset.train, shown, weights)
    on_test = accuracies(predictor, dataset.test, np.arange(len(dataset.test.labels)), weights)
    facts = predictor.facts
    flop = [trial.rows * gemm_flop(predictor.recipe, layer, facts.size, facts.n_classes) for layer in layers]
    return Result(
        trial=dataclasses.asdict(trial),
        versions=all_versions(),
        train_accuracy=on_train[-2],
        test_accuracy=on_test[-2],
        train_collaborative=on_train[-1],
        test_collaborative=on_test[-1],
        train_layers=on_train[:-2],
        test_layers=on_test[:-2],
        gamma=gammas,
        trace=traces(run.path / "metrics.jsonl", len(layers)),
        seconds=[report.layers[layer].seconds for layer in layers],
        cpu_s=cpu_s,
        gemm_flop=flop if predictor.recipe.train.schedule == "greedy" else None,
        train_rows=len(shown),
    )


def accuracies(
    predictor: Predictor, split: Split, rows: NDArray[np.int64], weights: NDArray[np.float64]
) -> list[float]:
    """Return the accuracy of each layer, of their plain sum, and of their weighted sum [L + 2]."""
    hits = np.zeros(len(weights) + 2, np.int64)
    for true, answers in predicted(predictor, split, rows, layers=True):
        goodness = answers.goodness
        sums = [goodness.sum(axis=1), (goodness * weights[:, None]).sum(axis=1)]
        scores = np.concatenate([goodness, np.stack(sums, axis=1)], axis=1)
        hits += (scores.argmax(axis=2) == true[:, None]).sum(axis=0)
    return [float(hit) / len(rows) for hit in hits]


def traces(path: Path, layers: int) -> list[dict[str, list[float | None]]]:
    """Return each layer's records by name, to six digits."""
    records = [EpochRecord.read(line) for line in path.read_text().splitlines()]

    def rounded(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.6g}")

    return [
        {name: [rounded(getattr(r, name)) for r in records if r.layer == layer] for name in TRACED}
        for layer in range(layers)
    ]


def gemm_limits(threads: int, widths: Sequence[int], inputs: int = 784 - 10) -> dict[str, float]:
    """Measure a lone matrix product of each layer's shape: floating-point operations a second."""
    shapes = [(CHUNK_ROWS, inputs, widths[0])]
    shapes += [(2 * CHUNK_ROWS, one, other) for one, other in itertools.pairwise(widths)]
    return {" x ".join(map(str, shape)): gemm_flop_per_s(*shape, threads) for shape in dict.fromkeys(shapes)}


if __name__ == "__main__":
    main()
