"""What is generated agrees with bench/results and the command line, each block once; the tool mends what does not."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib, which is not installed")
pytest.importorskip("scipy", reason="needs scipy, which is not installed")

import readme_tables
import results
from blocks import BLOCKS
from wording import rounded, spread, wrapped

ROOT = Path(__file__).parents[2]
KEPT = (
    *readme_tables.MEASURED,
    *readme_tables.COMMANDS,
    *(f"bench/figures/{name}.svg" for names in readme_tables.FIGURES for name in names),
)


@pytest.fixture
def root(tmp_path):
    """Copy what the tool reads and writes."""
    for name in KEPT:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "bench" / "results", tmp_path / "bench" / "results")
    return tmp_path


def run(root, *words):
    return readme_tables.main(["--root", str(root), *words])


def files(root):
    return {name: (root / name).read_bytes() for name in KEPT}


def holder(root, name):
    """Return the document that holds a block."""
    (found,) = [path for d in readme_tables.MEASURED if f"<!-- generated: {name} -->" in (path := root / d).read_text()]
    return found


def test_the_documents_and_figures_agree_with_the_results(capsys):
    assert readme_tables.main(["--check"]) == 0, capsys.readouterr().err


def test_edited_numbers_are_named_and_changed_back(root, capsys):
    before = files(root)
    for name in BLOCKS:
        mark, document = f"<!-- generated: {name} -->\n", holder(root, name)
        start, _, rest = document.read_text().partition(mark)
        document.write_text(start + mark + re.sub(r"\d", lambda digit: str(9 - int(digit[0])), rest, count=1))
    assert run(root, "--check") == 1
    lines = capsys.readouterr().err.splitlines()
    assert {re.search("block '(.*)' is out of date", line)[1] for line in lines} == set(BLOCKS)
    assert run(root) == 0
    assert files(root) == before


def test_a_missing_result_is_one_line_that_says_what_makes_it(root, capsys):
    for path in (root / "bench" / "results").glob("kills-20*.json"):
        path.unlink()
    assert run(root) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"holds no kills-<date>-{results.MACHINE}.json. Make it with: {results.COMMANDS['kills']}" in line


def test_a_result_that_is_no_json_is_one_line(root, capsys):
    (path,) = results.newest("accuracy", root)
    path.write_text("{")
    assert run(root) == 1
    assert f"{path.name}: is not JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text, mark: text.replace(mark, ""), "must hold the block '{}' once"),
        (lambda text, mark: text.replace(f"{mark}\n", f"{mark}\n{mark}\n"), "must hold the block '{}' once"),
        (lambda text, mark: text.replace(mark, "<!-- generated: tuning -->"), "block 'tuning' is made by"),
        (lambda text, mark: text.replace("<!-- /generated -->", "", 2), "must hold the block"),
    ],
    ids=["no start", "start twice", "unknown", "no end"],
)
def test_a_block_that_is_not_there_once_is_one_line(root, capsys, change, message):
    path = holder(root, "kills")
    path.write_text(change(path.read_text(), "<!-- generated: kills -->"))
    spoilt = files(root)
    assert run(root) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message.format("kills") in line
    assert files(root) == spoilt


def test_a_block_may_move_to_another_document(root):
    old, new = holder(root, "memory"), root / "bench" / "PAPER.md"
    (block,) = (found[0] for found in readme_tables.BLOCK.finditer(old.read_text()) if found[1] == "memory")
    old.write_text(old.read_text().replace(block, ""))
    new.write_text(f"{new.read_text()}\n{block}\n")
    assert run(root, "--check") == 0


def test_the_newest_date_serves_with_all_its_runs(tmp_path):
    folder = tmp_path / "bench" / "results"
    folder.mkdir(parents=True)
    names = ["speed-2026-01-31-{}", "speed-2026-02-01-{}-run1", "speed-2026-02-01-{}-run2", "speed-depth-2028-01-01-{}"]
    for number, name in enumerate(names):
        (folder / f"{name.format(results.MACHINE)}.json").write_text(str(number))
    (folder / "speed-2027-01-01-aarch64-4cores.json").write_text("9")
    assert results.read("speed", tmp_path) == [1, 2]


def test_a_figure_that_is_gone_is_drawn_in_the_same_bytes(root):
    drawn = root / "bench" / "figures" / "memory-depth.svg"
    for _ in range(2):
        drawn.unlink()
        assert run(root, "--check") == 1
        assert run(root) == 0
        first, drawn_now = (locals().get("first") or drawn.read_bytes()), drawn.read_bytes()
    assert drawn_now == first


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.0594, "0.059"), (0.5, "0.50"), (1.234, "1.23"), (27.39, "27.4"), (1234.5, "1234")]
)
def test_a_number_keeps_the_digits_that_say_something(value, text):
    assert rounded(value) == text


def test_a_range_is_left_out_where_it_does_not_show():
    assert spread([14.51, 14.49, 14.5]) == "14.5"
    assert spread([14.6, 14.4, 14.5]) == "14.5 [14.4, 14.6]"


def test_a_command_is_never_broken_over_lines():
    command = "`python bench/accuracy.py --epochs 15`"
    assert command in wrapped(f"{'word ' * 20}{command} {'word ' * 20}")


@pytest.mark.parametrize("name", results.COMMANDS)
def test_the_command_beside_a_table_names_a_script_that_is_there_and_its_own_result(name):
    """What was run is what stands in the result's settings, where these are a script's flags."""
    own, _, passed_on = results.COMMANDS[name].partition(" -- ")
    _, script, *words = shlex.split(own)
    assert (ROOT / script).is_file()
    if script in ("bench/backprop.py", "bench/paper.py"):
        return  # taken when `ffedge bench` had all arms and the paper: their flags were others
    flags = dict(re.findall(r"--([\w-]+)((?: [^-\s]\S*)*)", " ".join(words)))
    asked = {key.replace("-", "_"): values.split() for key, values in flags.items()}
    asked |= {"flags": passed_on.split()} if passed_on else {}
    for done in results.read(name):
        settings = {key: value if isinstance(value, list) else [value] for key, value in done["settings"].items()}
        assert asked == {key: [str(value) for value in settings[key]] if asked[key] else [] for key in asked}
