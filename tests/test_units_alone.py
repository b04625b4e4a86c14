"""Each unit used where only its own packages are installed, and what is not loaded until it is used."""

import base64
import json

import numpy as np
import pytest
from boundaries import TABLE
from ffedge.training.graphs import needed_kernels
from toys import builder, clusters, in_child, make_model, prepared, small_spec

import ffedge

THIRD_PARTY = {
    "PIL",
    "h5py",
    "matplotlib",
    "nir",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxsim",
    "safetensors",
    "scipy",
    "torch",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write what a unit needs to be used alone: a model, some inputs, the graphs of training."""
    path = tmp_path_factory.mktemp("alone")
    recipe, facts = prepared(small_spec(epochs=1), clusters())
    build = builder(recipe, facts)
    graphs = {repr(key): base64.b64encode(build(key)).decode() for key in needed_kernels(recipe, facts)}
    plain = {"spec": recipe.to_dict(), "input": facts.to_dict(), "graphs": graphs}
    (path / "training.json").write_text(json.dumps(plain))
    (path / "model.onnx").write_bytes(make_model(small_spec(), clusters())[0])
    np.save(path / "raw.npy", clusters().train.inputs.take(np.arange(16)))
    return path


USES = {
    "__init__": "import ffedge; print(ffedge.__version__)",
    "compare": "from ffedge.compare.arms import ARMS, Work; print(len(ARMS), Work().text)",
    "version": "from ffedge.version import __version__; print(__version__)",
    "files": """
        from pathlib import Path
        from ffedge.files import atomic_file
        with atomic_file(Path("file")) as file: print(file.write_text("1"))
    """,
    "errors": "from ffedge.errors import FfedgeError; print(FfedgeError('x'))",
    "json_text": 'from ffedge.json_text import parse; print(parse("[1]"))',
    "fields": "from ffedge.fields import bytes_of; print(bytes_of('64MiB'))",
    "presets": "from ffedge.presets import PRESETS; print(len(PRESETS))",
    "spec": "from ffedge.spec import Spec; print(Spec.from_dict(Spec.make('paper').to_dict()))",
    "seeds": "from ffedge.seeds import Draw, generator; print(generator(0, Draw.ORDER, 1).random())",
    "labels": """
        import numpy as np
        from ffedge.labels import wrong_labels
        from ffedge.seeds import Draw, key
        print(wrong_labels(np.arange(4), np.arange(4), 2, 5, key(2, 0, Draw.NEGATIVES)))
    """,
    "calibration": "import numpy as np; from ffedge.model.calibration import calibrate; a = np.arange(9.0); "
    "print(calibrate(a, a, 0.5))",
    "meter": "from ffedge.meter import PeakMeter; print(PeakMeter().start())",
    "pages": "import numpy as np; from ffedge.pages import copy; a = np.ones(3); copy(a, a); print(a.sum())",
    "tensors": """
        from pathlib import Path
        import numpy as np
        from ffedge.tensors import TensorFile, write_tensors
        write_tensors(Path("tensors"), {"a": np.ones(3, np.float32)}, {})
        print(TensorFile(Path("tensors")).check())
    """,
    "wire": "from ffedge.onnx.wire import text; print(text(1, 'x'))",
    "liveness": "from ffedge.onnx.memory import most_bytes; print(most_bytes([(1, 2)], 3))",
    "stages": "from ffedge.stages import wire; print(wire('W', 'tile', 1))",
    "learning": """
        import dataclasses, shutil, sys
        from ffedge.learning.learn import learn
        from toys_without_graphs import data
        shutil.copy("model.onnx", "mine.onnx")
        rows = dataclasses.replace(data(), classes=tuple(f"class {c}" for c in range(4)))
        print(learn("mine.onnx", rows, epochs=2, max_drop=1.0).rows)
        assert not {"torch", "onnx", "ffedge.graph"} & set(sys.modules)
    """,
    "recipe": "from ffedge.recipe import alpha_matrix; print(alpha_matrix('ones', 'all', 'acff', 3))",
    "resolve": """
        from ffedge.network import InputFacts
        from ffedge.resolve import resolve
        from ffedge.spec import Spec
        print(resolve(Spec.make(), InputFacts((16,), "uint8", ("a", "b", "c")), 100).to_dict())
    """,
    "network": """
        from ffedge.network import LayerShape
        print(LayerShape(0, 16, 8, 3, True).initial(0)["W"].sum())
    """,
    "data": """
        import numpy as np
        from ffedge.data import load
        print(load("mnist-mini").train.inputs.take(np.arange(3)).sum())
    """,
    "graph": """
        import json
        from ffedge.graph import template, training_graph
        from ffedge.network import InputFacts, layers_of
        from ffedge.recipe import Recipe
        stored = json.load(open("training.json"))
        recipe, facts = Recipe.from_dict(stored["spec"]), InputFacts.from_dict(stored["input"])
        shapes = layers_of(recipe, facts)
        print(len(training_graph(recipe, facts, "learn", shapes[0], True)))
        print(len(template(recipe, facts)))
    """,
    "model_file": """
        import json
        from pathlib import Path
        from ffedge.model_file import model_content, write_model
        from ffedge.network import InputFacts, initial_state
        from ffedge.recipe import Recipe
        stored = json.load(open("training.json"))
        recipe, facts = Recipe.from_dict(stored["spec"]), InputFacts.from_dict(stored["input"])
        template = bytes([7 << 3 | 2, 0])  # a model with an empty graph
        write_model(Path("written.onnx"), template, *model_content(recipe, facts, initial_state(recipe, facts), {}))
        print(Path("written.onnx").stat().st_size)
    """,
    "runtime": """
        import base64, json
        import numpy as np
        from ffedge.network import InputFacts
        from ffedge.predict.predictor import Predictor
        from ffedge.network import initial_state
        from ffedge.engine.onnx import OnnxEngine
        from ffedge.recipe import Recipe

        raw, stored = np.load("raw.npy"), json.load(open("training.json"))
        print(Predictor("model.onnx").predict(raw).label)
        recipe, facts = Recipe.from_dict(stored["spec"]), InputFacts.from_dict(stored["input"])
        build = lambda key: base64.b64decode(stored["graphs"][repr(key)])
        engine = OnnxEngine(recipe, facts, build, initial_state(recipe, facts))
        engine.begin([0], chunked=False)
        labels = np.tile(np.arange(3), (16, 1))
        print(engine.learn(0, engine.product(raw, None), labels, np.zeros((16, 3), np.float32),
                           batch=16, step=0, rate=0.01, emit=False).loss)
    """,
    "evaluation": """
        from ffedge.predict.evaluation import evaluate
        from ffedge.predict.predictor import Predictor
        from toys_without_graphs import data
        print(evaluate(Predictor("model.onnx"), data()).accuracy)
    """,
    "spikes": """
        import json
        import numpy as np
        from ffedge.network import InputFacts, initial_state
        from ffedge.recipe import Recipe
        from ffedge.spikes import SpikingPredictor
        from ffedge.spikes.convert import convert
        stored, raw = json.load(open("training.json")), np.load("raw.npy")
        stored["spec"]["network"]["norm"] = "fixed"
        recipe, facts = Recipe.from_dict(stored["spec"]), InputFacts.from_dict(stored["input"])
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
        assert not {"torch", "onnx", "ffedge.graph"} & set(sys.modules)
    """,
    "recalibration": """
        from pathlib import Path
        from ffedge.predict.recalibration import recalibrate
        from toys_without_graphs import data
        print(recalibrate(Path("model.onnx"), data(), 0.5, Path("other.onnx")).known)
    """,
    "reference": """
        from ffedge.network import InputFacts
        from ffedge.engine.torch import TorchEngine
        from ffedge.resolve import resolve
        from ffedge.spec import Spec
        facts = InputFacts((16,), "float32", ("a", "b", "c"))
        print(TorchEngine(resolve(Spec.make(widths=(4,)), facts, 100), facts, []).in_place)
    """,
    "exporting": """
        from pathlib import Path
        from ffedge.export.forms import Forms
        from ffedge.export.source import read_trained
        print(len(Forms(read_trained(Path("model.onnx")), None).make("exact").model))
    """,
    "cli": """
        import sys
        from ffedge.cli import main
        assert main(["--version"]) == 0
        assert not {"numpy", "ffedge.training", "ffedge.runtime"} & set(sys.modules)
    """,
}
ALSO = {  # packages of the units that a unit stands on
    "training": {"onnxruntime"},
    "evaluation": {"onnxruntime"},
    "recalibration": {"onnxruntime"},
    "spikes": {"onnxruntime"},
    "learning": {"onnxruntime"},
    "stages": {"numpy"},
    "resolve": {"numpy"},
}


@pytest.mark.parametrize(
    "unit", [pytest.param(unit, marks=[pytest.mark.torch] if unit == "reference" else []) for unit in USES]
)
def test_a_unit_works_where_only_its_own_packages_are_installed(folder, unit):
    (folder / "toys_without_graphs.py").write_text(
        "import numpy as np\n"
        "from ffedge.data.dataset import Dataset, Split\n"
        "from ffedge.data.rows import ArrayRows\n"
        "def data():\n"
        "    split = Split(ArrayRows(np.load('raw.npy')), np.arange(16) % 4)\n"
        "    return Dataset('x', split, None, tuple('abcd'), 'sha')\n"
    )
    hidden = THIRD_PARTY - set(TABLE[unit].packages.split()) - ALSO.get(unit, set())
    assert in_child(USES[unit], hidden=hidden, cwd=folder).strip()


def test_every_unit_is_used_alone():
    assert set(USES) == set(TABLE) - {"__main__"}


def test_a_hidden_package_cannot_be_imported():
    """Guards the tests above."""
    with pytest.raises(AssertionError, match=r"ModuleNotFoundError: No module named 'onnx"):
        in_child("import onnx.helper", hidden={"onnx"})


def test_a_graph_is_built_without_onnxruntime_or_torch_being_loaded(folder):
    printed = in_child(
        """
        import sys
        import ffedge.graph.__main__
        print(*sorted({"onnxruntime", "torch"} & set(sys.modules)))
        """,
        cwd=folder,
    )
    assert printed.split() == []


def test_importing_ffedge_loads_nothing():
    printed = in_child("import sys, ffedge; print(*sorted(name for name in sys.modules if 'ffedge' in name))")
    assert printed.split() == ["ffedge", "ffedge.version"]


def test_public_names_are_found_on_first_use():
    for name in ffedge.__all__:
        assert getattr(ffedge, name) is not None
    with pytest.raises(AttributeError, match=r"module 'ffedge' has no attribute 'banana'"):
        _ = ffedge.banana
