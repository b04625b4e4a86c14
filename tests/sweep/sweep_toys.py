"""Descriptions of few small trials, and a wait for what comes true."""

import time

QUICK = {"widths": [[8], [12, 8]], "epochs": 1, "batch_size": 500}
SLOW = "widths = [[20]]\nepochs = 400\nbatch_size = 100\nseeds = [0, 1]\n"  # for a minute


def until(condition, seconds=60):
    """Wait for what comes true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it has not come true"
        time.sleep(0.02)
    return found
