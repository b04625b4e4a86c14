"""The two sides that the ARM check compares: ffedge on this machine, and ffedge in an emulated aarch64 user-space."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from arm_root import Userspace
from arm_wheels import ROOT

from ffedge.errors import FfedgeError

LONGEST_S = 3000
USAGE = 2  # exit code


@dataclass(frozen=True)
class Side:
    """One side: its name, its Python, and the whole environment of what runs there."""

    name: str
    interpreter: Path
    environment: Mapping[str, str]

    def python(self, *words: str) -> str:
        """Run Python and return what it prints.

        Raises
        ------
        FfedgeError
            It failed, crashed or hangs; the message holds the last line of its standard error.
        """
        done = self._run(*words)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise FfedgeError(f"`{' '.join(words)[:100]}` failed on {self.name}: {said[-1]}")
        return done.stdout

    def ffedge(self, *words: object) -> str:
        """Run a command of ffedge and return what it prints. Raises as `python` does."""
        return self.python("-m", "ffedge", *map(str, words))

    def knows(self, command: str) -> bool:
        """Tell whether ffedge has a command."""
        return self._run("-m", "ffedge", command, "--help").returncode != USAGE

    def _run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        call = [str(self.interpreter), *words]
        try:
            return subprocess.run(
                call, env=dict(self.environment), capture_output=True, text=True, check=False, timeout=LONGEST_S
            )
        except subprocess.TimeoutExpired as error:
            raise FfedgeError(f"`{' '.join(words)[:100]}` hangs on {self.name}") from error


def native(work: Path) -> Side:
    """Return this machine's side."""
    return Side("x86-64", Path(sys.executable), _environment(work))


def emulated(userspace: Userspace, cpu: str, work: Path) -> Side:
    """Return the emulated side; `cpu` is a name that ``qemu-aarch64 -cpu help`` lists."""
    own = {"QEMU_CPU": cpu, "PYTHONPYCACHEPREFIX": str(userspace.folder / "bytecode")}
    return Side("aarch64 (emulated)", userspace.python, _environment(work) | own)


def _environment(work: Path) -> dict[str, str]:
    """Return what a side gets to see: the checkout, the data, a cache that ends with the check."""
    kept = {name: os.environ[name] for name in ("PATH", "FFEDGE_DATA") if name in os.environ}
    return kept | {
        "HOME": str(work),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "FFEDGE_CACHE": str(work / "cache"),
        "OMP_NUM_THREADS": "1",
    }
