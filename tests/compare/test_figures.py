"""Figures show every arm, the bound, and the values of a sweep."""

import pytest

from ffedge.compare.arms import Work
from ffedge.compare.measure import Measure
from ffedge.compare.memory import Point

pytest.importorskip("matplotlib", reason="needs matplotlib, which is not installed")


def point(value, *peaks):
    measures = [
        Measure(arm, 0, peak, peak, [], {}, 1.0, 0.1, 10, 16, 0.5)
        for arm, peak in zip(("ffedge-ff-adam", "backprop-adam"), peaks, strict=True)
    ]
    return Point(value, Work(), measures)


@pytest.mark.parametrize(
    ("sweep", "points", "axis"),
    [(None, [point(None, 2**24, 2**25)], "over imports"), ("depth", [point(2, 1, 2), point(8, 1, 4)], "layers")],
)
def test_a_figure_names_what_it_shows(tmp_path, monkeypatch, sweep, points, axis):
    import matplotlib as mpl

    from ffedge.compare.figures import draw

    with mpl.rc_context({"svg.fonttype": "none"}):
        png, svg = draw(points, sweep, [1] * len(points), tmp_path / "memory")
    assert png.read_bytes().startswith(b"\x89PNG")
    text = svg.read_text()
    for words in ("ffedge-ff-adam", "backprop-adam", "one layer", axis):
        assert words in text
