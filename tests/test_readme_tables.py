"""What is generated agrees with bench/results and the command line, each block once; the tool mends what does not."""

import json
import re
import shlex
import shutil
from pathlib import Path

import command_tables
import pytest
import readme_blocks
import readme_tables
import results
from wording import rounded, spread, wrapped

from ffedge.cli import bench
from ffedge.errors import FfedgeError

ROOT = Path(__file__).parents[1]
KEPT = (*readme_tables.MEASURED, *readme_tables.COMMANDS, "bench/figures/memory-depth.svg")
COMMAND_BLOCKS = tuple(command_tables.blocks())


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


def edit(path, name, change):
    """Change the text of one block of a document."""
    before, mark, rest = path.read_text().partition(f"<!-- generated: {name} -->\n")
    assert mark
    inside, end, after = rest.partition("<!-- /generated -->")
    path.write_text(before + mark + change(inside) + end + after)


def holder(root, name):
    """Return the document that holds a block of measured numbers."""
    (found,) = [d for d in readme_tables.MEASURED if f"<!-- generated: {name} -->" in (root / d).read_text()]
    return found


def result_file(root, name, date, document, run="", machine=results.MACHINE):
    path = root / "bench" / "results" / f"{name}-{date}-{machine}{run}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def document(settings, found):
    return {"benchmark": "b", "date": "d", "settings": settings, "results": found}


def test_the_documents_agree_with_the_results(capsys):
    assert readme_tables.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", readme_blocks.BLOCKS)
def test_an_edited_number_is_named_and_changed_back(root, capsys, name):
    before = files(root)
    document = holder(root, name)
    edit(root / document, name, lambda text: re.sub(r"\d(?=\D*\Z)", lambda digit: str(9 - int(digit[0])), text))
    edited = files(root)
    assert edited != before
    assert run(root, "--check") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{document}: block '{name}' is not what bench/results (")
    assert line.endswith("Run: python tools/readme_tables.py")
    assert files(root) == edited
    assert run(root) == 0
    assert files(root) == before


@pytest.mark.parametrize("name", COMMAND_BLOCKS)
def test_an_edited_help_is_named_and_changed_back(root, capsys, name):
    before = files(root)
    edit(root / "docs" / "commands.md", name, lambda text: text.replace("e", "E", 1))
    assert run(root, "--check") == 1
    assert f"docs/commands.md: block '{name}'" in capsys.readouterr().err
    assert run(root) == 0
    assert files(root) == before


@pytest.mark.parametrize("name", results.COMMANDS)
def test_a_missing_result_is_one_line_that_says_what_makes_it(root, capsys, name):
    before = files(root)
    for path in (root / "bench" / "results").glob(f"{name}-20*.json"):  # of every date
        path.unlink()
    assert run(root) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        f"bench/results: holds no {name}-<date>-{results.MACHINE}.json. Make it with: {results.COMMANDS[name]}" in line
    )
    assert files(root) == before


def test_a_result_that_is_no_json_is_one_line(root, capsys):
    (path,) = results.newest("accuracy", root)
    path.write_text("{")
    assert run(root) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{path.name}: is not JSON" in line


@pytest.mark.parametrize(("document", "name"), [("README.md", "accuracy"), ("docs/measurements.md", "speed")])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text, mark: text.replace(mark, ""), "must hold the block '{}' once"),
        (lambda text, mark: text.replace(f"{mark}\n", f"{mark}\n{mark}\n"), "must hold the block '{}' once"),
        (lambda text, mark: text.replace(mark, "<!-- generated: tuning -->"), "block 'tuning' is made by"),
        (lambda text, mark: f"{text}\n{mark}\n", "must hold the block '{}' once"),
    ],
    ids=["no start", "start twice", "unknown", "twice"],
)
def test_a_block_that_is_not_there_once_is_one_line(root, capsys, document, name, change, message):
    path = root / document
    path.write_text(change(path.read_text(), f"<!-- generated: {name} -->"))
    spoilt = files(root)
    assert run(root) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message.format(name) in line
    assert files(root) == spoilt


@pytest.mark.parametrize("document", readme_tables.MEASURED)
def test_a_block_without_its_end_is_one_line(root, capsys, document):
    path = root / document
    path.write_text(path.read_text().replace("<!-- /generated -->", "", 2))
    spoilt = files(root)
    assert run(root) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("readme_tables: README.md or docs/measurements.md: must hold the block '")
    assert files(root) == spoilt


@pytest.mark.parametrize("name", readme_blocks.BLOCKS)
def test_a_block_may_stand_in_either_document_but_not_in_both(root, capsys, name):
    old = root / holder(root, name)
    (new,) = {root / document for document in readme_tables.MEASURED} - {old}
    (block,) = (found[0] for found in readme_tables.BLOCK.finditer(old.read_text()) if found[1] == name)
    new.write_text(f"{new.read_text()}\n{block}\n")
    assert run(root, "--check") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"README.md or docs/measurements.md: must hold the block '{name}' once" in line
    old.write_text(old.read_text().replace(block, ""))
    assert run(root, "--check") == 0


def test_the_newest_date_serves_with_all_its_runs(tmp_path):
    for machine in ("aarch64-4cores", results.MACHINE):
        result_file(tmp_path, "speed", "2026-01-31", 1, machine=machine)
    for number in (1, 2):
        result_file(tmp_path, "speed", "2026-02-01", 10 + number, run=f"-run{number}")
    result_file(tmp_path, "speed", "2027-01-01", 3, machine="aarch64-4cores")
    result_file(tmp_path, "speed-depth", "2028-01-01", 4)
    assert results.read("speed", tmp_path) == [11, 12]


def test_of_two_files_of_a_script_neither_is_taken(root):
    (path,) = results.newest("accuracy", root)
    shutil.copy(path, path.with_name(f"{path.stem}-run2.json"))
    with pytest.raises(FfedgeError, match="holds 2 files of accuracy"):
        readme_tables.update(root, write=False)


def test_a_figure_of_other_data_is_named_and_drawn_anew(root, capsys):
    pytest.importorskip("matplotlib", reason="needs matplotlib, which is not installed")
    drawn = root / "bench" / "figures" / "memory-depth.svg"
    drawn.unlink()
    assert run(root) == 0
    first = drawn.read_bytes()
    drawn.unlink()
    assert run(root) == 0
    assert drawn.read_bytes() == first
    last = results.newest("memory-depth", root)[-1]
    values = json.loads(last.read_text())
    for measured in values["points"][-1]["runs"][0]:
        measured["peak_over_imports_bytes"] *= 3
    last.write_text(json.dumps(values))
    capsys.readouterr()
    assert run(root, "--check") == 1
    assert f"bench/figures/memory-depth.svg: is not drawn from {last.name}" in capsys.readouterr().err
    assert drawn.read_bytes() == first
    assert run(root) == 0
    assert run(root, "--check") == 0
    assert drawn.read_bytes() != first


def test_an_epoch_stands_beside_backprops_of_the_same_round():
    seconds = {"ffedge-interleaved": [1.0, 2.0, 3.0], "backprop": [2.0, 5.0, 5.0], "fflib": [8.0, 10.0, 10.0]}
    settings = {"arms": list(seconds), "threads": [2], "rounds": 3, "batch_size": 64}
    text = readme_blocks.epoch_time([document(settings, {"threads_2": {"epoch_s": seconds}})])
    assert "| **ffedge `ff`, tuned preset** | 2.00 (0.50 [0.40, 0.60]) |" in text  # 1/2, 2/5, 3/5
    assert "| fflib | 10.0 (2.00 [2.00, 4.00]) |" in text
    assert "| backprop, torch, Adam | 5.00 |" in text
    assert "scikit-learn" not in text


def test_what_training_takes_is_the_peak_without_imports_and_data():
    mib = 2**20
    found = {"import_bytes": [50 * mib, 52 * mib], "data_bytes": [8 * mib, 8 * mib], "rss_peak_bytes": [70 * mib] * 2}
    settings = {"batch_size": 64, "threads": 1, "runs": 2}
    text = readme_blocks.peers_memory([document(settings, {"sklearn": found})])
    assert "| backprop, scikit-learn, Adam | 70.0 | 51.0 | 8.00 | 11.0 [10.0, 12.0] |" in text


def test_accuracies_are_the_mean_of_the_seeds_and_each():
    runs = [
        {"data_name": "mnist", "variant": variant, "seed": seed, "test_accuracy": value}
        | {"spec": {"network": {"widths": [30, 20]}}, "rss_peak_bytes": 100 * 2**20, "import_bytes": 70 * 2**20}
        for variant, values in {"ff": (0.9, 0.92), "acff": (0.95, 0.98)}.items()
        for seed, value in enumerate(values)
    ]
    settings = {"data": ["mnist"], "variants": ["ff", "acff"], "seeds": [0, 1], "epochs": 4}
    text = readme_blocks.accuracy([document(settings, runs)])
    assert "| 30-20, 4 epochs a layer | `ff` | `acff` |" in text
    assert "| MNIST | 91.00 % (90.00 92.00) | 96.50 % (95.00 98.00) |" in text
    assert "means differ by up to 5.50 points, the seeds of one variant by up to 3.00." in " ".join(text.split())
    assert "peaks at 100 MiB resident, 70 of them imports" in " ".join(text.split())


def test_forms_stand_with_their_accuracy_tried_labels_and_bytes():
    runs = [
        {
            "data_name": data,
            "seed": 0,
            "form": form,
            "test_accuracy": 0.9 if form == "head" else 0.95,
            "bytes": 2_000_000,
        }
        | {"lost": 0.004 if form == "head" else None, "candidates": k if form.startswith("pruned") else None}
        for data, k in (("mnist", 2), ("fashion-mnist", 3))
        for form in readme_blocks.FORMS
    ]
    settings = {"data": ["mnist", "fashion-mnist"], "seeds": [0], "epochs": 7}
    text = readme_blocks.forms([document(settings, runs)])
    assert "| `pruned` | 95.00 % (95.00) | 95.00 % (95.00) | 2 to 3 | 2.00 |" in text
    assert "| `head` | 90.00 % (90.00) | 90.00 % (90.00) | none | 2.00 |" in text
    assert "no form loses more than 0.40 points" in " ".join(text.split())


def test_growth_and_the_depth_from_which_less_is_taken_are_those_of_the_medians():
    mib = 2**20

    def measure(arm, peak):
        values = dict.fromkeys(("import_bytes", "rss_peak_bytes", "rows", "inputs"), 0)
        counted = {"weights": peak * mib // 2}
        return values | {
            "arm": arm,
            "peak_over_imports_bytes": peak * mib,
            "layers": [],
            "counted_bytes": counted,
            "seconds": 1.0,
            "setup_s": 0.0,
            "accuracy": 0.5,
        }

    def sweep(odd):  # hook always above; SGD below until the lines cross half way
        peaks = {2: (10, 12, 20, 40, 5), 8: (20 + odd, 18, 40, 40, 25)}
        arms = list(readme_blocks.COMPARED)
        return {
            "points": [
                {
                    "value": depth,
                    "work": {"widths": [500] * depth},
                    "runs": [[measure(arm, value)] for arm, value in zip(arms, values, strict=True)],
                }
                for depth, values in peaks.items()
            ]
        }

    text = " ".join(readme_blocks.memory_depth([sweep(0), sweep(9), sweep(0)]).split())
    assert "ffedge's peak over imports grows by 10.0 MiB (100 %), and the files of its layers by 5.0 MiB." in text
    everywhere = "stepped in the hook at every depth measured, in onnxruntime at every depth measured"
    assert f"with Adam nowhere, {everywhere} and with SGD from 5.0 layers on." in text


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


def flags_of(name):
    """Return the flags of the command beside a result, each with its values; as ``flags`` what is passed on."""
    own, _, passed_on = results.COMMANDS[name].partition(" -- ")
    program, *words = shlex.split(own)
    found = dict(re.findall(r"--([\w-]+)((?: [^-\s]\S*)*)", " ".join(words)))
    flags = {key.replace("-", "_"): values.split() for key, values in found.items()}
    return program, words[0], flags | ({"flags": passed_on.split()} if passed_on else {})


@pytest.mark.parametrize("name", [name for name, text in results.COMMANDS.items() if text.startswith("python")])
def test_the_command_beside_a_scripts_table_is_what_was_run(name):
    _, script, flags = flags_of(name)
    assert (ROOT / script).is_file()
    for done in results.read(name):
        settings = {key: value if isinstance(value, list) else [value] for key, value in done["settings"].items()}
        assert flags == {key: [str(value) for value in settings[key]] if flags[key] else [] for key in flags}


@pytest.mark.parametrize("name", [name for name, text in results.COMMANDS.items() if text.startswith("ffedge")])
def test_the_command_beside_a_table_of_bench_is_what_was_run(name):
    _, command, flags = flags_of(name)
    assert command == "bench"
    if name.startswith("paper"):
        points = "open_points" in flags
        wanted = {"open_points": points, "rows": int(flags.get("rows", ["25000" if points else "50000"])[0])}
        wanted |= {"data": flags["data"]} if "data" in flags else {}
        assert any(wanted.items() <= done["settings"].items() for done in results.read(name))
        return
    if name == "speed":
        (done,) = results.read(name)
        assert [arm["arm"] for arm in done["arms"]] == flags["arms"][0].split(",")
        assert {len(arm["runs"]) for arm in done["arms"]} == {int(flags["repeat"][0])}
        return
    flags = {"widths": ["500,500,500,500"], "rows": ["3000"], "sweep": [None]} | flags
    for done in results.read(name):
        work = next(iter(results.works([done]).values()))
        widths = tuple(map(int, flags["widths"][0].split(",")))
        assert done["sweep"] == flags["sweep"][0]
        assert work.rows == int(flags["rows"][0])
        assert work.widths[: len(widths)] == widths
        assert done["sweep"] or len(work.widths) == len(widths)


def test_every_command_and_flag_stands_in_the_docs():
    text = (ROOT / "docs" / "commands.md").read_text()
    assert bench.run.__doc__.split(".")[0] in text
    for flag in ("--variant", "--memory", "--resize", "--invert", "--label-mode"):
        assert f"| `{flag}` |" in text
