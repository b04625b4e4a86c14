"""The meter against an independent one, and against an allocation whose place is known."""

import sys

import pytest
from toys import in_child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux only")


def test_the_meter_agrees_with_memory_profiler_within_5_percent():
    pytest.importorskip("memory_profiler", reason="needs memory-profiler, which is not installed")
    script = """
        import time, warnings
        import numpy as np
        from ffedge.meter import PeakMeter

        warnings.simplefilter("default")
        from memory_profiler import memory_usage

        def work():
            block = np.ones(int(sys.argv[1]) * 2**17)
            time.sleep(0.3)
            del block
            time.sleep(0.1)

        meter = PeakMeter()
        start = meter.start()
        theirs = memory_usage((work,), interval=0.01, max_usage=True, multiprocess=False)
        print(meter.peak(), theirs * 2**20)
    """
    for size in (40, 160):
        ours, theirs = map(float, in_child(script, str(size)).split()[-2:])
        assert ours == pytest.approx(theirs, rel=0.05)


def test_an_allocation_is_found_in_the_layer_where_it_was_made():
    script = """
        import numpy as np
        from toys import clusters, make_loop, prepared, small_spec

        from ffedge.training.checkpoint import Place
        from ffedge.training.watch import Journal, Watcher

        class Planter(Watcher):
            def batch(self, progress):
                if progress.layers == [1] and progress.batch == 2:
                    np.ones(50 * 2**20 // 8).sum()

        data = clusters()
        recipe, facts = prepared(small_spec(epochs=1), data)
        loop = make_loop(recipe, data, journal=Journal(), watcher=Planter(), facts=facts)
        loop.train(Place(), lambda: False)
        print(*((r.rss_peak_bytes - r.rss_start_bytes) / 2**20 for r in loop.layer_records()))
    """
    grown = [float(word) for word in in_child(script).split()]
    assert 45 < grown[1] < 80  # code that was given back is read again
    assert grown[0] < 40
    assert grown[2] < 20
