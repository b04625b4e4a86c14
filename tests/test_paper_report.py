"""bench/PAPER.md agrees with the raw results, and says what follows from them."""

import json

import paper_points_text
import paper_report
import pytest
import results
from planted_paper import trials

from ffedge.compare.paper_found import document, document_text
from ffedge.compare.paper_trials import Choice

pytest.importorskip("scipy")
NAMES = ("paper", "paper-whole", "paper-whole-fashion", "paper-points", "paper-points-again")
FF, SAME = [0.90, 0.91, 0.92, 0.91, 0.90], [0.901, 0.908, 0.921, 0.909, 0.901]


@pytest.fixture
def root(tmp_path):
    """Results in which F-CFF gains what the paper says, A-CFF nothing, and one reading has three seeds."""
    gained = [value + more for value, more in zip(FF, (0.005, 0.006, 0.0065, 0.006, 0.0055), strict=True)]
    main = trials({"ff": FF, "fcff": gained, "acff": SAME}, epochs=1000)
    whole, elsewhere = (trials({arm: FF[:1]}, data="fashion-mnist", epochs=1000) for arm in ("ff", "acff"))
    readings = trials({"ff": FF[:3], "fcff": gained[:3], "fcff-shuffled": FF[:3]}, point="base", value="paper, greedy")
    again = trials({"ff": FF[:3], "acff": FF[1:4]}, point="base", value="paper, interleaved")
    (tmp_path / "bench" / "results").mkdir(parents=True)
    for name, found in zip(NAMES, (main, whole, elsewhere, readings, again), strict=True):
        path = tmp_path / "bench" / "results" / f"{name}-2026-01-02-{results.MACHINE}.json"
        choice, processor = Choice(open_points="points" in name), "slow" if found is elsewhere else "fast"
        made = document(choice, found, {"1 x 2 x 3": 4e9 if found is elsewhere else 8e9})
        path.write_text(document_text(made | {"machine": made["machine"] | {"processor": processor}}))
    return tmp_path


def test_the_committed_report_agrees_with_the_results(capsys):
    assert paper_report.main(["--check"]) == 0, capsys.readouterr().err


def test_it_says_what_reproduces_and_what_does_not(root):
    *main, points, again = (results.read(name, root) for name in NAMES)
    plain = " ".join(paper_report.text([document for each in main for document in each], points, again).split())
    assert "F-CFF gains +0.6 points over FF in the paper, here +0.58 [" in plain
    assert "it reproduces, of the paper's size" in plain
    assert "no gain is seen, and one as large as the paper's is excluded" in plain
    assert "as 1 seed can decide nothing" in plain
    assert "Fashion-MNIST, 1,000 rows, 1000 epochs a layer: FF 1 seed and A-CFF 1 seed." in plain
    assert "One seed: no test is made." in plain
    assert "fast: a lone float32 matrix product in onnxruntime, one thread: 8 GFLOP/s (1 x 2 x 3)." in plain
    assert "slow: a lone float32 matrix product in onnxruntime, one thread: 4 GFLOP/s (1 x 2 x 3)." in plain
    assert "layer 1: from 1 to 0.800; on the way 0.800 at least" in plain
    assert "Wilcoxon's p cannot be below 0.0625" in plain
    assert "2 tests of 3 seeds or more; 2 have p < 0.05 alone, where chance would make 0.1; at a" in plain
    assert "**bold** below) 2 remain, by Holm's correction 2." in plain
    assert "**F-CFF, base paper, greedy** (" in plain
    assert "| base: paper | 91.00 | +0.58 [" in plain
    assert "No reading of what the paper leaves open is known to make collaboration help." in plain
    assert "1 test of 3 seeds or more; 0 have p < 0.05 alone" in plain.partition("on other seeds")[2]
    assert "of these, this table has no seed yet" in plain


def test_a_reading_is_confirmed_by_gains_over_ff_and_over_its_control():
    gained = [value + more for value, more in zip(FF, (0.01, 0.011, 0.0105, 0.0095, 0.01), strict=True)]
    for control, said in ((FF, "F-CFF, gamma 0.3, greedy, +1.02 and +1.02."), (gained, "No reading of what")):
        arms = {"ff": FF, "fcff": gained, "fcff-shuffled": control}
        found = paper_report.groups(trials(arms, point="gamma", value="0.3, greedy"))
        assert said in paper_points_text.confirmed(found)


def test_a_changed_number_is_named_and_written_anew(root, capsys):
    pytest.importorskip("matplotlib", reason="needs matplotlib, which is not installed")
    assert paper_report.main(["--root", str(root), "--check"]) == 1
    assert "bench/PAPER.md: is not what bench/results/paper*.json say" in capsys.readouterr().err
    assert paper_report.main(["--root", str(root)]) == 0
    report = root / "bench" / "PAPER.md"
    for name in paper_report.FIGURES:
        assert f"figures/{name}.svg" in report.read_text()
        assert (root / "bench" / "figures" / f"{name}.svg").exists()
    assert paper_report.main(["--root", str(root), "--check"]) == 0
    path = results.newest("paper", root)[0]
    changed = json.loads(path.read_text())
    changed["trials"][0]["test_accuracy"] = 0.5
    path.write_text(json.dumps(changed))
    capsys.readouterr()
    assert paper_report.main(["--root", str(root), "--check"]) == 1
    assert "bench/figures/paper-*.svg" in capsys.readouterr().err


def test_a_missing_result_is_one_line(tmp_path, capsys):
    (tmp_path / "bench" / "results").mkdir(parents=True)
    assert paper_report.main(["--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("paper_report: bench/results: holds no paper-<date>")
