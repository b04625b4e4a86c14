"""No file imports what its unit may not: the table of `boundaries.py`, held by reading the sources."""

import ast
import sys
from pathlib import Path

import pytest
from boundaries import LATE, TABLE

import ffedge

PACKAGE = Path(ffedge.__file__).parent


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
    imported = [
        inside or path.relative_to(PACKAGE).as_posix() in LATE
        for _, path in unit_files()
        for name, inside in imports_of(path)
        if name.startswith(module)
    ]
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
