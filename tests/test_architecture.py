"""The floors of the house: who may import what, no cycles, no exceptions."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "autoflow").rglob("*.py"))

# a room may import from rooms of a lower number, and from itself
FLOORS = {
    "errors": 0,
    "machine": 0,
    "data": 1,
    "metrics": 1,
    "budget": 1,
    "durable": 1,
    "manifest": 2,
    "image_weights": 3,
    "parts": 3,
    "text_embeddings": 3,
    "components": 4,
    "serving": 4,
    "pipeline": 5,
    "export": 6,
    "search": 6,
    "report": 7,
    "settings": 7,
    "finished": 7,
    "figures": 7,
    "finish": 8,
    "front": 8,
    "session": 9,
    "run": 10,
    "builder": 11,
    "testing": 11,
    "cli": 12,
    "__init__": 12,
}
HEAVY = {"keras", "tensorflow", "keras_tuner", "optuna", "ray"}
FORBIDDEN = {
    "autoflow/errors.py": HEAVY | {"sklearn", "lightgbm"},
    "autoflow/data": HEAVY | {"sklearn", "lightgbm"},
    "autoflow/metrics.py": HEAVY,
    "autoflow/budget.py": HEAVY,
    "autoflow/components": {"optuna", "ray", "typer"},
    "autoflow/pipeline": {"optuna", "ray", "keras_tuner"},
    "autoflow/pipeline/spec.py": HEAVY,
    "autoflow/export": {"optuna", "ray", "keras_tuner"},
    "autoflow/search/space.py": HEAVY,
    "autoflow/search/study.py": {"keras", "tensorflow", "ray"},
    "autoflow/serving": {"sklearn", "lightgbm", "optuna", "ray", "keras_tuner"},
}
ONLY_IN = {
    "ray": {"autoflow/search/ray_cluster.py", "autoflow/search/ray_pool.py"},
    "optuna": {"autoflow/search/sampler.py"},
    "keras_tuner": {
        "autoflow/search/sampler.py",
        "autoflow/session.py",
        "autoflow/report/catalogue.py",
        "autoflow/testing/declaration.py",
    },
    "typer": {"autoflow/cli.py"},
    "model2vec": {"autoflow/text_embeddings.py"},
    "tokenizers": {"autoflow/text_embeddings.py"},
    "lightgbm": {"autoflow/components/classification/boosted_trees.py", "autoflow/search/ray_worker.py"},
}
ROLES = tuple(f"autoflow.components.{path.parent.name}" for path in FILES if path.parts[-3] == "components")


def relative(path):
    return path.relative_to(ROOT).as_posix()


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path, *, nested=True):
    """Yields the absolute names that a file imports, those only for type checkers left out."""

    def walk(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                yield child.module
                yield from (f"{child.module}.{alias.name}" for alias in child.names)
            elif nested or not isinstance(child, ast.FunctionDef):
                yield from walk(child)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")))


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_come_from_the_own_floor_or_below(path):
    own = room(module_name(path))
    for name in imported_modules(path):
        if name.startswith("autoflow."):
            other = room(name)
            assert other == own or FLOORS[other] < FLOORS[own], f"{relative(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_forbidden_packages_are_not_imported(path):
    packages = {name.split(".")[0] for name in imported_modules(path)}
    for prefix, forbidden in FORBIDDEN.items():
        if relative(path) == prefix or relative(path).startswith(prefix + "/"):
            assert not packages & forbidden, f"{relative(path)} imports {packages & forbidden}"
    for package, homes in ONLY_IN.items():
        assert package not in packages or relative(path) in homes, f"{package} stands behind {homes}"


@pytest.mark.parametrize("path", [f for f in FILES if f.name != "cli.py"], ids=relative)
def test_only_the_command_line_prints(path):
    calls = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]
    assert not [call.lineno for call in calls if getattr(call.func, "id", "") == "print"]


@pytest.mark.parametrize("path", sorted((ROOT / "autoflow/components").glob("*/*.py")), ids=relative)
def test_a_component_imports_no_other_component(path):
    for name in imported_modules(path):
        parts = name.split(".")
        if name.startswith(ROLES) and len(parts) > 3:
            assert parts[2] == path.parent.name, f"{relative(path)} imports {name}"
            assert parts[3].startswith("_"), f"{relative(path)} imports {name}"


def test_there_is_no_import_cycle():
    modules = {module_name(path): path for path in FILES}
    graph = {
        module: {name for name in imported_modules(path, nested=False) if name in modules and name != module}
        for module, path in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
