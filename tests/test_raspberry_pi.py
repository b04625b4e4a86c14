"""docs/raspberry-pi.md says what was measured, and its unit is one that systemd takes."""

import configparser
import json
import re
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
    largest = ", ".join(f"{name} {size:.0f}" for size, name in sizes[:2])
    total = sum(size for size, _ in sizes)
    assert f" {total:.0f} MB on the card ({largest}, and {len(sizes) - 2} others)." in WORDS


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
