"""Where torch is not installed, the tests that need it are skipped and say so. Property tests have no deadline."""

from importlib.util import find_spec

import hypothesis
import pytest

hypothesis.settings.register_profile("ffedge", deadline=None)  # a busy machine is not a failure
hypothesis.settings.load_profile("ffedge")


def pytest_collection_modifyitems(items):
    if find_spec("torch") is None:
        for item in items:
            if item.get_closest_marker("torch"):
                item.add_marker(pytest.mark.skip(reason="needs torch, which is not installed"))
