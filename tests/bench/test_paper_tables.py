"""The paper's numbers beside ours, on planted trials: rows, tests, figures."""

import math

import pytest
from planted_paper import found, group, trials

pytest.importorskip("scipy", reason="needs scipy, which is not installed")

import paper_tables
from paper_tables import accuracy_rows, compare, comparisons, groups, reading_rows, statistics_rows, summary_rows

FF = [0.90, 0.91, 0.92, 0.91, 0.90]
UP = [0.906, 0.918, 0.925, 0.915, 0.908]


def test_trials_that_differ_by_arm_and_seed_alone_are_one_group():
    made = groups([*trials({"ff": FF, "acff": UP}), *trials({"ff": FF[:1]}, epochs=9), *trials({"ff": FF[:1]}, rows=9)])
    assert [(g.epochs, g.rows, g.size, g.seeds) for g in made] == [(3, 1000, 10, 5), (9, 1000, 1, 1), (3, 9, 1, 1)]
    assert made[0].percents("acff") == pytest.approx([100 * value for value in UP])


def test_arms_are_compared_seed_by_seed_over_the_seeds_that_both_have():
    both = groups([*trials({"ff": FF, "fcff": UP[:3]}), found("fcff", 9, 0.5)])[0]
    result = compare(both, "fcff", "ff")
    assert result.n == 3
    assert result.mean == pytest.approx((0.6 + 0.8 + 0.5) / 3)


def test_the_table_has_the_papers_numbers_and_ours():
    rows = accuracy_rows(group({"acff": UP, "ff": FF}))
    assert [row[0] for row in rows] == ["FF", "A-CFF"]
    assert [row[1::2][:2] for row in rows] == [["91.8 %", "92.0 %"], ["94.1 %", "93.8 %"]]
    assert rows[0][4].startswith("90.80 ± ")
    assert rows[0][2].startswith("91.80 ± ")
    assert rows[0][5:] == ["baseline", "baseline"]
    assert rows[1][5] == "+1.8"
    assert rows[1][6].startswith("+0.64 [")
    unknown = accuracy_rows(group({"ff": FF[:1], "fcff": UP[:1]}, data="mnist-mini"))
    assert unknown == [
        ["FF", "-", "91.00 %", "-", "90.00 %", "baseline", "baseline"],
        ["F-CFF", "-", "91.60 %", "-", "90.60 %", "-", "+0.60"],
    ]


def test_the_summary_has_a_column_for_each_arm_and_the_gap():
    head, rows = summary_rows([group({"ff": FF, "acff": UP}), group({"ff": FF}, data="fashion-mnist")])
    assert head == ["", "FF", "A-CFF"]
    texts = {row[0]: row[1:] for row in rows}
    assert texts["MNIST, test: paper"] == ["92.0 %", "93.8 %"]
    assert texts["MNIST, test: here"] == ["90.80 %", "91.44 %"]
    assert texts["MNIST, train less test: paper"] == ["-0.2", "+0.3"]
    assert texts["MNIST, train less test: here"] == ["+1.00", "+1.00"]
    assert texts["Fashion-MNIST, test: here"] == ["90.80 %", "-"]


def test_every_test_that_the_arms_allow_is_made_once():
    arms = ("ff", "fcff", "fcff-shuffled", "acff", "acff-shuffled")
    labels = [test.label for test in comparisons(group(dict.fromkeys(arms, UP)))]
    assert sorted(labels) == sorted(
        [
            "F-CFF less FF",
            "F-CFF less F-CFF, shuffled",
            "F-CFF: collaborative less plain sums",
            "A-CFF less FF",
            "A-CFF less A-CFF, shuffled",
            "A-CFF: collaborative less plain sums",
        ]
    )
    tests = comparisons(group({"ff": FF, "acff": [0.91, 0.90, 0.94, 0.93, 0.91]}))
    rows = statistics_rows(tests)
    assert rows[1][0] == "MNIST: A-CFF: collaborative less plain sums"
    assert rows[1][2] == "+0.50 [+0.50, +0.50]"
    p = tests[0].result.t_p
    assert p > 0.05
    assert rows[0][3] == rows[0][6] == f"{p:.3f}"  # of two the greater, which Holm leaves


def reading(arms, point="theta", value="once, greedy"):
    return trials(arms, point=point, value=value)


def test_a_reading_is_compared_with_ff_of_its_base_and_with_its_control():
    made = groups(
        [
            *reading({"ff": FF, "fcff": FF}, "base", "preset paper, greedy"),
            *reading({"ff": UP}, "base", "preset paper, interleaved"),
            *reading({"fcff": UP, "fcff-shuffled": FF, "acff": UP}),
        ]
    )
    rows = {row[0]: row[1:] for row in reading_rows(made, "mnist", "greedy")}
    assert list(rows) == ["base: preset paper", "theta: once"]
    assert rows["theta: once"][0] == "90.80"
    assert all(rows["theta: once"][i].startswith("+0.64 [") for i in (1, 2, 3))
    assert rows["theta: once"][4:] == ["-", "1.00; 0.80"]
    assert rows["base: preset paper"][1] == "+0.00 [+0.00, +0.00]"
    assert len(reading_rows(made, "mnist", "interleaved")) == 1
    assert not reading_rows(made, "fashion-mnist", "greedy")


def test_figures_show_the_papers_numbers_beside_ours(tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib, which is not installed")
    from paper_figures import curve, draw, log_scale, shown

    assert log_scale(0.941) == pytest.approx(4.555, abs=5e-4)  # as the text of the paper says of its Fig. 2 and 3
    assert log_scale(0.833) == pytest.approx(4.4345, abs=2e-4)

    small, large = trials({"ff": FF[:1]}, rows=9), trials({"ff": FF, "acff": UP})
    made = groups([*small, *large, *trials({"ff": FF}, data="fashion-mnist")])
    assert [(g.data, g.rows) for g in shown(made)] == [("mnist", 1000), ("fashion-mnist", 1000)]
    epochs, seeds = curve(made[1], "ff", "accuracy_sum")
    assert epochs == [1, 3, 4, 6]  # the second of each layer's three has none
    assert len(seeds) == 5
    draw(made, tmp_path)
    texts = {path.stem: path.read_text() for path in tmp_path.iterdir()}
    assert set(texts) == {"paper-progress", "paper-bars", "paper-gamma"}
    assert "ln(1 + training accuracy in %)" in texts["paper-progress"]
    assert "train, paper" in texts["paper-bars"]
    assert "MNIST: 1,000 rows, 3 epochs a layer, 5 seeds" in texts["paper-gamma"]


def test_texts_of_what_is_not_known_are_dashes():
    assert paper_tables.p_text(math.nan) == paper_tables.number_text(math.nan) == "-"
    assert paper_tables.p_text(0.0002) == "<0.001"
    assert paper_tables.mean_text([90.0]) == "90.00 %"
