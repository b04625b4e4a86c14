"""Run a command and tell its seconds and its peak memory: ``python -I -S launch.py OUTPUT COMMAND …`` prints JSON.

A process of its own, as small as Python goes: the kernel counts into a child's peak what its parent had when it was
started, so a parent that is smaller than anything measured leaves the peak to the command.
"""

import json
import os
import sys
import time


def launch(output: str, command: list[str]) -> dict[str, float]:
    """Run a command to its end, with its output to a file."""
    files = [(os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)]
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=files)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - began
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "rss_peak_bytes": 1024 * usage.ru_maxrss,
        "own_peak_bytes": own_peak_bytes(),
    }


def own_peak_bytes() -> int:
    """Return this process's peak; its rusage would tell that of whoever started it."""
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


if __name__ == "__main__":
    print(json.dumps(launch(sys.argv[1], sys.argv[2:])))
