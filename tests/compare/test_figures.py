"""Figures show every arm, the bound or the targets, and the values of a sweep."""

import pytest
from planted import curve, measured, point, runs

from ffedge.compare.arms import Work

mpl = pytest.importorskip("matplotlib", reason="needs matplotlib, which is not installed")
ARMS = ("ffedge-ff-adam", "backprop-adam")


def text_of(draw):
    """Draw with text that stays text; return what the SVG says."""
    with mpl.rc_context({"svg.fonttype": "none"}):
        png, svg = draw()
    assert png.read_bytes().startswith(b"\x89PNG")
    return svg.read_text()


@pytest.mark.parametrize(
    ("sweep", "values", "axis"),
    [(None, [(None, 2**24, 2**25)], "over imports"), ("depth", [(2, 1, 2), (8, 1, 4)], "layers")],
)
def test_memory_names_every_arm_and_the_bound(tmp_path, sweep, values, axis):
    from ffedge.compare.figures import draw_memory

    found = [
        point(value, Work(), *(measured(arm, peak) for arm, peak in zip(ARMS, peaks, strict=True)))
        for value, *peaks in values
    ]
    text = text_of(lambda: draw_memory(found, sweep, [1] * len(found), tmp_path / "memory"))
    for words in (*ARMS, "one layer", axis):
        assert words in text


def test_speed_names_every_arm_and_its_axes(tmp_path):
    from ffedge.compare.figures import draw_speed

    found = [runs(curve(arm, (1.0, 0.8), (2.0, 0.9))) for arm in ARMS]
    text = text_of(lambda: draw_speed(found, (0.85,), tmp_path / "speed"))
    for words in (*ARMS, "seconds of training", "accuracy on the held-out rows"):
        assert words in text
