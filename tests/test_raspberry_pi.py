"""docs/raspberry-pi.md shows the sizes that were measured, and its commands and unit are such as exist."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import arm_wheels
import pytest
import results

from ffedge.cli.commands import parser_of

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "raspberry-pi.md").read_text()
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


def test_the_page_shows_the_sizes_of_the_newest_result():
    """Mended by: python tools/arm_wheels.py."""
    (path,) = results.newest("arm-wheels")
    assert f"\n{arm_wheels.page_block(json.loads(path.read_text())['results'])}\n" in PAGE


def test_the_page_says_how_far_arm_agreed():
    """Mended by hand, after: python tools/arm_check.py."""
    (path,) = results.newest("arm-check")
    lines = json.loads(path.read_text())["results"]["checks"]
    assert sum(line["found"]["labels_differ"] for line in lines) == 0
    assert max(line["found"]["rows"] for line in lines if line["check"] == "predict") == 10_000
    for check in ("predict", "train"):
        worst = max(line["found"]["worst"] for line in lines if line["check"] == check)
        assert f" {worst:.1e}".replace("e-0", "e-") in PAGE


def test_the_sizes_of_wheels_are_those_of_their_files(tmp_path):
    wheel = tmp_path / "some_thing-1.2-py3-none-any.whl"
    with arm_wheels.zipfile.ZipFile(wheel, "w", arm_wheels.zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("some_thing/a.py", "#" * 1000)
        archive.writestr("some_thing/b.py", "#" * 24)
    (found,) = arm_wheels.weigh([wheel])
    size = wheel.stat().st_size
    assert size < 1024
    assert found == {"package": "some-thing", "version": "1.2", "download_bytes": size, "unpacked_bytes": 1024}
    arm_wheels.unpack([wheel], tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.py")) == 1024


def test_the_table_adds_up_what_has_no_row():
    sizes = [50, 40, 30, 20, 10, 5]
    wheels = [
        {"package": f"p{s}", "version": "1", "download_bytes": s * 10**6, "unpacked_bytes": s * 2 * 10**6}
        for s in sizes
    ]
    lines = arm_wheels.page_block({"3.11": wheels}).splitlines()
    assert lines[2] == "| p50 | 50.0 | 100.0 |"
    assert lines[6:8] == ["| 2 others | 15.0 | 30.0 |", "| **all** | 155.0 | 310.0 |"]


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
