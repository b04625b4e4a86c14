"""Whatever is done to a file that ffedge reads: it is read, or refused in one line, in little memory."""

import pytest
from damage import damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from targets import Target, hold, targets

from ffedge.data.images import FORMATS
from ffedge.errors import DataError

KINDS = ("model", "report", "checkpoint", "kept", "idx", "idx labels", "gz", "npz", "npy", "npy labels", "lines", "nir")
KINDS += tuple(map(str.lower, FORMATS))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return targets(tmp_path_factory.mktemp("good"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_read(good, tmp_path, kind):
    if kind not in good:
        pytest.skip("needs Pillow, or nir and h5py")
    target = good[kind]
    assert hold(target, target.files[target.main], tmp_path) == "read"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rng=st.randoms(use_true_random=False))
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused_in_one_line(good, tmp_path, kind, rng):
    if kind not in good:
        pytest.skip("needs Pillow, or nir and h5py")
    target = good[kind]
    hold(target, damaged(target.files[target.main], rng), tmp_path)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (DataError("nothing of the file"), "does not name the file"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), "does not name the file"),
        (ValueError("one\ntwo"), "is no line"),
        (ValueError("x" * 3000), "is no line"),
        (KeyError("x"), "x"),
    ],
)
def test_a_broken_promise_is_seen(tmp_path, error, why):
    def use(path):
        raise error

    with pytest.raises((AssertionError, KeyError), match=why):
        hold(Target({"a": b""}, "a", use), b"", tmp_path)
