"""The aarch64 wheels of what ffedge needs: fetched by pip on any machine, unpacked, weighed.

    python tools/arm_wheels.py      # the table, bench/results/arm-wheels-….json, and the table of docs/raspberry-pi.md

Python 3.11 and 3.13 are those of Raspberry Pi OS bookworm and trixie. pip resolves as it does on such a board and
takes wheels alone: where a package has none, the command says which. Unpacked bytes are the files', without bytecode.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench"), str(ROOT / "tools")]

from common import table, write_results  # noqa: E402
from wording import table as markdown  # noqa: E402

from ffedge.errors import FfedgeError  # noqa: E402

MACHINE = "aarch64"
OLDEST, NEWEST = 17, 36  # glibc 2.17 to Raspberry Pi OS bookworm's 2.36
PYTHONS = ("3.11", "3.13")
LARGEST = 4  # packages with a row of their own in the table
COMMAND = "python tools/arm_wheels.py"
PAGE = ROOT / "docs" / "raspberry-pi.md"
BLOCK = re.compile(r"(<!-- generated: arm-wheels -->\n).*?(<!-- /generated -->)", re.DOTALL)


def main(words: list[str] | None = None) -> int:
    """Weigh, print, write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results", help="folder of the result")
    options = parser.parse_args(words)
    try:
        found = {python: _fetched(python) for python in PYTHONS}
    except FfedgeError as error:
        print(f"arm_wheels: {error}", file=sys.stderr)
        return 1
    path = write_results("arm-wheels", {"machine": MACHINE, "requirements": requirements()}, found, options.out, ())
    for python, wheels in found.items():
        print(f"\nPython {python}, {MACHINE}")
        rows = [[w["package"], w["version"], w["download_bytes"], w["unpacked_bytes"]] for w in wheels]
        print(table(["package", "version", "download_bytes", "unpacked_bytes"], rows))
    if options.out.resolve() == ROOT / "bench" / "results":
        PAGE.write_text(BLOCK.sub(lambda marks: marks[1] + page_block(found) + "\n" + marks[2], PAGE.read_text()))
    print(f"\nwritten to {path}")
    return 0


def requirements() -> list[str]:
    """Return what ``pip install ffedge`` installs beside ffedge, as pyproject.toml names it."""
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])


def download(wanted: Sequence[str], python: str, folder: Path) -> list[Path]:
    """Fetch the aarch64 wheels of packages and of all that they need.

    Parameters
    ----------
    wanted : requirements as pip reads them.
    python : ``3.11``.

    Raises
    ------
    FfedgeError
        pip is not there, or a package has no such wheel, or the registry does not answer.
    """
    tags = [f"--platform=manylinux_2_{glibc}_{MACHINE}" for glibc in range(NEWEST, OLDEST - 1, -1)]
    tags += [f"--platform=manylinux2014_{MACHINE}", f"--python-version={python}", "--only-binary=:all:"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "-d", str(folder)]
    done = subprocess.run([*pip, *tags, *wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        why = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        raise FfedgeError(
            f"pip cannot have the {MACHINE} wheels for Python {python} of {', '.join(wanted)}: "
            f"{(why or ['it said nothing'])[0].removeprefix('ERROR: ')}"
        )
    return sorted(folder.glob("*.whl"))


def unpack(wheels: Sequence[Path], folder: Path) -> None:
    """Unpack wheels beside each other, as pip does but for their commands."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)


def weigh(wheels: Sequence[Path]) -> list[dict[str, Any]]:
    """Return what wheels take, the largest first: package, version, download_bytes, unpacked_bytes."""
    found = []
    for wheel in wheels:
        package, version = wheel.name.split("-")[:2]
        with zipfile.ZipFile(wheel) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        sizes = {"download_bytes": wheel.stat().st_size, "unpacked_bytes": unpacked}
        found.append({"package": package.replace("_", "-"), "version": version} | sizes)
    return sorted(found, key=lambda each: -each["unpacked_bytes"])


def page_block(found: dict[str, list[dict[str, Any]]]) -> str:
    """Tabulate, for docs/raspberry-pi.md, the largest packages, the others together, and all."""
    first = next(iter(found.values()))
    named = [wheel["package"] for wheel in first[:LARGEST]]
    others = f"{len(first) - LARGEST} others"
    rows = []
    for title in (*named, others, "**all**"):
        row = [title]
        for wheels in found.values():
            chosen = [
                w
                for w in wheels
                if title == "**all**" or title == w["package"] or (title == others and w["package"] not in named)
            ]
            row += [f"{sum(w[unit] for w in chosen) / 1e6:.1f}" for unit in ("download_bytes", "unpacked_bytes")]
        rows.append(row)
    head = [f"{what}, Python {python}" for python in found for what in ("MB to fetch", "MB unpacked")]
    return f"{markdown(['package', *head], rows)}\n\n`{COMMAND}`"


def _fetched(python: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        return weigh(download(requirements(), python, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
