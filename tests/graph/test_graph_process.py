"""The child process that builds graphs: it answers as the functions do, and is asked for everything at once."""

import base64
import dataclasses
import json
import subprocess
import sys
from itertools import product

import onnx
import pytest
from toys import clusters, make_loop, prepared, random_layers, small_spec

from ffedge.child import ask
from ffedge.graph import model_bytes, training_graph
from ffedge.graph.__main__ import answer
from ffedge.network import initial_state
from ffedge.runtime.stepper import OnnxEngine
from ffedge.tensors import write_tensors
from ffedge.training import graphs
from ffedge.training.checkpoint import Place


def test_the_child_builds_the_same_graphs_and_is_asked_once(monkeypatch):
    spec, facts = prepared(small_spec(), clusters())
    asked = []
    monkeypatch.setattr(graphs, "ask", lambda *args: asked.append(args) or ask(*args))
    build = graphs.training_graphs(spec, facts)
    for key in graphs.needed_kernels(spec, facts):
        assert build(key) == training_graph(spec, facts, key.kind, key.shape, key.flag)
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
    spec, facts = prepared(
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
        return training_graph(spec, facts, key.kind, key.shape, key.flag)

    make_loop(spec, clusters(), OnnxEngine(spec, facts, build, initial_state(spec, facts)), facts=facts).train(
        Place(), lambda: False
    )
    assert asked <= graphs.needed_kernels(spec, facts)


def test_a_model_is_written_from_the_weights_of_files_and_from_the_seed(tmp_path):
    """The second layer stands among others, with moments; the third has not begun to learn."""
    spec, facts = prepared(small_spec(label_layers="all"), clusters())
    layers = [*random_layers(spec, facts)[:2], initial_state(spec, facts)[2]]
    write_tensors(tmp_path / "0", layers[0], {})
    moments = {"layers.1.W.m": layers[1]["W"]}
    write_tensors(tmp_path / "1", {f"layers.1.{name}": value for name, value in layers[1].items()} | moments, {})
    sources = [(tmp_path / "0", ""), (tmp_path / "1", "layers.1."), None]
    graphs.write_model(spec, facts, sources, tmp_path / "model.onnx", {"version": "1"})
    written = (tmp_path / "model.onnx").read_bytes()
    assert written == model_bytes(spec, facts, layers, {"version": "1"})
    onnx.checker.check_model(onnx.load_from_string(written), full_check=True)


def test_a_request_stands_on_stdin_and_the_answer_on_stdout():
    spec, facts = prepared(small_spec(), clusters())
    key = next(iter(graphs.needed_kernels(spec, facts)))
    request = {
        "spec": spec.to_dict(),
        "input": facts.to_dict(),
        "keys": [(key.kind, dataclasses.astuple(key.shape), key.flag)],
    }
    done = subprocess.run(
        [sys.executable, "-m", "ffedge.graph"], input=json.dumps(request), capture_output=True, text=True, check=True
    )
    given = json.loads(done.stdout)
    assert given == {"answer": answer(json.loads(json.dumps(request)))}
    assert base64.b64decode(given["answer"][0]) == training_graph(spec, facts, key.kind, key.shape, key.flag)


def test_layers_of_equal_shape_share_their_graphs():
    spec, facts = prepared(small_spec(widths=(9, 9, 9, 9)), clusters())
    learning = [key for key in graphs.needed_kernels(spec, facts) if key.kind == "learn"]
    assert len(learning) == 3  # the first layer's, the other three's, and the trial's
