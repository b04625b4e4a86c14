"""ffedge doctor: looks at the machine with nothing but the standard library, and lets a child try what may end it."""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from ffedge.cli.parser import Parser, flag
from ffedge.cli.tables import coloured
from ffedge.errors import one_line
from ffedge.version import __version__

PROC, CPUS, CGROUP = Path("/proc"), Path("/sys/devices/system/cpu"), Path("/sys/fs/cgroup")
TRIAL_S = 300
LEAST_FREE = 200 * 10**6  # MNIST unpacked, a run and its checkpoints
LEAST = {"numpy": (1, 26), "onnxruntime": (1, 20)}  # as pyproject.toml says
BAD_ORT = "1.21.0"
OTHER_ORT = f"Run: pip install 'onnxruntime!={BAD_ORT}'"
MENDS = {
    "SIGILL": OTHER_ORT,
    "SIGABRT": f"Let it read {CPUS} (mount /sys read-only), and give it more address space where `ulimit -v` limits it",
    "SIGKILL": "Give it more memory: the system ended it",
}
EXTRAS = {"images": "PIL", "int8": "onnx", "nir": "nir", "torch": "torch"}
TRIAL = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from ffedge.spec import Spec
from ffedge.training.train import plan, train
least = plan(Spec.make(memory_budget=2**40)).floor_bytes
report = train(Spec.make(widths=(16,), epochs=1), "mnist-mini", sys.argv[1], progress=False).report
print(json.dumps({"floor": least, "seconds": report.seconds, "peak": report.rss_peak_bytes}))
"""


@dataclasses.dataclass
class Finding:
    """What was looked at, what was found, and, where something is wrong, how to mend it."""

    name: str
    found: str
    mend: str = ""


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    flag(parser, "--json", "Print one JSON document.")


def run(options: Namespace) -> int:
    """Look whether this machine can train: its wheels, what it may read, its memory and its folders.

    Says what is missing and how to mend it. Exits with 0 where a small training worked, with 1 where it did not.
    """
    works, trial = _looked_at("training", _trial)
    findings = [_looked_at(name, look)[1] for name, look in LOOKS.items()]
    findings.append(trial)
    if options.json:
        told = {"version": __version__, "works": works, "findings": [dataclasses.asdict(each) for each in findings]}
        print(json.dumps(told))
        return int(not works)
    print(f"ffedge {__version__}")
    for each in findings:
        print(f"{each.name:12s} {each.found}")
        if each.mend:
            print(coloured(f"{'':12s} -> {each.mend}", "33", sys.stdout))
    return int(not works)


def _looked_at(name: str, look: Callable[[], tuple[str, str]]) -> tuple[bool, Finding]:
    """Return whether nothing is wrong, and what was found, whatever happens on the way."""
    try:
        found, mend = look()
    except Exception as error:
        found, mend = f"cannot be looked at ({type(error).__name__}: {error})", "Mend this, if training does not work"
    return not mend, Finding(name, one_line(found), mend)


def _machine() -> tuple[str, str]:
    bits, cores = 8 * struct.calcsize("P"), os.cpu_count()
    with contextlib.suppress(OSError):
        cores = len(os.sched_getaffinity(0))
    model = ""
    with contextlib.suppress(OSError):
        model = (PROC / "device-tree" / "model").read_text().strip("\0\n ") + ", "
    system = f"{platform.system()} {platform.release()}"
    found = f"{model}{platform.machine()}, {bits}-bit Python {platform.python_version()}, {system}, {cores} cores"
    return found, "" if bits == 64 else "Install a 64-bit system: onnxruntime has no package for this one"


def _version(package: str) -> Callable[[], tuple[str, str]]:
    def look() -> tuple[str, str]:
        if importlib.util.find_spec(package) is None:
            return "is not installed", f"Run: pip install {package}"
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "of another package (of unknown version)", ""
        if package == "onnxruntime" and version == BAD_ORT:
            return f"{version}, which dies on a Raspberry Pi 4", OTHER_ORT
        old = tuple(map(int, version.split(".")[:2])) < LEAST[package]
        return version, f"Run: pip install --upgrade {package}" if old else ""

    return look


def _extras() -> tuple[str, str]:
    there = {name: importlib.util.find_spec(package) is not None for name, package in EXTRAS.items()}
    missing = [name for name in there if not there[name]]
    return f"{', '.join(name for name in there if there[name]) or 'none'} (not needed: {', '.join(missing) or '-'})", ""


def _proc() -> tuple[str, str]:
    try:
        (PROC / "self" / "status").read_text()
    except OSError as error:
        return f"cannot be read ({error.strerror})", "Mount /proc: without it ffedge cannot measure memory"
    return "can be read", ""


def _cpus() -> tuple[str, str]:
    try:
        return f"can be read, {len(os.listdir(CPUS))} entries", ""
    except OSError as error:
        return f"cannot be read ({error.strerror})", f"Mount /sys read-only: onnxruntime may abort without {CPUS}"


def _memory() -> tuple[str, str]:
    free = []
    with contextlib.suppress(OSError, StopIteration):
        lines = (PROC / "meminfo").read_text().splitlines()
        free.append(next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")))
    for place in (CGROUP, _own_cgroup()):  # of a container, or a service
        with contextlib.suppress(OSError, ValueError):
            free.append(int((place / "memory.max").read_text()))
    return f"{_mb(min(free))} can be had" if free else "is not told", ""


def _own_cgroup() -> Path:
    try:
        return CGROUP / (PROC / "self" / "cgroup").read_text().strip().rpartition("::")[2].lstrip("/")
    except OSError:
        return CGROUP


def _cache() -> tuple[str, str]:
    from ffedge.data.cache_folder import cache_folder

    return _folder(cache_folder(), "Set FFEDGE_CACHE to a folder that can be written and has room")


def _here() -> tuple[str, str]:
    return _folder(Path.cwd(), "Work in another folder, or name one with --out")


def _folder(path: Path, mend: str) -> tuple[str, str]:
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    found = f"{path}: {'writable' if writable else 'not writable'}, {_mb(free)} free"
    return found, "" if writable and free >= LEAST_FREE else mend


def _trial() -> tuple[str, str]:
    """Let a child train a small network: what ends it does not end this process."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-P", "-c", TRIAL, f"{folder}/run"],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=TRIAL_S,
            )
    except subprocess.TimeoutExpired:
        return f"a small training took more than {TRIAL_S} s", "See what else the machine does"
    except FileNotFoundError:
        return "there is no folder that can be written", "Name one in TMPDIR"
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return f"ended by {name}", MENDS.get(name, "See whether another version of onnxruntime works")
    if done.returncode:
        return f"failed: {(done.stderr.splitlines() or ['without a word'])[-1]}", "Mend what it says"
    told = json.loads(done.stdout.splitlines()[-1])
    work = f"a small training took {told['seconds']:.1f} s and {_mb(told['peak'])}"
    return f"works: {work}; the default network needs a budget of {_mb(told['floor'])} at least", ""


def _mb(count: float) -> str:
    return f"{count / 2**20:,.0f} MiB"


LOOKS = {
    "machine": _machine,
    "numpy": _version("numpy"),
    "onnxruntime": _version("onnxruntime"),
    "extras": _extras,
    "/proc": _proc,
    "/sys": _cpus,
    "memory": _memory,
    "cache": _cache,
    "this folder": _here,
}
