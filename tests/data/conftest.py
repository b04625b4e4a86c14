"""Tests of data keep out of the user's cache."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFEDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
