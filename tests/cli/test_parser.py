"""One way to say a flag: help with a word on every flag, errors of one line, colours, completion."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ffedge
from ffedge.cli.commands import COMMANDS, parser_of, with_flags
from tests.cli.conftest import Ffedge, spawn


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_a_word_of_help(command: str) -> None:
    parser = parser_of(command)
    words = {
        a.dest: (a.help or "").partition("(default")[0].strip() for group in parser.groups().values() for a in group
    }
    assert all(words.values()), words
    text = parser.format_help()
    assert text.startswith(f"usage: ffedge {command} [flags]")
    assert "\x1b" not in text


def test_help_is_asked_for_or_given_where_no_command_is_named(ffedge: Ffedge) -> None:
    for words, code in ((["--help"], 0), ([], 2), (["predict", "--help"], 0)):
        done = ffedge(*words)
        assert (done.code, done.err) == (code, "")
        assert done.out.startswith("usage: ffedge ")
    assert all(f"\n  {name} " in ffedge("--help").out for name in COMMANDS)


def said_by_the_package() -> set[str]:
    """Return every text in the sources, with {} for what is put into it."""
    texts = set()
    for path in Path(ffedge.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                texts.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    return texts


def test_every_command_and_flag_that_a_text_names_is_there() -> None:
    flags = {name: {word for a in parser_of(name)._actions for word in a.option_strings} for name in COMMANDS}
    every, named = {"--version", "--help", "--show-completion"}.union(*flags.values()), 0
    for text in said_by_the_package():
        for command in re.findall(r"`ffedge\s+([^`{]*)", text):
            word, *rest = command.split()
            named += 1
            assert word in {*COMMANDS, "--help"}, text
            assert {flag for flag in rest if flag.startswith("--")} <= flags.get(word, set()), text
        if "pip install" not in text:
            assert set(re.findall(r"(?<![\w`<-])--[a-z][a-z-]+", text)) <= every, text
    assert named > 20


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["banana"], "there is no command 'banana'. Try `ffedge --help`"),
        (["--banana"], "unrecognized arguments: --banana. Try `ffedge --help`"),
        (["train", "--wid", "3"], "unrecognized arguments: --wid 3. Try `ffedge train --help`"),
        (["predict"], "the following arguments are required: MODEL, FILES. Try `ffedge predict --help`"),
        (["predict", "m", "a", "--threads"], "--threads expected one argument. Try `ffedge predict --help`"),
        (["predict", "m", "a", "--threads", "x"], "--threads must be a whole number from 0, got 'x'. Try"),
        (["monitor", "m", "a", "--window", "0"], "--window must be a whole number from 1, got '0'. Try"),
        (["--show-completion", "dos"], "--show-completion must be bash|zsh|fish, got 'dos'. Try `ffedge --help`"),
        (["data"], "the following arguments are required: ACTION. Try `ffedge data --help`"),
        (["data", "fetch"], "data takes list alone, or fetch and a name. Try `ffedge data --help`"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(ffedge: Ffedge, words: list[str], line: str) -> None:
    done = ffedge(*words)
    assert (done.code, done.out) == (2, "")
    assert done.line.startswith(f"ffedge: {line}")


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["m", "-"], ["-"]),
        (["--reject", "m", "a", "b"], ["a", "b"]),
        (["m", "a", "--threads", "1", "b"], ["a", "b"]),
        (["m", "--margin=-0.5", "a"], ["a"]),
        (["m", "--", "--reject"], ["--reject"]),
    ],
)
def test_words_and_flags_may_stand_in_any_order(words: list[str], files: list[str]) -> None:
    options = parser_of("predict").parse_intermixed_args(words)
    assert (str(options.model), [str(path) for path in options.files]) == ("m", files)


def test_a_value_may_begin_with_a_minus() -> None:
    options = parser_of("train").parse_intermixed_args(["--alpha", "-1,.5;0,-1", "--theta", "-.5"])
    assert (options.alpha, options.theta) == (((-1.0, 0.5), (0.0, -1.0)), -0.5)


def test_what_the_library_says_of_parameters_is_said_of_flags() -> None:
    said = "`label_mode` must fit, got 3. Use `label_mode='concat'`, `shift=0`, `force=True` or a new `add_classes`"
    flags = "--label-mode must fit, got 3. Use --label-mode concat, --shift 0, --force or a new --add-class"
    assert with_flags(said, "learn") == flags
    assert with_flags("`add_classes=['a b', 'c']`", "learn") == "--add-class 'a b' --add-class c"
    assert with_flags("Train one with `ffedge train`; `other` stays") == "Train one with `ffedge train`; `other` stays"


def test_colours_are_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[36m--widths\x1b[0m N,N" in parser_of("train").format_help()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in parser_of("train").format_help()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_takes_the_completion(ffedge: Ffedge, shell: str) -> None:
    script = ffedge("--show-completion", shell).out
    assert all(word in script for word in ("variant", "fcff", "label-mode"))
    if path := shutil.which(shell):
        subprocess.run([path, "-n" if shell != "fish" else "--no-execute"], input=script, text=True, check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("ffedge tr", ["train"]),
        ("ffedge train --label-m", ["--label-mode"]),
        ("ffedge train --variant f", ["ff", "fcff"]),
        ("ffedge train --variant ff --res", ["--resume"]),
    ],
)
def test_bash_completes_commands_flags_and_values(ffedge: Ffedge, words: str, wanted: list[str]) -> None:
    script = ffedge("--show-completion", "bash").out
    array = " ".join(f"'{word}'" for word in words.split(" "))
    script += f"\nCOMP_WORDS=({array}); COMP_CWORD={words.count(' ')}; _ffedge; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout.split() == wanted


def test_one_python_trains_and_it_loads_only_what_training_needs(data: Path, tmp_path: Path) -> None:
    words = ["train", "--data", data, "--out", tmp_path / "run", "--widths", "8", "--epochs", "1"]
    done = spawn(*words, python=("-X", "importtime"))
    assert done.code == 0
    assert "test accuracy" in done.out
    loaded = [line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time")]
    assert loaded.count("ffedge.training.train") == loaded.count("argparse") == loaded.count("site") == 1
    assert not {"subprocess", "torch", "onnx", "ffedge.cli.predict", "ffedge.compare", "ffedge.export"} & set(loaded)


def test_the_library_names_parameters_and_no_flags() -> None:
    """A command that is to be run may stand between backticks, and what pip is to install behind its name."""
    for path in sorted(Path(ffedge.__file__).parent.rglob("*.py")):
        if path.parent.name != "cli":
            for node in ast.walk(ast.parse(path.read_text())):
                text = node.value if isinstance(node, ast.Constant) else ""
                plain = re.sub(r"`ffedge [^`]*`|Run: pip .*", "", text) if isinstance(text, str) else ""
                assert not re.search(r"(?<!\w)--[a-z]", plain), (path.name, text)
