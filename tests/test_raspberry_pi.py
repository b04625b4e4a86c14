"""docs/raspberry-pi.md says what was measured, and its commands and unit are such as exist."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import results

from ffedge.cli.commands import parser_of

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "raspberry-pi.md").read_text()
WORDS = " ".join(PAGE.split())
UNIT = DOCS / "ffedge.service"
LINES = [
    line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]


@pytest.mark.parametrize("line", [line for line in LINES if re.search(r"(^|[/ ])ffedge (?!&&)", line)])
def test_a_command_of_the_page_names_what_exists(line):
    for command in re.findall(r"(?:^|/|\| )ffedge ([^|&]*)", line):
        name, *words = shlex.split(command, comments=True)
        if name.startswith("--"):
            continue
        known = {text for action in parser_of(name).flags() for text in action.option_strings}
        assert {word for word in words if word.startswith("--")} <= known


def test_the_page_says_how_far_arm_agreed_and_what_pip_installs():
    """Mended by hand, after: python tools/arm_check.py --rows 2000."""
    (path,) = results.newest("arm-check")
    found = json.loads(path.read_text())["results"]
    checks = {name: [check for check in found["checks"] if check["check"] == name] for name in ("predict", "train")}
    assert not any(check["faults"] or check["labels_differ"] for check in found["checks"])
    rows = max(check["rows"] for check in checks["predict"])
    assert f"none of {len(checks['predict'])} models gives one of {rows:,} images another label" in WORDS
    for lines in checks.values():
        assert f" {max(check['worst'] for check in lines):.1e}".replace("e-0", "e-") in WORDS
    sizes = sorted(((size / 1e6, name.split()[0]) for name, size in found["packages_bytes"].items()), reverse=True)
    largest = ", ".join(f"{name} {size:.0f}" for size, name in sizes[:3])
    total = sum(size for size, _ in sizes)
    assert f": {total:.0f} MB ({largest}, and {len(sizes) - 3} others)." in WORDS


def test_the_unit_limits_memory_and_reads_sensors():
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    assert f"MemoryMax={service['MemoryMax']}" in PAGE
    assert int(service["MemoryHigh"].removesuffix("M")) < int(service["MemoryMax"].removesuffix("M"))
    command = re.search(r"ffedge predict (\S+) - (.*)'$", service["ExecStart"])
    assert set(re.findall(r"--\S+", command[2])) <= {
        text for action in parser_of("predict").flags() for text in action.option_strings
    }
    assert unit["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit():
    done = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
