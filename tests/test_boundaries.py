"""Who may import what: the table of DESIGN.md section 3, held by reading the sources and by using each unit alone."""

import ast
import base64
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from toys import builder, clusters, in_child, make_model, prepared, small_spec

import ffedge
from ffedge.training.graphs import needed_kernels

PACKAGE = Path(ffedge.__file__).parent
THIRD_PARTY = {
    "PIL",
    "h5py",
    "matplotlib",
    "nir",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxsim",
    "pooch",
    "psutil",
    "rich",
    "safetensors",
    "scipy",
    "torch",
    "typer",
}


@dataclass(frozen=True)
class Allowed:
    """What a unit may import as it is loaded: units of ffedge, packages; and what only inside its functions."""

    units: str = ""
    packages: str = ""
    inside: str = ""


TABLE = {
    "__init__": Allowed(),
    "__main__": Allowed("cli"),
    "errors": Allowed(),
    "json_text": Allowed(),
    "child": Allowed("errors"),
    "fields": Allowed(),
    "presets": Allowed(),
    "rule": Allowed("fields"),
    "spec": Allowed("fields presets rule"),
    "seeds": Allowed("", "numpy"),
    "labels": Allowed("seeds", "numpy"),  # wrong labels are a function of the sample's place
    "meter": Allowed("", "", "psutil"),
    "pages": Allowed("", "numpy"),
    "tensors": Allowed("pages", "numpy"),
    "wire": Allowed(),
    "liveness": Allowed(),
    "stages": Allowed("network spec"),  # what a model file calls the parts of its learning step
    "model_file": Allowed("calibration errors network pages spec wire", "numpy"),
    "calibration": Allowed("fields", "numpy"),
    "network": Allowed("errors fields rule seeds spec", "numpy"),
    "data": Allowed("errors seeds spec", "numpy", "PIL pooch"),
    "graph": Allowed("child errors liveness network rule spec stages", "numpy onnx"),
    # stages, wire, liveness: kernels cut out of a file, written anew, and their memory
    "runtime": Allowed(
        "calibration errors json_text labels liveness network pages spec stages wire", "numpy onnxruntime"
    ),
    "evaluation": Allowed("data errors runtime", "numpy"),
    "recalibration": Allowed("calibration data errors model_file pages runtime training wire", "numpy"),
    "spikes": Allowed(  # training: a run's newest checkpoint, from which it is converted
        "__init__ data errors fields json_text network runtime spec training", "numpy", "h5py nir"
    ),
    "training": Allowed(
        "__init__ calibration child data errors json_text labels meter model_file network pages runtime seeds spec "
        "tensors",
        "numpy",
        "onnxruntime reference",
    ),
    "learning": Allowed(  # goes on training on the device: no onnx, no graph process
        "__init__ calibration data errors labels meter model_file network pages runtime seeds spec stages training "
        "wire",
        "numpy",
    ),
    "reference": Allowed("errors network rule spec", "numpy torch"),
    # runtime: backprop in onnxruntime runs in sessions like ffedge's; graph, onnx: its graph; exporting: its forms are
    # arms, and its clock times them
    "compare": Allowed(
        "child data errors exporting meter network pages presets rule runtime seeds spec spikes training",
        "numpy onnxruntime",
        "graph matplotlib onnx onnxsim reference scipy torch",
    ),
    "cli": Allowed(
        "__init__ child errors fields presets spec",
        "typer",
        "compare data evaluation exporting learning network numpy pages psutil recalibration rich runtime spikes "
        "training",
    ),
    # forms are made on a workstation: a graph is built, run on held-out rows and, for int8, given to the quantizer
    "exporting": Allowed("calibration data errors graph network runtime seeds spec training", "numpy onnx onnxruntime"),
}
# loaded by a command that has begun its work, so what stands in functions may be imported
LATE = ("cli/learn_worker.py", "cli/progress.py", "cli/bench_live.py", "cli/bench_tables.py", "cli/lines.py")


def is_for_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def imports(nodes, inside=False):
    """Yield each imported name and whether it is imported inside a function; what is for types alone is left out."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((f"{node.module}.{alias.name}", inside) for alias in node.names)
        elif is_for_types(node):
            yield from imports(node.orelse, inside)
        else:
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(ast.iter_child_nodes(node), inside or function)


def imports_of(path):
    return list(imports([ast.parse(path.read_text())]))


def unit_of(module):
    """Name the unit of ffedge, or the package, that a module belongs to; None for the standard library."""
    first, *rest = module.split(".")
    if first == "ffedge":
        return rest[0] if rest and rest[0] in TABLE else "__init__"
    return None if first in sys.stdlib_module_names else first


def unit_files():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path


def test_every_unit_stands_in_the_table():
    assert {unit for unit, _ in unit_files()} == set(TABLE)


@pytest.mark.parametrize(("unit", "path"), list(unit_files()), ids=lambda value: str(getattr(value, "name", value)))
def test_a_file_imports_what_its_unit_may(unit, path):
    allowed = TABLE[unit]
    loaded = {unit, *allowed.units.split(), *allowed.packages.split()}
    for module, inside in imports_of(path):
        name = unit_of(module)
        late = inside or path.relative_to(PACKAGE).as_posix() in LATE
        assert name is None or name in loaded | (set(allowed.inside.split()) if late else set()), module


@pytest.mark.parametrize("late", LATE)
def test_a_late_file_is_imported_inside_functions_alone(late):
    module = "ffedge." + late.removesuffix(".py").replace("/", ".")
    imported = [inside for _, path in unit_files() for name, inside in imports_of(path) if name.startswith(module)]
    assert imported
    assert all(imported)


def test_the_reader_of_imports_sees_them_all():
    source = """
import a, b.c
from d.e import f
if x:
    import g
else:
    import h
try:
    import i
except ImportError:
    import j
class K:
    import l
    def m(self):
        import n
with o:
    def p():
        from q import r
if TYPE_CHECKING:
    import s
else:
    import t
from ffedge import data, __version__
"""
    found = set(imports([ast.parse(source)]))
    assert found == {(name, False) for name in ("a", "b.c", "d.e.f", "g", "h", "i", "j", "l", "t")} | {
        ("n", True),
        ("q.r", True),
        ("ffedge.data", False),
        ("ffedge.__version__", False),
    }
    assert [unit_of(name) for name in ("ffedge.data.rows", "ffedge.__version__", "ffedge", "json", "onnx.helper")] == [
        "data",
        "__init__",
        "__init__",
        None,
        "onnx",
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write what a unit needs to be used alone: a model, some inputs, the graphs of training."""
    path = tmp_path_factory.mktemp("alone")
    spec, facts = prepared(small_spec(epochs=1), clusters())
    build = builder(spec, facts)
    graphs = {repr(key): base64.b64encode(build(key)).decode() for key in needed_kernels(spec, facts)}
    plain = {"spec": spec.to_dict(), "input": facts.to_dict(), "graphs": graphs}
    (path / "training.json").write_text(json.dumps(plain))
    (path / "model.onnx").write_bytes(make_model(small_spec(), clusters())[0])
    np.save(path / "raw.npy", clusters().train.inputs.take(np.arange(16)))
    return path


USES = {
    "__init__": "import ffedge; print(ffedge.__version__)",
    "child": "from ffedge.child import ask; print(ask)",
    "compare": "from ffedge.compare.memory import Work, bound_bytes; print(bound_bytes(Work(), 784, 'adam'))",
    "errors": "from ffedge.errors import FfedgeError; print(FfedgeError('x'))",
    "json_text": 'from ffedge.json_text import parse; print(parse("[1]"))',
    "fields": "from ffedge.fields import bytes_of; print(bytes_of('64MiB'))",
    "presets": "from ffedge.presets import PRESETS; print(len(PRESETS))",
    "rule": "from ffedge.rule import RuleSpec; print(RuleSpec().weights(3))",
    "spec": "from ffedge.spec import Spec; print(Spec.from_dict(Spec.make('paper').to_dict()))",
    "seeds": "from ffedge.seeds import Draw, generator; print(generator(0, Draw.ORDER, 1).random())",
    "labels": """
        import numpy as np
        from ffedge.labels import wrong_labels
        from ffedge.seeds import Draw, key
        print(wrong_labels(np.arange(4), np.arange(4), 2, 5, key(2, 0, Draw.NEGATIVES)))
    """,
    "calibration": "import numpy as np; from ffedge.calibration import calibrate; a = np.arange(9.0); "
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
    "wire": "from ffedge.wire import text; print(text(1, 'x'))",
    "liveness": "from ffedge.liveness import most_bytes; print(most_bytes([(1, 2)], 3))",
    "stages": "from ffedge.stages import wire; print(wire('W', 'tile', 1))",
    "learning": """
        import dataclasses, shutil, sys
        from ffedge.learning.run import learn
        from toys_without_graphs import data
        shutil.copy("model.onnx", "mine.onnx")
        rows = dataclasses.replace(data(), classes=tuple(f"class {c}" for c in range(4)))
        print(learn("mine.onnx", rows, epochs=2, max_drop=1.0).rows)
        assert not {"torch", "onnx", "ffedge.graph"} & set(sys.modules)
    """,
    "network": """
        from ffedge.network import InputFacts, layer_shapes, resolve
        from ffedge.spec import Spec
        facts = InputFacts((16,), "uint8", ("a", "b", "c"))
        print(layer_shapes(resolve(Spec.make(), facts, 100), facts)[0].initial(0)["W"].sum())
    """,
    "data": """
        import numpy as np
        from ffedge.data import load
        print(load("mnist-mini").train.inputs.take(np.arange(3)).sum())
    """,
    "graph": """
        import json
        from ffedge.graph import template, training_graph
        from ffedge.network import InputFacts, layer_shapes
        from ffedge.spec import Spec
        stored = json.load(open("training.json"))
        spec, facts = Spec.from_dict(stored["spec"]), InputFacts.from_dict(stored["input"])
        shapes = layer_shapes(spec, facts)
        print(len(training_graph(spec, facts, "learn", shapes[0], True)))
        print(len(template(spec, facts)))
    """,
    "model_file": """
        import json
        from pathlib import Path
        from ffedge.model_file import model_content, write_model
        from ffedge.network import InputFacts, initial_state
        from ffedge.spec import Spec
        stored = json.load(open("training.json"))
        spec, facts = Spec.from_dict(stored["spec"]), InputFacts.from_dict(stored["input"])
        template = bytes([7 << 3 | 2, 0])  # a model with an empty graph
        write_model(Path("written.onnx"), template, *model_content(spec, facts, initial_state(spec, facts), {}))
        print(Path("written.onnx").stat().st_size)
    """,
    "runtime": """
        import base64, json
        import numpy as np
        from ffedge.network import InputFacts
        from ffedge.runtime import Predictor
        from ffedge.network import initial_state
        from ffedge.runtime.stepper import OnnxEngine
        from ffedge.spec import Spec

        raw, stored = np.load("raw.npy"), json.load(open("training.json"))
        print(Predictor("model.onnx").predict(raw).label)
        spec, facts = Spec.from_dict(stored["spec"]), InputFacts.from_dict(stored["input"])
        build = lambda key: base64.b64decode(stored["graphs"][repr(key)])
        engine = OnnxEngine(spec, facts, build, initial_state(spec, facts))
        engine.begin([0], chunked=False)
        labels = np.tile(np.arange(3), (16, 1))
        print(engine.learn(0, engine.product(raw, None), labels, np.zeros((16, 3), np.float32),
                           batch=16, step=0, rate=0.01, emit=False).loss)
    """,
    "evaluation": """
        from ffedge.evaluation import evaluate
        from ffedge.runtime import Predictor
        from toys_without_graphs import data
        print(evaluate(Predictor("model.onnx"), data()).accuracy)
    """,
    "spikes": """
        import json
        import numpy as np
        from ffedge.network import InputFacts, initial_state
        from ffedge.spec import Spec
        from ffedge.spikes import SpikingPredictor
        from ffedge.spikes.convert import convert
        stored, raw = json.load(open("training.json")), np.load("raw.npy")
        stored["spec"]["network"]["norm"] = "fixed"
        spec, facts = Spec.from_dict(stored["spec"]), InputFacts.from_dict(stored["input"])
        network = convert(spec, facts, initial_state(spec, facts), raw, timesteps=8)
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
        from ffedge.recalibration import recalibrate
        from toys_without_graphs import data
        print(recalibrate(Path("model.onnx"), data(), 0.5, Path("other.onnx")).known)
    """,
    "reference": """
        from ffedge.network import InputFacts
        from ffedge.reference.engine import TorchEngine
        from ffedge.spec import Spec
        facts = InputFacts((16,), "float32", ("a", "b", "c"))
        print(TorchEngine(Spec.make(widths=(4,)), facts, []).in_place)
    """,
    "exporting": """
        from pathlib import Path
        from ffedge.exporting.forms import Forms
        from ffedge.exporting.source import read_trained
        print(len(Forms(read_trained(Path("model.onnx")), None).make("exact").model))
    """,
    "cli": """
        import sys
        from ffedge.cli import main
        sys.argv = ["ffedge", "--version"]
        try:
            main()
        except SystemExit as stop:
            assert not stop.code, stop.code
        assert not {"numpy", "rich.progress", "ffedge.training", "ffedge.runtime"} & set(sys.modules)
    """,
}
ALSO = {  # packages of the units that a unit stands on, or, for the command line, of typer
    "training": {"onnxruntime"},
    "evaluation": {"onnxruntime"},
    "recalibration": {"onnxruntime"},
    "spikes": {"onnxruntime"},
    "learning": {"onnxruntime"},
    "stages": {"numpy"},
    "cli": {"rich"},
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
    assert printed.split() == ["ffedge"]


def test_public_names_are_found_on_first_use():
    for name in ffedge.__all__:
        assert getattr(ffedge, name) is not None
    with pytest.raises(AttributeError, match=r"module 'ffedge' has no attribute 'banana'"):
        _ = ffedge.banana
