"""Train the models of models/, check them, and write each beside its card.

    python tools/make_models.py                    # all that are not there yet, or whose card is not of their file
    python tools/make_models.py --only mnist-acff  # this one; may be given again
    python tools/make_models.py --force            # train anew what is there as well

Stopped, it goes on where it was at the next call, as long as the commit is the same. A model takes its place whole,
then its card (MODEL.md); a card that is not of the file beside it is told by ``pytest tests/models`` and mended by the
next call.
"""

import argparse
import dataclasses
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ffedge.compare.child import variables
from ffedge.data import NAMES, Split, load
from ffedge.data.cache_folder import sha256_of
from ffedge.errors import FfedgeError
from ffedge.files import atomic_file
from ffedge.predict.evaluation import accuracy
from ffedge.predict.predictor import Predictor
from ffedge.training.records import Report

ROOT = Path(__file__).resolve().parents[1]
FIELD = re.compile(r"^\| ([^|]+) \| (.*) \|$", re.MULTILINE)
DIGITS = "mnist-mini"
ROWS = 1000


@dataclass(frozen=True)
class Training:
    """What a model learns, and how."""

    data: str
    variant: str
    widths: str = "500,500"
    epochs: int = 15
    seed: int = 0

    def words(self) -> list[str]:
        """Return the words after ``ffedge``; one thread, so that the same machine gives the same bytes."""
        flags = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | {"threads": 1}
        return ["train", *(word for name, value in flags.items() for word in (f"--{name}", str(value)))]

    def command(self) -> str:
        """Return the command as one would type it."""
        return shlex.join(["ffedge", *self.words()])


TRAININGS = {
    "mnist-ff": Training("mnist", "ff"),
    "mnist-fcff": Training("mnist", "fcff"),
    "mnist-acff": Training("mnist", "acff"),
    "fashion-acff": Training("fashion-mnist", "acff"),
}
SEEN = {
    "mnist": "handwritten digits, white on black, centred in 28 x 28 grey pixels, to 0 … 9",
    "mnist-mini": "handwritten digits, white on black, centred in 28 x 28 grey pixels, to 0 … 9",
    "fashion-mnist": "pictures of one piece of clothing, light on black, 28 x 28 grey pixels, to 10 kinds",
}
CARD = """# {name}

Takes {seen}.
`ffedge predict models/{name}/model.onnx picture.png --resize`, or any ONNX runtime: [clients](../../docs/clients.md).

| | |
| --- | --- |
{table}

## Use and limits

An example, a test object, and a network to go on learning from. It has seen only pictures as the data set's are: other
sizes must be brought to 28 x 28, dark ink on white paper must be inverted (`--invert`), and what stands beside the
middle or fills another share of the picture is mistaken. It gives a label to anything, however little it looks like one
of the classes. Do not let it decide about people, money or machines.

Made by `python tools/make_models.py --only {name}`; `pytest tests/models` holds this card to the file.
"""


def main(words: list[str] | None = None) -> int:
    """Make models; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=TRAININGS, help="this model")
    parser.add_argument("--force", action="store_true", help="also what is there already")
    parser.add_argument("--out", type=Path, default=ROOT / "models")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "models", help="where runs stand until done")
    trial = parser.add_argument_group("for a trial in another --out")
    trial.add_argument("--data")
    trial.add_argument("--widths")
    trial.add_argument("--epochs", type=int)
    options = parser.parse_args(words)
    trial_changes = {name: value for name in ("data", "widths", "epochs") if (value := getattr(options, name))}
    if trial_changes and options.out == ROOT / "models":
        parser.error("--data, --widths and --epochs need another --out than models/")
    try:
        for name in options.only or TRAININGS:
            training = dataclasses.replace(TRAININGS[name], **trial_changes)
            stale = problems(options.out / name, training)
            if not stale and not options.force:
                print(f"{options.out / name}: is there, and its card is of it")
                continue
            make(name, training, options.out / name, options.work)
    except (FfedgeError, subprocess.CalledProcessError) as error:
        print(f"make_models: {error}", file=sys.stderr)
        return 1
    return 0


def make(name: str, training: Training, folder: Path, work: Path) -> None:
    """Train a model, check it, and write it and its card.

    Raises
    ------
    FfedgeError
        The model is not what training reported, or gives numbers that are not finite.
    CalledProcessError
        `ffedge train` failed or was stopped; it has said why.
    """
    commit = at_commit()
    run = work / commit / name
    run.parent.mkdir(parents=True, exist_ok=True)
    words = [*training.words(), "--out", str(run), *(["--resume"] if (run / "checkpoint").exists() else [])]
    subprocess.run([sys.executable, "-m", "ffedge", *words], check=True, env=variables(), stdout=sys.stderr)
    fields = checked(run, training, commit)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / "model.onnx") as temporary:
        shutil.copyfile(run / "model.onnx", temporary)
    with atomic_file(folder / "MODEL.md") as temporary:
        temporary.write_text(card(name, training, fields))
    shutil.rmtree(run)
    print(f"{folder}: {fields['test accuracy']}, {fields['bytes']} bytes")


def checked(run: Path, training: Training, commit: str) -> dict[str, str]:
    """Return the fields of a card, measured on the model file."""
    model, report, data = run / "model.onnx", Report.read(run / "report.json"), load(training.data)
    predictor, split = Predictor(model, threads=1), data.test or data.train
    found = accuracy(predictor, split)
    if found != report.test_accuracy or sha256_of(model) != report.model_sha256:
        raise FfedgeError(f"{model}: is not the model that {run / 'report.json'} tells of. Remove {run}")
    finite(model, split)
    right, labels = on_digits(predictor)
    known = NAMES[training.data]
    return {
        "made by": f"`{training.command()}`",
        "seed": str(training.seed),
        "commit": f"`{commit}`",
        "versions": ", ".join(f"{package} {version}" for package, version in report.versions.items()),
        "data": f"{known.name}, sha256 `{data.sha256}`",
        "licence of the data": known.licence,
        "test accuracy": f"{100 * found:.2f} % of {len(split.labels):,} rows",
        "right of mnist-mini's test digits": str(right),
        "labels of mnist-mini's test digits": " ".join(map(str, labels)),
        "bytes": str(model.stat().st_size),
        "sha256": f"`{sha256_of(model)}`",
    }


def on_digits(predictor: Predictor) -> tuple[int, list[int]]:
    """Return how many of mnist-mini's test digits are right, and how many get each label, whatever it means."""
    split = load(DIGITS).test
    assert split is not None
    found = predictor.predict(split.inputs.take(np.arange(ROWS))).label
    return int((found == split.labels).sum()), np.bincount(found, minlength=predictor.facts.n_classes).tolist()


def finite(model: Path, split: Split) -> None:
    """Run plain onnxruntime over all rows; raise FfedgeError where an output holds NaN or infinity."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    for rows in split.inputs.blocks(ROWS):
        for output, values in zip(session.get_outputs(), session.run(None, {"input": rows}), strict=True):
            if not np.isfinite(values).all():
                raise FfedgeError(f"{model}: gives {output.name} that is not finite. Look into its training")


def card(name: str, training: Training, fields: dict[str, str]) -> str:
    """Return the text of a MODEL.md."""
    table = "\n".join(f"| {key} | {value} |" for key, value in fields.items())
    return CARD.format(name=name, seen=SEEN[training.data], table=table)


def fields_of(text: str) -> dict[str, str]:
    """Return the fields of a card."""
    return {key: value.strip("`") for key, value in FIELD.findall(text)}


def problems(folder: Path, training: Training) -> list[str]:
    """Say what is wrong with a model's folder, a line each: a missing file, or a card that is not of its file."""
    model, told = folder / "model.onnx", folder / "MODEL.md"
    if not model.is_file() or not told.is_file():
        return [f"{folder}: lacks {model.name if told.is_file() else told.name}"]
    fields = fields_of(told.read_text())
    true = {"made by": training.command(), "bytes": str(model.stat().st_size), "sha256": sha256_of(model)}
    wrong = {key: value for key, value in true.items() if fields.get(key) != value}
    return [f"{told}: says {key} {fields.get(key)}, but it is {value}" for key, value in wrong.items()]


def at_commit() -> str:
    """Name the commit of the checkout, with ``-dirty`` where the package has changes: models/ itself changes here."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "ffedge"], capture_output=True, text=True, check=False)
    return (head or "unknown") + ("-dirty" if changed.stdout.strip() else "")


if __name__ == "__main__":
    sys.exit(main())
