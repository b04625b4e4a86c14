"""An aarch64 user-space in a folder: Debian's Python and C libraries, aarch64 wheels, and QEMU to run them.

No part of it is installed: apt works in a folder of its own, from the sources that this machine's apt is configured
with, and needs no rights. `Userspace.python` starts the Python in there, and is `sys.executable` to it, so that the
processes that ffedge starts are emulated too.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import arm_wheels

from ffedge.errors import FfedgeError

RECIPE = 1  # to be raised when what `build` makes changes: folders made by another recipe are not used
PACKAGES = ("python3", "libstdc++6", "libgomp1")
QEMU, LEAST_QEMU = "qemu-user:amd64", 9  # onnxruntime 1.28 to 1.32 crashes at import under QEMU 7.2, not under 10.0
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEEDED = ("apt-get", "apt-cache", "dpkg-deb")
CONFIGURATION = """
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourceparts "{folder}/sources";
APT::Architecture "arm64";
#clear APT::Architectures;
APT::Architectures {{ "arm64"; "amd64"; }};
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Debug::NoLocking "true";
Acquire::Retries "2";
"""
WRAPPER = """#!/bin/sh
here=${0%/*}
exec env PYTHONHOME="$here/root/usr" "$here/qemu-aarch64" -L "$here/root" -0 "$0" "$here/root/usr/bin/python3" "$@"
"""


@dataclass(frozen=True)
class Userspace:
    """A folder with ``python`` (starts the emulated one), ``qemu-aarch64`` and ``root``."""

    folder: Path

    @property
    def python(self) -> Path:
        """What to run in the place of python3; QEMU_CPU in the environment names the processor."""
        return self.folder / "python"

    def qemu_version(self) -> str:
        """Return such as ``10.0.13``."""
        return _run(str(self.folder / "qemu-aarch64"), "--version").split()[2]


def build(cache: Path, wanted: Sequence[str]) -> Userspace:
    """Return the user-space with these packages of Python's: the one in the cache, or a new one.

    Parameters
    ----------
    wanted : requirements as pip reads them.

    Raises
    ------
    FfedgeError
        A Debian package or a wheel cannot be had.
    """
    missing = [tool for tool in NEEDED if not shutil.which(tool)]
    if missing:
        raise FfedgeError(f"{', '.join(missing)} must be there to fetch Debian's arm64 packages. Run this on Debian")
    key = hashlib.sha256(json.dumps([RECIPE, PACKAGES, *wanted]).encode()).hexdigest()[:16]
    place = cache.resolve() / f"aarch64-{key}"
    if not place.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            new = Path(folder) / "new"
            new.mkdir()
            _unpack_debian(Path(folder) / "apt", new)
            python = (new / "root/usr/bin/python3").resolve().name.removeprefix("python")
            wheels = arm_wheels.download(wanted, python, Path(folder) / "wheels")
            arm_wheels.unpack(wheels, new / "root/usr/lib/python3/dist-packages")
            (new / "python").write_text(WRAPPER)
            (new / "python").chmod(0o755)
            if not place.exists():  # else another process was faster
                new.rename(place)
    return Userspace(place)


def _unpack_debian(folder: Path, new: Path) -> None:
    """Fetch Debian's packages with an apt of our own; lay Python's into ``root`` and QEMU beside it."""
    apt = Apt(folder)
    packages = apt.fetch_all(PACKAGES)
    if apt.version(QEMU) < LEAST_QEMU:
        apt.add_stable()
    emulator = folder / "emulator"
    for package in packages:
        _run("dpkg-deb", "-x", str(package), str(new / "root"))
    _run("dpkg-deb", "-x", str(apt.fetch(QEMU)), str(emulator))
    (emulator / "usr/bin/qemu-aarch64").rename(new / "qemu-aarch64")
    if not (new / "root/lib").exists():  # Debian 13 leaves this link to a package that we do not need
        (new / "root/lib").symlink_to("usr/lib")


class Apt:
    """An apt for arm64 with state of its own in a folder, and the sources of this machine's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("state/lists/partial", "cache/archives/partial", "sources", "fetched"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        machine = _run("apt-config", "shell", "parts", "Dir::Etc::sourceparts/d")
        for source in sorted(Path(machine.partition("=")[2].strip().strip("'")).glob("*")):
            shutil.copy(source, folder / "sources")
        self.configuration = folder / "apt.conf"
        self.configuration.write_text(CONFIGURATION.format(folder=folder))
        self.run("apt-get", "update")

    def run(self, tool: str, *words: str) -> str:
        """Run apt-get or apt-cache here; return what it prints."""
        return _run(tool, "-q", "-c", str(self.configuration), *words, folder=self.folder / "fetched")

    def fetch_all(self, packages: Sequence[str]) -> list[Path]:
        """Fetch packages and all that they depend on."""
        self.run("apt-get", "install", "--yes", "--no-install-recommends", "--download-only", *packages)
        return sorted((self.folder / "cache/archives").glob("*.deb"))

    def fetch(self, package: str) -> Path:
        """Fetch one package alone."""
        self.run("apt-get", "download", package)
        return max((self.folder / "fetched").glob("*.deb"), key=lambda path: path.stat().st_mtime)

    def version(self, package: str) -> int:
        """Return the major version that `fetch` would fetch; 0 where there is none."""
        found = re.search(r"Candidate: (?:\d+:)?(\d+)", self.run("apt-cache", "policy", package))
        return int(found[1]) if found else 0

    def add_stable(self) -> None:
        """Have amd64 packages of Debian's present stable release too, from where the machine's sources get Debian."""
        wanted = ("Created-By: Packages", "Origin: Debian", "Label: Debian")
        places = self.run("apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted).split()
        if not places:
            raise FfedgeError(f"apt has no source of Debian itself, and {QEMU} must be {LEAST_QEMU} or newer. Add one")
        keys = f" signed-by={KEYS}" if KEYS.exists() else ""
        line = f"deb [arch=amd64{keys}] {places[0]} stable main\n"
        (self.folder / "sources" / "stable.list").write_text(line)
        self.run("apt-get", "update")


def _run(*command: str, folder: Path | None = None) -> str:
    """Run a program and return what it prints.

    Raises
    ------
    FfedgeError
        It failed; the message holds the last thing that it called an error.
    """
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"LC_ALL": "C"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.splitlines()
        why = [line for line in said if line.startswith(("E:", "dpkg-deb: error"))] or said or ["it said nothing"]
        words = " ".join(word for word in command[1:] if not word.startswith(("-", "/")))
        raise FfedgeError(f"Debian's packages cannot be had: `{command[0]} {words}` failed: {why[-1]}")
    return done.stdout
