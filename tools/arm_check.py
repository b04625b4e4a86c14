"""Does ffedge compute on ARM what it computes here? Runs it in an emulated aarch64 user-space and compares.

    python tools/arm_check.py [--cache DIR] [--out bench/results]

Every model in models/ predicts and is evaluated. ``ffedge train`` trains an epoch on the embedded data, of convolutions
on them in colour and of a readout on them as a CSV table, and ``ffedge learn`` goes on with these models; on both sides
by the same versions of all packages. Debian's arm64 Python and the aarch64 wheels are unpacked into a folder and run by
Debian's QEMU: on x86-64 Debian, as any user, and nothing is installed. Emulation proves results; its speed and memory
say nothing of a board.

Exit code 0: nothing differs. 1: something does, or a package cannot be had (a line says what).
"""

import argparse
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

import numpy as np  # noqa: E402
from common import table, write_results  # noqa: E402
from digits import coloured, write_csv  # noqa: E402

from ffedge.data import load  # noqa: E402
from ffedge.errors import FfedgeError  # noqa: E402

SCORES = 1e-5  # by which scores and losses may differ, over max(1, |score|); labels may where two scores are as near
TRAINED = 1e-4  # the same of models that two sides have trained
EVALUATED, LONGEST_S = 200, 3000
SITE = "root/usr/lib/python3/dist-packages"
TRAIN = ("--seed", 0, "--threads", 1, "--json")
TRAINED_HERE = {  # what `ffedge train` is told beside
    "trained here": ("--widths", "200,100"),
    "convolution in colour": ("--widths", "10c3a2,20c3s2p2,30", "--class-goodness", "groups"),
    "table": ("--widths", "60,40", "--class-goodness", "readout"),
}
FEW = 300  # rows that the last two learn from
DEBIAN = ("python3", "libstdc++6", "libgomp1")
QEMU = ("qemu-user-static:amd64", "qemu-user:amd64")  # Debian 13 has the static one in the second
CPU = "cortex-a72"  # that of a Raspberry Pi 4
Comparison = Callable[["Check"], None]
APT = """
Dir::State "{0}/state"; Dir::State::status "{0}/status"; Dir::Cache "{0}/cache";
#clear APT::Architectures; #clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke; #clear APT::Update::Post-Invoke-Success;
APT::Architecture "arm64"; APT::Architectures {{ "arm64"; "amd64"; }};
APT::Sandbox::User "root"; Debug::NoLocking "true"; Acquire::Retries "2";
"""
# QEMU 7.2 shows the host's /proc/cpuinfo, at which onnxruntime crashes; one in the root goes before it
PROCESSOR = "processor\t: {}\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
PROCESSOR += "CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
# it is sys.executable in there, so that the processes that ffedge starts are emulated too
PYTHON = """#!/bin/sh
here=${0%/*}
exec env PYTHONHOME="$here/root/usr" "$here/qemu" -L "$here/root" -0 "$0" "$here/root/usr/bin/python3" "$@"
"""


@dataclass
class Check:
    """What one comparison came to: rows with another label, the greatest distance, what must not differ and does."""

    model: str
    check: str
    rows: int = 0
    labels_differ: int = 0
    worst: float = 0.0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def run(self, compare: Comparison) -> "Check":
        """Compare, and note the seconds; a side that fails is a fault."""
        began = time.monotonic()
        try:
            compare(self)
        except FfedgeError as error:
            self.faults.append(str(error))
        self.seconds = time.monotonic() - began
        print(f"{self.model}, {self.check}, {self.rows} rows: {self.seconds:.0f} s", file=sys.stderr)
        return self

    def numbers(self, what: str, here: Any, there: Any, most: float) -> None:
        """Hold numbers beside each other: they may differ by so much over max(1, |number|)."""
        a, b = np.asarray(here, float), np.asarray(there, float)
        if a.shape != b.shape:
            self.faults.append(f"{what}: {b.shape} numbers instead of {a.shape}")
            return
        apart = float(np.nan_to_num(np.abs(a - b) / np.maximum(1, np.abs(a)), nan=np.inf).max(initial=0))
        self.worst = max(self.worst, apart)
        if apart > most:
            self.faults.append(f"{what} differ by up to {apart:.2g}, more than {most:g}")

    def predictions(self, here: Sequence[Any], there: Sequence[Any], most: float) -> None:
        """Hold two ``ffedge predict --json`` beside each other; a label may differ where two scores tie."""
        scores = [np.array([list(sample["scores"].values()) for sample in side]) for side in (here, there)]
        self.numbers("scores", *scores, most)
        self.rows = len(here)
        differ = [i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a["label"] != b["label"]]
        self.labels_differ = len(differ)
        best = np.sort(scores[0][differ], axis=1)
        if wrong := int((best[:, -1] - best[:, -2] > most * np.maximum(1, best[:, -1])).sum()):
            self.faults.append(f"{wrong} labels differ that are no ties within {most:g}")


@dataclass(frozen=True)
class Side:
    """This machine's Python or the emulated one, and the whole environment of what runs there."""

    name: str
    python: Path
    environment: Mapping[str, str]

    def run(self, *words: object) -> str:
        """Run its Python; return what it prints. FfedgeError, with the last line that it said, where it fails."""
        return _run(["timeout", LONGEST_S, self.python, *words], f"{self.name} failed", env=dict(self.environment))

    def ffedge(self, *words: object) -> str:
        """Run a command of ffedge."""
        return self.run("-m", "ffedge", *words)

    def samples(self, model: Path, rows: Path) -> list[Any]:
        """Return the answers to a file of rows."""
        return list(json.loads(self.ffedge("predict", model, rows, "--threads", 1, "--json"))["samples"])


def userspace(cache: Path, packages: Sequence[str]) -> Path:
    """Return a folder with ``python``, ``qemu`` and ``root``, in which these packages are: from the cache, or new."""
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in packages]
    recipe = hashlib.sha256("\n".join([APT, PROCESSOR, PYTHON, *QEMU, *DEBIAN, *pins]).encode())
    place = cache.resolve() / f"aarch64-{recipe.hexdigest()[:16]}"
    if place.exists():
        return place
    missing = [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]
    if missing:
        raise FfedgeError(f"{', '.join(missing)} must be there to fetch Debian's arm64 packages. Run this on Debian")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        apt, new = Path(folder) / "apt", Path(folder) / "new"
        root = new / "root"
        root.mkdir(parents=True)
        for name in ("state/lists/partial", "cache/archives/partial"):
            (apt / name).mkdir(parents=True)
        (apt / "status").touch()
        (apt / "conf").write_text(APT.format(apt))
        get = ["apt-get", "-q", "-c", apt / "conf"]
        _run([*get, "update"], "Debian's packages cannot be had")
        _run([*get, "install", "-y", "--no-install-recommends", "-d", *DEBIAN], "Debian's packages cannot be had")
        _run([*get, "download", *QEMU], "Debian's packages cannot be had", cwd=apt)
        for package in (*(apt / "cache/archives").glob("*.deb"), *apt.glob("*.deb")):
            where = apt / "qemu" if package.parent == apt else root
            _run(["dpkg-deb", "-x", package, where], "a package of Debian's is damaged")
        binaries = [apt / "qemu/usr/bin" / name for name in ("qemu-aarch64-static", "qemu-aarch64")]
        next(file for file in binaries if file.exists()).resolve().rename(new / "qemu")
        if not (root / "lib").exists():  # Debian 13 leaves this link to a package that is not needed
            (root / "lib").symlink_to("usr/lib")
        (root / "proc").mkdir()
        (root / "proc/cpuinfo").write_text("".join(map(PROCESSOR.format, range(os.cpu_count() or 1))))
        release = (root / "usr/bin/python3").resolve().name.removeprefix("python")
        tags = [f"--platform=manylinux_2_{glibc}_aarch64" for glibc in range(36, 16, -1)]
        tags += ["--platform=manylinux2014_aarch64", f"--python-version={release}", "--only-binary=:all:"]
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *tags, *pins]
        _run([*pip, "-t", new / SITE], "aarch64 wheels cannot be had")
        (new / "python").write_text(PYTHON)
        (new / "python").chmod(0o755)
        new.rename(place)
    return place


def unpacked_bytes(place: Path) -> dict[str, int]:
    """Return what each package takes in a user-space, without bytecode and commands."""
    folder, found = place / SITE, {}
    for package in importlib.metadata.distributions(path=[str(folder)]):
        files = [folder / file for file in package.files or () if file.suffix != ".pyc" and ".." not in file.parts]
        found[f"{package.name} {package.version}"] = sum(file.stat().st_size for file in files)
    return found


def predict(here: Side, there: Side, model: Path, rows: Path, check: Check) -> None:
    """Both sides label the same rows with the same model."""
    check.predictions(here.samples(model, rows), there.samples(model, rows), SCORES)


def evaluate(here: Side, there: Side, model: Path, data: Path, check: Check) -> None:
    """Both sides evaluate a model; one row may fall to another label, as ties do."""
    words = ("eval", model, "--data", data, "--threads", 1, "--json")
    ours, theirs = (json.loads(side.ffedge(*words)) for side in (here, there))
    check.rows = ours["rows"]
    check.labels_differ = int(np.abs(np.subtract(ours["confusion"], theirs["confusion"])).sum()) // 2
    check.faults += [f"{check.labels_differ} rows have another label"] * (check.labels_differ > 1)
    for what in ("accuracy", "layer_accuracy"):
        check.numbers(what, ours[what], theirs[what], 1.5 / check.rows)


def train(here: Side, there: Side, work: Path, name: str, words: Sequence[object], rows: Path, check: Check) -> None:
    """Both sides train an epoch: the same losses, and models that say the same here."""
    runs = [work / f"{name} here", work / f"{name} there"]
    for side, run in zip((here, there), runs, strict=True):
        side.ffedge("train", *words, *TRAIN, "--epochs", 1, "--out", run)
    lines = [[*map(json.loads, (run / "metrics.jsonl").read_text().splitlines())] for run in runs]
    losses = ([[line[name] for name in ("layer", "epoch", "loss")] for line in each] for each in lines)
    check.numbers("losses", *losses, TRAINED)
    check.predictions(*(here.samples(run / "model.onnx", rows) for run in runs), TRAINED)


def learn(here: Side, there: Side, work: Path, model: Path, data: Path, rows: Path, check: Check) -> None:
    """Both sides learn the same new rows with a copy of a model; the two models then say the same here."""
    copies = [work / f"{model.parent.name}, learnt {place}" / "model.onnx" for place in ("here", "there")]
    for side, copy in zip((here, there), copies, strict=True):
        copy.parent.mkdir()
        shutil.copy(model, copy)
        forced = ["--max-drop", 1, "--force"]  # it is to replace the model
        side.ffedge("learn", copy, "--data", data, "--epochs", 2, *forced)
        if copy.read_bytes() == model.read_bytes():
            check.faults.append(f"learn left the model as it was on {side.name}")
    check.predictions(*(here.samples(copy, rows) for copy in copies), TRAINED)


def rows_for(about: Mapping[str, Any], most: int) -> tuple[Any, Any]:
    """Return rows and labels for a model: test rows of its own data where they are here, the embedded ones, or drawn.

    Parameters
    ----------
    about : what ``ffedge info --json`` says of it.
    """
    name, folder = about["data"]["name"], os.environ.get("FFEDGE_DATA")
    shape, dtype = tuple(about["input"]["shape"]), about["input"]["dtype"]
    for data in [name] * bool(folder and (Path(folder) / name).is_dir()) + ["mnist-mini"]:
        test = load(data).test
        if test is not None and (test.inputs.row_shape, test.inputs.dtype) == (shape, dtype):
            return test.inputs.take(np.arange(min(most, len(test.labels)))), test.labels[:most]
    drawn = np.random.default_rng(0).uniform(0, 255 if dtype == "uint8" else 1, (most, *shape)).astype(dtype)
    return drawn, np.arange(most) % len(about["input"]["classes"])


def digits_for(name: str, work: Path, most: int) -> tuple[Path | str, Path, Path]:
    """Return what a model of `TRAINED_HERE` learns from, data that it is evaluated on, and rows that it predicts."""
    whole, data = load("mnist-mini"), work / f"{name}.npz"
    assert whole.test is not None
    parts = ((whole.train, FEW), (whole.test, most))
    (x, y), (x_test, y_test) = ((split.inputs.take(np.arange(count)), split.labels[:count]) for split, count in parts)
    if name == "table":
        files = [work / "train.csv", work / "test.csv"]
        write_csv(files[0], x, y)
        write_csv(files[1], x_test[:EVALUATED], y_test[:EVALUATED], news=True)
        return files[0], files[1], files[1]
    if name != "trained here":
        x, x_test = coloured(x), coloured(x_test)
    np.savez(data.with_name(f"{name}, train.npz"), x=x, y=y)
    np.savez(data, x=x_test[:EVALUATED], y=y_test[:EVALUATED])
    np.save(data.with_suffix(".npy"), x_test)
    learnt = "mnist-mini" if name == "trained here" else data.with_name(f"{name}, train.npz")
    return learnt, data, data.with_suffix(".npy")


def comparisons(here: Side, there: Side, models: Path, most: int, work: Path) -> Iterator[tuple[Check, Comparison]]:
    """Yield what is compared, what takes longest first, each with the call that does it."""
    for name, settings in TRAINED_HERE.items():
        learnt, data, rows = digits_for(name, work, most)
        words, model = (*settings, "--data", learnt), work / name / "model.onnx"
        here.ffedge("train", *words, *TRAIN, "--epochs", 3, "--out", model.parent)
        yield Check(name, "train"), functools.partial(train, here, there, work, name, words, rows)
        yield Check(name, "learn"), functools.partial(learn, here, there, work, model, data, rows)
        yield from _answers(here, there, model, data, rows)
    for model in sorted(models.glob("*/model.onnx")):
        data, rows = work / f"{model.parent.name}.npz", work / f"{model.parent.name}.npy"
        inputs, labels = rows_for(json.loads(here.ffedge("info", model, "--json")), most)
        np.savez(data, x=inputs[:EVALUATED], y=labels[:EVALUATED])
        np.save(rows, inputs)
        yield from _answers(here, there, model, data, rows)


def _answers(here: Side, there: Side, model: Path, data: Path, rows: Path) -> Iterator[tuple[Check, Comparison]]:
    yield Check(model.parent.name, "predict"), functools.partial(predict, here, there, model, rows)
    yield Check(model.parent.name, "eval"), functools.partial(evaluate, here, there, model, data)


def main(words: list[str] | None = None) -> int:
    """Build, run, compare, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(os.environ.get("FFEDGE_CACHE") or ROOT / "build" / "arm")
    parser.add_argument("--cache", type=Path, default=cache, help="folder of the user-space (0.3 GB)")
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of <name>/model.onnx")
    parser.add_argument("--rows", type=int, default=500, help="rows that each model predicts, at most")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results", help="folder of the result")
    try:
        return _check(parser.parse_args(words))
    except FfedgeError as error:
        print(f"arm_check: {error}", file=sys.stderr)
        return 1


def _check(options: argparse.Namespace) -> int:
    if platform.machine() != "x86_64":
        raise FfedgeError(f"compares with x86-64, and this machine is {platform.machine()}. Run the tests here instead")
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    began, place = time.monotonic(), userspace(options.cache, [re.split("[^\\w.-]", each)[0] for each in wanted])
    with tempfile.TemporaryDirectory() as folder:
        here, there = sides(place, Path(folder))
        python = there.run("-c", "import platform; print(platform.machine(), platform.python_version())").strip()
        facts = {"python": python, "qemu": _run([place / "qemu", "--version"], "QEMU failed").split()[2], "cpu": CPU}
        print(facts)
        todo = list(comparisons(here, there, options.models, options.rows, Path(folder)))
        with ThreadPoolExecutor(options.jobs) as pool:
            done = list(pool.map(lambda job: job[0].run(job[1]), todo))
    lines = [[f"{c.model}, {c.check}", c.rows, c.labels_differ, f"{c.worst:.1e}", f"{c.seconds:.0f}"] for c in done]
    print(table(("model, check", "rows", "labels differ", "worst", "s"), lines))
    results = {"emulated": facts, "seconds": time.monotonic() - began, "packages_bytes": unpacked_bytes(place)}
    results["checks"] = [asdict(check) for check in done]
    settings = argparse.Namespace(out=options.out, rows=options.rows)
    write_results("arm-check", settings, results, (), scores=SCORES, trained=TRAINED)
    faults = [f"{check.model}, {check.check}: {fault}" for check in done for fault in check.faults]
    print("".join(f"arm_check: {fault}\n" for fault in faults), end="", file=sys.stderr)
    return int(bool(faults))


def sides(place: Path, work: Path) -> tuple[Side, Side]:
    """Return this machine's side and the emulated one; both see the checkout, the data, and a cache of their own."""
    seen = {name: os.environ[name] for name in ("PATH", "FFEDGE_DATA") if name in os.environ}
    seen |= {"HOME": str(work), "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), "FFEDGE_CACHE": str(work / "cache")}
    emulated = {"QEMU_CPU": CPU, "PYTHONPYCACHEPREFIX": str(place / "bytecode")}
    return Side("x86-64", Path(sys.executable), seen), Side("aarch64", place / "python", seen | emulated)


def _run(command: Sequence[object], failed: str, **options: Any) -> str:
    """Run a program; return what it prints. FfedgeError, with what it called an error first, where it fails."""
    words = list(map(str, command))
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        why = [line for line in said if line.startswith(("E:", "ERROR:"))] or said[-1:]
        plain = " ".join(word for word in words if not word.startswith(("-", "/")))
        raise FfedgeError(f"{failed}: `{plain[:100]}`: {why[0]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
