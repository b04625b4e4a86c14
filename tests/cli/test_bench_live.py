"""What a person sees while arms are measured."""

import os
from collections.abc import Callable

import pytest

from ffedge.cli.bench_live import Live, minutes
from ffedge.compare.arms import Work
from ffedge.compare.measurer import Job

JOB = Job("memory", "backprop-adam", Work(), 1)


Capture = pytest.CaptureFixture[str]


@pytest.fixture
def shown(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Show one measurement, on a terminal or not, whose child is alive once for each process id."""

    def show(*pids: int, terminal: bool) -> str:
        monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
        live = Live()
        live.begin(3, 40.0, kept=True)
        live.job(1, JOB, 30.0)
        for pid in pids:
            live.alive(pid)
        live.end()
        return capsys.readouterr().err

    return show


def test_a_terminal_shows_the_childs_memory_which_of_how_many_and_how_long(shown: Callable[..., str]) -> None:
    text = shown(os.getpid(), terminal=True)
    assert "3 measurements, about 40 s." in text
    assert "[2/3] backprop-adam, 4 x 500, batch 64, run 2  0 s so far, about 30 s left" in text
    assert " MiB" in text
    assert text.endswith("\r\x1b[2K")  # the line is taken away


def test_a_child_that_has_ended_meanwhile_is_no_error(shown: Callable[..., str]) -> None:
    assert "MiB" not in shown(2**22 + 1, terminal=True)


def test_a_log_gets_a_line_a_measurement_and_no_control_codes(shown: Callable[..., str]) -> None:
    text = shown(os.getpid(), terminal=False)
    assert len(text.splitlines()) == 2
    assert "\x1b" not in text


def test_seconds_are_said_as_a_person_does() -> None:
    assert [minutes(s) for s in (3.4, 99, 100, 3000)] == ["3 s", "99 s", "2 min", "50 min"]
