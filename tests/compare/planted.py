"""Measures and curves made up for the tests."""

from ffedge.compare.curve import Curve, Reached
from ffedge.compare.measure import Measure
from ffedge.compare.memory import Point
from ffedge.compare.speed import ArmCurves
from ffedge.compare.trainers import LayerMeasure


def measured(arm, over, seconds=1.0, accuracy=0.9):
    return Measure(
        arm=arm,
        import_bytes=50 * 2**20,
        rss_peak_bytes=50 * 2**20 + over,
        peak_over_imports_bytes=over,
        layers=[LayerMeasure(0, 8, seconds, 1, 2)],
        counted_bytes={"weights": 1, "gradients": 1, "moments": 2, "saved_for_backward": 0, "buffers": None},
        seconds=seconds,
        setup_s=0.1,
        rows=100,
        inputs=16,
        accuracy=accuracy,
        unknown={"buffers": "nobody knows"},
    )


def point(value, work, *measures):
    """One run of each arm."""
    return Point(value, work, [[m] for m in measures])


def curve(arm, *reached, epochs=2, setup_s=0.5):
    """A curve through (seconds, accuracy)."""
    points = [Reached(seconds, 10 * (i + 1), accuracy) for i, (seconds, accuracy) in enumerate(reached)]
    return Curve(arm, setup_s, points[-1].seconds, 0.1, 100, epochs, 20, points)


def runs(*curves):
    return ArmCurves(list(curves))
