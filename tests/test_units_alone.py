"""Each unit used where only its own packages are installed, and what is not loaded until it is used."""

import json

import numpy as np
import pytest
from boundaries import TABLE
from toys import clusters, in_child, make_model, prepared, small_spec

import ffedge

THIRD_PARTY = {
    "PIL",
    "flwr",
    "h5py",
    "joblib",
    "matplotlib",
    "nir",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxsim",
    "safetensors",
    "scipy",
    "sklearn",
    "torch",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write what a unit needs to be used alone: a model, some inputs, a recipe."""
    path = tmp_path_factory.mktemp("alone")
    recipe, facts = prepared(small_spec(epochs=1), clusters())
    (path / "recipe.json").write_text(json.dumps({"spec": recipe.to_dict(), "input": facts.to_dict()}))
    (path / "model.onnx").write_bytes(make_model(small_spec(), clusters())[0])
    np.save(path / "raw.npy", clusters().train.inputs.take(np.arange(16)))
    (path / "given.py").write_text(GIVEN)
    return path


GIVEN = """
import json
import numpy as np

def data():
    from ffedge.data.dataset import Dataset, Split
    from ffedge.data.rows import ArrayRows
    split = Split(ArrayRows(np.load("raw.npy")), np.arange(16) % 4)
    return Dataset("x", split, None, tuple(f"class {c}" for c in range(4)), "sha")

def recipe_and_facts():
    from ffedge.network import InputFacts
    from ffedge.recipe import Recipe
    stored = json.load(open("recipe.json"))
    return Recipe.from_dict(stored["spec"]), InputFacts.from_dict(stored["input"])
"""
USES = {
    "__init__": "import ffedge; print(ffedge.__version__)",
    "compare": "from ffedge.compare.arms import ARMS, Work; print(len(ARMS), Work().text)",
    "version": "from ffedge.version import __version__; print(__version__)",
    "columns": """
        from ffedge.columns import Column
        print(Column("mode", "category", ("off", "on")).code("on"))
    """,
    "turns": """
        from ffedge.turns import Turns
        with Turns() as turns, turns:
            print("mine")
        """,
    "files": """
        from pathlib import Path
        from ffedge.files import atomic_file
        with atomic_file(Path("file")) as file: print(file.write_text("1"))
    """,
    "errors": "from ffedge.errors import FfedgeError; print(FfedgeError('x'))",
    "json_text": 'from ffedge.json_text import parse; print(parse("[1]"))',
    "fields": "from ffedge.fields import bytes_of; print(bytes_of('64MiB'))",
    "presets": "from ffedge.presets import PRESETS; print(len(PRESETS))",
    "spec_parts": "from ffedge.spec_parts import RuleSpec; print(RuleSpec())",
    "spec": "from ffedge.spec import Spec; print(Spec.from_dict(Spec.make('paper').to_dict()))",
    "seeds": "from ffedge.seeds import Draw, generator; print(generator(0, Draw.ORDER, 1).random())",
    "labels": """
        import numpy as np
        from ffedge.labels import wrong_labels
        from ffedge.seeds import Draw, key
        print(wrong_labels(np.arange(4), np.arange(4), 2, 5, key(2, 0, Draw.NEGATIVES)))
    """,
    "meter": "from ffedge.meter import PeakMeter; print(PeakMeter().start())",
    "pages": "import numpy as np; from ffedge.pages import copy; a = np.ones(3); copy(a, a); print(a.sum())",
    "tensors": """
        from pathlib import Path
        import numpy as np
        from ffedge.tensors import TensorFile, write_tensors
        write_tensors(Path("tensors"), {"a": np.ones(3, np.float32)}, {})
        print(TensorFile(Path("tensors")).check())
    """,
    "onnx": """
        from ffedge.onnx.graph import GraphBuilder, model_bytes
        from ffedge.onnx.memory import most_alive
        g = GraphBuilder("twice")
        g.op("Add", g.input("x", ("N",)), "x", out="y")
        g.output("y", ("N",))
        print(len(model_bytes(g.graph)), most_alive(g.graph, {"N": 3}))
    """,
    "kinds": "from ffedge.kinds import LAYERS; print(LAYERS)",
    "layers": """
        from ffedge.layers.base import LayerPlace
        from ffedge.layers.dense import Dense
        print(Dense.made(LayerPlace(0, 16, 3, True, 1.0, None, "mean"), "8").draw(0)["W"].sum())
    """,
    "rule": """
        from ffedge.onnx.graph import GraphBuilder
        from ffedge.layers.base import LayerPlace
        from ffedge.layers.dense import Dense
        from ffedge.rule.goodness import Mean
        g, layer = GraphBuilder("good"), Dense.made(LayerPlace(0, 16, 3, True, 1.0, None, "mean"), "8")
        print(Mean(layer).of(g, g.input("y", ("R", 8)), 1, {}))
    """,
    "learning": """
        import shutil, sys
        from ffedge.learning.learn import learn
        from given import data
        shutil.copy("model.onnx", "mine.onnx")
        print(learn("mine.onnx", data(), epochs=2, max_drop=1.0, force=True).rows)
        assert not {"torch", "onnx"} & set(sys.modules)
    """,
    "recipe": "from ffedge.recipe import alpha_matrix; print(alpha_matrix('ones', 'all', 'acff', 3))",
    "resolve": """
        from ffedge.network import InputFacts
        from ffedge.resolve import resolve
        from ffedge.spec import Spec
        print(resolve(Spec.make(), InputFacts((16,), "uint8", ("a", "b", "c")), 100).to_dict())
    """,
    "network": """
        from given import recipe_and_facts
        from ffedge.network import initial_state
        print(initial_state(*recipe_and_facts())[0]["W"].sum())
    """,
    "data": """
        import numpy as np
        from ffedge.data import load
        print(load("mnist-mini").train.inputs.take(np.arange(3)).sum())
    """,
    "engine": """
        import numpy as np
        from given import recipe_and_facts
        from ffedge.engine.onnx import OnnxEngine
        from ffedge.network import initial_state
        recipe, facts = recipe_and_facts()
        engine = OnnxEngine(recipe, facts, initial_state(recipe, facts))
        engine.begin([0], chunked=False)
        labels, other = np.tile(np.arange(3), (16, 1)), np.zeros((16, 3), np.float32)
        source = engine.product(np.load("raw.npy"), None)
        print(engine.learn(0, source, labels, other, batch=16, step=0, rate=0.01, emit=False).loss)
    """,
    "model": """
        from pathlib import Path
        from given import recipe_and_facts
        from ffedge.model.file import Model
        from ffedge.model.write import write_model
        from ffedge.network import initial_state
        recipe, facts = recipe_and_facts()
        write_model(Path("written.onnx"), recipe, facts, initial_state(recipe, facts), {})
        print(len(Model(Path("written.onnx")).layers()))
    """,
    "predict": """
        import numpy as np
        from pathlib import Path
        from given import data
        from ffedge.predict.evaluation import evaluate
        from ffedge.predict.predictor import Predictor
        from ffedge.predict.recalibration import recalibrate
        print(Predictor("model.onnx").predict(np.load("raw.npy")).label)
        print(evaluate(Predictor("model.onnx"), data()).accuracy)
        print(recalibrate(Path("model.onnx"), data(), 0.5, Path("other.onnx")).known)
    """,
    "spikes": """
        import dataclasses
        import numpy as np
        from given import recipe_and_facts
        from ffedge.network import initial_state
        from ffedge.spikes import SpikingPredictor
        from ffedge.spikes.convert import convert
        (recipe, facts), raw = recipe_and_facts(), np.load("raw.npy")
        recipe = dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, norm="fixed"))
        network = convert(recipe, facts, initial_state(recipe, facts), raw, timesteps=8)
        print(SpikingPredictor(network).predict(raw).label)
    """,
    "training": """
        import sys
        from pathlib import Path
        import ffedge
        from ffedge.errors import FfedgeError
        spec = ffedge.Spec.make(widths=(8,), epochs=1, batch_size=1000)
        run = ffedge.train(spec, "mnist-mini", Path("run"), force=True)
        print(run.report.test_accuracy)
        assert not {"torch", "onnx"} & set(sys.modules)
    """,
    "export": """
        from pathlib import Path
        from ffedge.export.forms import Forms
        from ffedge.export.source import read_trained
        print(len(Forms(read_trained(Path("model.onnx")), None).make("exact").model))
    """,
    "sweeps": """
        from ffedge.sweeps.run import sweep
        asked = {"widths": [[8]], "epochs": 1, "batch_size": 1000}
        print(sweep(asked, "swept")[0]["accuracy"])
    """,
    "class_weight": "from ffedge.class_weight import read; print(read('ok=1,fault=30'))",
    "page": """
        from pathlib import Path
        import ffedge
        from ffedge.page.page import page
        ffedge.train(ffedge.Spec.make(widths=(8,), epochs=1, batch_size=1000), "mnist-mini", Path("shown"), force=True)
        print(len(page(Path("shown"))))
        from ffedge.page.demo import Demo
        with Demo(Path("shown/model.onnx")).site(0) as site: print(site.url)
    """,
    "sklearn": """
        import numpy as np
        from ffedge.sklearn import FFClassifier
        rows = np.arange(40.0)[:, None]
        print(FFClassifier(widths=(8,), epochs=1).fit(rows, rows[:, 0] > 20).predict(rows))
    """,
    "fleet": """
        import shutil, sys
        from pathlib import Path
        from given import data
        from ffedge.fleet.board import board_round
        from ffedge.learning.kin import kind_of
        from ffedge.model.file import Model
        shutil.copy("model.onnx", "board.onnx")
        model = Model("board.onnx")
        words = {"kind": kind_of(model.recipe, model.facts), "wanted": model.fingerprint()}
        print(board_round(Path("board.onnx"), data(), {}, [0], epochs=1, **words)[0].rows)
        assert "flwr" not in sys.modules
    """,
    "cli": """
        import sys
        from ffedge.cli import main
        assert main(["--version"]) == 0
        assert not {"numpy", "ffedge.training", "ffedge.predict"} & set(sys.modules)
    """,
}


def packages_of(unit):
    """Return the packages that a unit and the units that it stands on may load."""
    seen, waiting = set(), {unit}
    while waiting:
        seen |= waiting
        waiting = {name for one in waiting for name in TABLE[one].units.split()} - seen
    return {package for one in seen for package in TABLE[one].packages.split()}


@pytest.mark.parametrize("unit", USES)
def test_a_unit_works_where_only_its_own_packages_are_installed(folder, unit):
    assert in_child(USES[unit], hidden=THIRD_PARTY - packages_of(unit), cwd=folder).strip()


def test_every_unit_is_used_alone():
    assert set(USES) == set(TABLE) - {"__main__"}


def test_a_hidden_package_cannot_be_imported():
    """Guards the tests above."""
    with pytest.raises(AssertionError, match=r"ModuleNotFoundError: No module named 'onnx"):
        in_child("import onnx.helper", hidden={"onnx"})


def test_importing_ffedge_loads_nothing():
    printed = in_child("import sys, ffedge; print(*sorted(name for name in sys.modules if 'ffedge' in name))")
    assert printed.split() == ["ffedge", "ffedge.version"]


def test_public_names_are_found_on_first_use():
    for name in ffedge.__all__:
        assert getattr(ffedge, name) is not None
    with pytest.raises(AttributeError, match=r"module 'ffedge' has no attribute 'banana'"):
        _ = ffedge.banana
