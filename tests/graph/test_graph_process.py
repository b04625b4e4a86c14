"""The child process that builds graphs: it answers as the functions do, and is asked for everything at once."""

import base64
import dataclasses
import json
import subprocess
import sys
from itertools import product

import pytest
from toys import clusters, make_loop, prepared, small_spec

from ffedge.child import ask
from ffedge.graph import training_graph
from ffedge.graph.__main__ import answer
from ffedge.network import initial_state
from ffedge.runtime.stepper import OnnxEngine
from ffedge.training import graphs
from ffedge.training.checkpoint import Place


def test_the_child_builds_the_same_graphs_and_is_asked_once(monkeypatch):
    recipe, facts = prepared(small_spec(), clusters())
    asked = []
    monkeypatch.setattr(graphs, "ask", lambda *args: asked.append(args) or ask(*args))
    build = graphs.Graphs(recipe, facts)
    for key in graphs.needed_kernels(recipe, facts):
        assert build(key) == training_graph(recipe, facts, key.kind, key.shape, key.flag)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("schedule", "batch_size", "negatives", "label_layers", "input_dropout", "variant"),
    list(
        product(
            ("greedy", "interleaved"), (16, "full"), ("fresh", "hard-sum"), ("first", "all"), (0.0, 0.2), ("ff", "acff")
        )
    ),
)
def test_training_asks_for_no_graph_that_was_not_foreseen(
    schedule, batch_size, negatives, label_layers, input_dropout, variant
):
    recipe, facts = prepared(
        small_spec(
            schedule=schedule,
            batch_size=batch_size,
            chunk_size=60,
            negatives=negatives,
            label_layers=label_layers,
            input_dropout=input_dropout,
            variant=variant,
            holdout=0.2,
            epochs=1,
        ),
        clusters(),
    )
    asked = set()

    def build(key):
        asked.add(key)
        return training_graph(recipe, facts, key.kind, key.shape, key.flag)

    make_loop(recipe, clusters(), OnnxEngine(recipe, facts, build, initial_state(recipe, facts)), facts=facts).train(
        Place(), lambda: False
    )
    assert asked <= graphs.needed_kernels(recipe, facts)


def test_a_request_stands_on_stdin_and_the_answer_on_stdout():
    recipe, facts = prepared(small_spec(), clusters())
    key = next(iter(graphs.needed_kernels(recipe, facts)))
    request = {
        "spec": recipe.to_dict(),
        "input": facts.to_dict(),
        "keys": [(key.kind, dataclasses.astuple(key.shape), key.flag)],
    }
    done = subprocess.run(
        [sys.executable, "-m", "ffedge.graph"], input=json.dumps(request), capture_output=True, text=True, check=True
    )
    given = json.loads(done.stdout)
    assert given == json.loads(json.dumps({"answer": answer(json.loads(json.dumps(request)))}))
    graph = base64.b64decode(given["answer"]["graphs"][0]["graph"])
    assert graph == training_graph(recipe, facts, key.kind, key.shape, key.flag)


def test_layers_of_equal_shape_share_their_graphs():
    recipe, facts = prepared(small_spec(widths=(9, 9, 9, 9)), clusters())
    learning = [key for key in graphs.needed_kernels(recipe, facts) if key.kind == "learn"]
    assert len(learning) == 3  # the first layer's, the other three's, and the trial's
