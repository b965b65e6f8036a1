"""How the packages may import each other, read from the source, and how long things may be.

Nothing is listed here: a package's floor is the longest chain of imports below it. Where there
is no circle, every import goes strictly downward.
"""

import ast
import dataclasses
import functools
import graphlib
import itertools
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JAX = {"jax", "jaxlib", "flax", "orbax", "optax"}
JAX_FREE = (
    *("__init__", "__main__", "errors", "cli", "calibrate", "bisect"),
    *("specs", "config", "agreement", "measure", "gate", "results"),
    *("console", "executor", "experiment", "sweep", "report", "tracking", "api.run"),
    *("machine.cpu_load", "machine.device_load", "machine.provenance"),
)
"""The parent process holds no device; statistics and reports run where no jax is installed."""
ONLY_IN = {
    "hydra": ("config", "sweep"),
    "omegaconf": ("config", "__main__"),
    "wandb": ("tracking.wandb",),
    "wandb_workspaces": ("tracking.workspace",),
    "lm_eval": ("harness",),
    "optax": ("assets",),  # trains the embedded model; users never run it
}
DISTRIBUTIONS = {
    "hydra": "hydra-core",
    "orbax": "orbax-checkpoint",
    "yaml": "pyyaml",
}  # else the import's own name
MAX_FILE_LINES, MAX_FUNCTION_LINES = 250, 40


@dataclasses.dataclass(frozen=True)
class Import:
    """One import statement's target.

    Attributes:
        target: the dotted name, relative to `jaxgen` where it is ours.
        ours: whether it is of jaxgen.
        lazy: whether the statement stands inside a function.
    """

    target: str
    ours: bool
    lazy: bool


@functools.cache
def sources() -> dict[str, Path]:
    """Every module of the package by its dotted name below `jaxgen`; a package by its own."""
    package = ROOT / "jaxgen"
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


@functools.cache
def imports(module: str) -> tuple[Import, ...]:
    inside = {
        id(node) for late in filter(runs_later, ast.walk(tree(module))) for node in ast.walk(late)
    }
    return tuple(
        Import(*target, lazy=id(node) in inside)
        for node in ast.walk(tree(module))
        for target in targets(node)
    )


def runs_later(node: ast.AST) -> bool:
    """A function; or what type checkers alone read."""
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return is_function or (
        isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )


def targets(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """Yield (name, ours) of what a statement imports.

    `from jaxgen.a import b` is `a.b` where that is a module, else `a`.
    """
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute in this house"
        whole = [f"{node.module}.{alias.name}" for alias in node.names]
        names = [
            name if name.removeprefix("jaxgen.") in sources() else str(node.module)
            for name in whole
        ]
    else:
        names = []
    for name in names:
        ours = name.split(".")[0] == "jaxgen"
        yield (name.removeprefix("jaxgen").removeprefix(".") or "__init__") if ours else name, ours


def unit(module: str) -> str:
    return module.split(".")[0]


def ours(module: str) -> list[str]:
    return [each.target for each in imports(module) if each.ours]


def foreign(module: str) -> set[str]:
    return {
        unit(each.target) for each in imports(module) if not each.ours
    } - sys.stdlib_module_names


def at_import(module: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """The module and all of ours that importing it imports, packages on the way included."""
    if module in seen:
        return seen
    seen |= {module}
    packages = [module.rsplit(".", count)[0] for count in range(1, module.count(".") + 1)]
    for target in (
        *packages,
        *(each.target for each in imports(module) if each.ours and not each.lazy),
    ):
        seen = at_import(target, seen)
    return seen


def within(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def cycle(edges: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def unit_edges() -> dict[str, set[str]]:
    """For each file or package directly below `jaxgen`, the others that it imports anywhere."""
    edges: dict[str, set[str]] = {unit(module): set() for module in sources()}
    for module in sources():
        edges[unit(module)] |= {unit(target) for target in ours(module)}
    return {name: targets - {name, "__init__"} for name, targets in edges.items()}


def floors(edges: dict[str, set[str]]) -> dict[str, int]:
    """The longest chain of imports below each unit; 0 for one that imports none of ours."""
    found: dict[str, int] = {}
    for name in graphlib.TopologicalSorter(edges).static_order():
        found[name] = 1 + max((found[target] for target in edges.get(name, ())), default=-1)
    return found


def test_every_import_between_packages_goes_strictly_downward():
    edges = unit_edges()
    assert not cycle(edges)
    floor_of = floors(edges)
    assert floor_of["errors"] == 0
    assert floor_of["calibrate"] == max(floor_of.values())


def test_the_package_itself_imports_nothing_of_ours_before_it_is_asked():
    """Every import of a submodule runs it first; so it may be imported from anywhere, too."""
    assert at_import("__init__") == {"__init__"}


def test_modules_do_not_import_each_other_in_a_circle():
    assert not cycle({module: set(ours(module)) - {"__init__"} for module in sources()})


def test_what_must_start_without_jax_neither_names_it_nor_imports_it_on_the_way():
    found = [
        f"{module} through {passed}"
        for module in sources()
        if within(module, JAX_FREE)
        for passed in sorted(at_import(module))
        for each in imports(passed)
        if unit(each.target) in JAX and not each.ours and (passed == module or not each.lazy)
    ]
    assert not found


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_in_its_own_place_alone(library):
    users = [module for module in sources() if library in foreign(module)]
    assert [module for module in users if not within(module, ONLY_IN[library])] == []


def declared(requirements: list[str]) -> set[str]:
    names = [
        "".join(itertools.takewhile(lambda letter: letter not in "<>=!~[; ", text))
        for text in requirements
    ]
    return {name.lower().replace("_", "-") for name in names}


def test_every_third_party_import_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    known = declared([*project["project"]["dependencies"], *itertools.chain(*extras.values())])
    tools = known | declared(project["dependency-groups"]["dev"])
    undeclared = [
        f"{module} imports {library}"
        for module in sources()
        for library in sorted(foreign(module))
        if DISTRIBUTIONS.get(library, library).replace("_", "-")
        not in (tools if unit(module) == "assets" else known)
    ]
    assert not undeclared


def test_no_file_is_longer_than_250_lines():
    lines = {
        name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in sources().items()
    }
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_no_function_is_longer_than_40_lines_beside_its_docstring():
    long = []
    for module in sources():
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                told = (
                    first.end_lineno - first.lineno + 1
                    if ast.get_docstring(node) is not None
                    else 0
                )
                if node.end_lineno - node.lineno + 1 - told > MAX_FUNCTION_LINES:
                    long.append(f"{module}.{node.name}")
    assert not long
