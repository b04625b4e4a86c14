"""How busy the machine is with other work while something is timed, and whether the seconds mean anything then.

Two threads that wait for each other are many times slower beside another program, and one arm more than another: so a
ratio of such times is worthless, however often it is taken.
"""

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STAT = Path("/proc/stat")
MOST_OTHERS = 0.1  # of the machine's cores
MOST_SPREAD = 0.5
LOOK_S = 0.2
IDLE, WAITING = 3, 4  # places in the first line of /proc/stat
GUEST = 8  # and what comes after it is counted in the others already


class Others:
    """Counts from now on what the processor computes for other processes than this one."""

    def __init__(self) -> None:
        self._began = _seconds()

    def cores(self) -> float | None:
        """Return how many cores they kept busy in the mean; None where the system does not tell, or not yet."""
        if self._began is None or (now := _seconds()) is None:
            return None
        busy, own, every = (after - before for before, after in zip(self._began, now, strict=True))
        return max(0.0, busy - own) / every * (os.cpu_count() or 1) if every > 0 else None


def others_now() -> float | None:
    """Return how many cores other work keeps busy at this moment; takes a fifth of a second."""
    others = Others()
    time.sleep(LOOK_S)
    return others.cores()


def _seconds() -> tuple[float, float, float] | None:
    """Return the seconds that all cores were busy, this process's share of them, and all that passed on all cores."""
    try:
        counts = list(map(int, STAT.read_text().split("\n", 1)[0].split()[1 : GUEST + 1]))
        a_second = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
    every, own = sum(counts), os.times()
    busy = every - counts[IDLE] - counts[WAITING]
    return busy / a_second, sum(own[:4]), every / a_second


def doubts(others: Sequence[float | None], seconds: Mapping[str, Sequence[float]]) -> list[str]:
    """Return why the seconds of a benchmark compare nothing, a sentence each; none where nothing speaks against them.

    Parameters
    ----------
    others : of each run, how many cores other work kept busy.
    seconds : of each arm, one of each run.
    """
    most = max((each for each in others if each is not None), default=None)
    result = [f"other work kept {most:.1f} of this machine's {os.cpu_count()} cores busy"] if busy(most) else []
    apart = {arm: spread(runs) for arm, runs in seconds.items()}
    if uneven := [arm for arm, each in apart.items() if each > MOST_SPREAD]:
        worst = max(uneven, key=apart.__getitem__)
        result.append(f"the seconds of {worst} lie {100 * apart[worst]:.0f} % apart from run to run")
    return result


def busy(others: float | None) -> bool:
    """Return whether so many cores of other work disturb what is timed."""
    return others is not None and others > MOST_OTHERS * (os.cpu_count() or 1)


def spread(runs: Sequence[float]) -> float:
    """Return the greatest less the least, as a share of the median: 0.03 where runs repeat within 3 %."""
    middle = statistics.median(runs)
    return (max(runs) - min(runs)) / middle if middle else 0.0
