"""A child process answers one request, knows nothing of this process, and fails loudly."""

import errno
import os
import sys

import pytest

from ffedge.child import ask
from ffedge.errors import DataError, FfedgeError


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that answers by a function's body, and return its name."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(body):
        (tmp_path / "served.py").write_text(
            f"import os, sys\nfrom ffedge.child import serve\n\ndef answer(request):\n    {body}\n\nserve(answer)\n"
        )
        return "served"

    return write


def test_the_answer_comes_back_whole(module):
    name = module("return {'twice': 2 * request['number'], 'letters': 'äß'}")
    assert ask(name, {"number": 4}) == {"twice": 8, "letters": "äß"}


def test_what_a_child_prints_before_its_answer_is_no_answer(module):
    assert ask(module("print('noise'); return 1"), {}) == 1


def test_the_child_has_not_imported_what_this_process_has(module):
    assert "pytest" in sys.modules
    assert ask(module("return 'pytest' in sys.modules or 'numpy' in sys.modules"), {}) is False


def test_variables_are_set_beside_those_of_this_process(module, monkeypatch):
    monkeypatch.setenv("HERE", "1")
    assert ask(module("return [os.environ['HERE'], os.environ['THERE']]"), {}, {"THERE": "2"}) == ["1", "2"]


def test_a_full_disk_in_the_child_is_one_here(module):
    with pytest.raises(OSError, match="No space left on device") as caught:
        ask(module(f"raise OSError({errno.ENOSPC}, 'No space left on device')"), {})
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("kind", [DataError, ValueError])
def test_what_a_user_can_mend_keeps_its_one_line(module, kind):
    body = f"from ffedge.errors import DataError; raise {kind.__name__}('x.npz: holds no rows')"
    with pytest.raises(FfedgeError if kind is DataError else ValueError, match=r"^x.npz: holds no rows$"):
        ask(module(body), {})


def test_a_bug_in_the_child_keeps_its_traceback(module):
    with pytest.raises(RuntimeError, match=r"served failed:\n(.|\n)*ZeroDivisionError"):
        ask(module("return 1 / 0"), {})


def test_who_waits_hears_the_childs_process_id_and_the_answer_stays_whole(module):
    heard = []
    long = ask(
        module("import time; time.sleep(0.8); return [os.getpid(), 'x' * 200_000]"),
        {"fill": "y" * 200_000},
        None,
        heard.append,
    )
    assert set(heard) == {long[0]}
    assert len(heard) >= 2
    assert len(long[1]) == 200_000


def test_a_child_ends_with_the_wait_for_it(module):
    heard = []

    def stop(pid):
        heard.append(pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(module("import time; time.sleep(60)"), {}, None, stop)
    assert not os.path.exists(f"/proc/{heard[0]}")
