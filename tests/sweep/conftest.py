"""A finished sweep of few small trials, and what runs `ffedge sweep` in a process of its own."""

import subprocess
import sys

import pytest
from sweep_toys import QUICK

from ffedge.compare.child import variables


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """Run a sweep of two points and two seeds, two trials at once; return its folder and the records."""
    from ffedge import sweep

    out = tmp_path_factory.mktemp("sweeps") / "quick"
    return out, sweep(QUICK | {"seeds": [0, 1]}, out, jobs=2, progress=False)


@pytest.fixture
def start():
    """Return what starts ``ffedge sweep`` with some words, in a session of its own; what still runs is killed."""
    begun = []

    def run(*words):
        command = [sys.executable, "-m", "ffedge", "sweep", *map(str, words)]
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": variables()}
        begun.append(subprocess.Popen(command, start_new_session=True, **how))
        return begun[-1]

    yield run
    for process in begun:
        process.kill()
        process.communicate()
