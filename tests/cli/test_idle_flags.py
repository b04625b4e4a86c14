"""A flag changes what a command says or writes, or is refused: alone, and beside each other one."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Ffedge, Outcome, bars

Words = list[object]
Said = tuple[int, str, dict[str, bytes]]
NOT_SEEN = {"--threads"}  # only in seconds and memory


@pytest.fixture
def said(ffedge: Ffedge, run_folder: Path, data: Path, tmp_path: Path) -> Callable[[Words], tuple[Said, Outcome]]:
    """Run a command in a folder made anew; return what it said and wrote, and how it ended."""
    rows, _ = bars(30, 2)
    rows[::3] = np.random.default_rng(0).integers(0, 255, rows[::3].shape)  # unlike what the model knows

    def run(words: Words) -> tuple[Said, Outcome]:
        shutil.rmtree(tmp_path / "place", ignore_errors=True)
        (tmp_path / "model.onnx").unlink(missing_ok=True)
        shutil.copytree(run_folder, tmp_path / "place" / "run")
        shutil.copy(data, tmp_path / "place" / "bars.npz")
        np.save(tmp_path / "place" / "rows.npy", rows)
        np.savez(tmp_path / "place" / "more.npz", x=rows, y=np.arange(30) % 3)
        done = ffedge(*(str(word).replace("PLACE", str(tmp_path / "place")) for word in words))
        written = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.suffix in (".onnx", ".html")}
        return (done.code, done.out, written), done

    return run


COMMANDS: dict[str, tuple[Words, dict[str, Words]]] = {
    "predict": (
        ["PLACE/run/model.onnx", "PLACE/rows.npy"],
        {"--resize": [], "--invert": [], "--reject": [], "--proba": [], "--strict": [], "--threads": [1]}
        | {"--timesteps": [4], "--margin": [0.5], "--json": [], "--skip-broken": []},
    ),
    "monitor": (
        ["PLACE/run/model.onnx", "PLACE/rows.npy"],
        {"--window": [5], "--false-alarm-every": [50], "--resize": [], "--invert": [], "--strict": []}
        | {"--threads": [1], "--json": [], "--skip-broken": []},
    ),
    "eval": (
        ["PLACE/run/model.onnx", "--data", "PLACE/bars.npz"],
        {"--train": [], "--data-dir": ["PLACE"], "--threads": [1], "--timesteps": [4], "--margin": [0.5], "--json": []}
        | {"--skip-broken": []},
    ),
    "info": (["PLACE/run/model.onnx"], {"--json": []}),
    "report": (
        ["PLACE/run"],
        {"--json": [], "--html": ["PLACE/page.html"], "--data": ["PLACE/more.npz"], "--data-dir": ["PLACE"]}
        | {"--bench": ["PLACE/memory.json"]},
    ),
    "data": (["fetch", "PLACE/bars.npz"], {"--data-dir": ["PLACE"]}),
    "export": (
        ["PLACE/run", "--force"],
        {"--out": ["PLACE/other.onnx"], "--coverage": [0.5], "--data": ["PLACE/more.npz"], "--data-dir": ["PLACE"]}
        | {"--form": ["pruned"], "--max-loss": [-100], "--timesteps": [8], "--reset": ["zero"], "--leak": [5]}
        | {"--traces": [2], "--current-based": []},
    ),
}
PAIRS = [
    (command, first, second)
    for command, (_, flags) in COMMANDS.items()
    for first, second in itertools.chain(((name, None) for name in flags), itertools.permutations(flags, 2))
    if first not in NOT_SEEN
]


@pytest.mark.parametrize(("command", "first", "second"), [pair for pair in PAIRS if pair[2] is None])
def test_a_flag_changes_what_is_said_or_is_refused(said, monkeypatch, tmp_path, command, first, second) -> None:
    hold(said, monkeypatch, tmp_path, command, first, second)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "first", "second"), [pair for pair in PAIRS if pair[2] is not None])
def test_so_it_does_beside_each_other_flag(said, monkeypatch, tmp_path, command, first, second) -> None:
    hold(said, monkeypatch, tmp_path, command, first, second)


def hold(said, monkeypatch, tmp_path, command, first, second) -> None:
    monkeypatch.chdir(tmp_path)
    words, flags = COMMANDS[command]
    beside = [] if second is None else [second, *flags[second]]
    asked, done = said([command, *words, *beside, first, *flags[first]])
    if done.code == 0:
        assert asked != said([command, *words, *beside])[0]
    else:
        assert done.line.startswith("ffedge: ")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train", "--plan", "--out", "x"], "--out plays no part with --plan. Leave it out"),
        (["train", "--force"], "--force plays no part without --out. Add that, or leave it out"),
        (["train", "--out", "x", "--resume", "--force"], "--force plays no part with --resume. Leave it out"),
        (["train", "--plan", "--keep-examples", "0"], "--keep-examples plays no part with --plan. Leave it out"),
        (["train", "--theta", "1"], "--theta plays no part where --loss is contrastive. Leave it out"),
        (["train", "--data-dir", "."], "--data-dir plays no part without a data set that is looked for by name"),
        (["learn", "m.onnx", "--rollback", "--epochs", "3"], "--epochs plays no part with --rollback. Leave it out"),
        (["report", "run", "--force"], "--force plays no part without --html. Add that, or leave it out"),
        (["report", "run", "--html", "a", "--json"], "--html plays no part with --json. Leave it out"),
        (["export", "run", "--max-loss", "1"], "--max-loss plays no part without --form or --fastest. Add that"),
        (["export", "run", "--nir", "a", "--out", "b"], "--out plays no part with --nir. Leave it out"),
        (["predict", "m.onnx", "-", "--resize"], "--resize plays no part for lines of stdin. Leave it out"),
        (["predict", "m.onnx", "a.npy", "--strict"], "--strict plays no part for files. Leave it out"),
        (["bench", "--memory", "--targets", "0.9"], "--targets plays no part without --speed. Add that"),
        (["--version", "--show-completion", "bash"], "--show-completion plays no part with --version. Leave it out"),
    ],
)
def test_the_refusal_says_why(ffedge: Ffedge, words: list[str], line: str) -> None:
    done = ffedge(*words)
    assert (done.code, done.out) == (2, "")
    assert done.line.startswith(f"ffedge: {line}")
