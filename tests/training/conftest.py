"""Graphs and model files are made in this process: the child that makes them is tested in tests/graph."""

import pytest
from toys import ask_here

from ffedge.training import graphs


@pytest.fixture(autouse=True)
def graphs_here(monkeypatch):
    monkeypatch.setattr(graphs, "_ask", ask_here)
