"""What a stranger's file may do: be read, or be refused in one line."""

import pytest
from toys import clusters, make_model, small_spec


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFEDGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model():
    return make_model(small_spec(), clusters())
