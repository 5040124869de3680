"""The house itself: links, direction of imports, public names, sizes, what must not be here."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PARTS = ("batching", "bdt", "sbi")
LINKS = {
    ".editable/rootml": "../rootml",
    "rootml/batching": "../batching",
    "rootml/bdt": "../bdt",
    "rootml/sbi": "../sbi",
}
OPTIONAL = (
    "ROOT", "dask", "dask_awkward", "distributed", "hist", "iminuit", "keras", "lightgbm",
    "lightning", "llvmlite", "matplotlib", "mplhep", "numba", "onnx", "onnxruntime", "pandas",
    "pyhf", "scipy", "sklearn", "tensorflow", "torch", "xgboost", "zuko",
)  # fmt: skip


def python_files(*folders: str) -> list[Path]:
    """Every Python file under `folders` of the project, each once: links are not followed."""
    found = (path for folder in folders for path in (PROJECT / folder).rglob("*.py"))
    kept = (p for p in found if not any(q.is_symlink() for q in (p, *p.parents)))
    return sorted(path for path in kept if "__pycache__" not in path.parts)


SOURCES = python_files("rootml", *PARTS)
EVERYTHING = python_files("rootml", *PARTS, "tests", "benchmarks", "tutorials")


def relative(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.AST) -> list[str]:
    """Dotted names that `tree` imports, absolute ones only."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def module_level_imports(tree: ast.Module) -> list[str]:
    """Imports that run with the module itself, not inside functions or TYPE_CHECKING."""
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        names += imports(node)
    return names


def under(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_sources_are_found() -> None:
    assert {path.relative_to(PROJECT).parts[0] for path in SOURCES} == {"rootml", *PARTS}


@pytest.mark.parametrize(("link", "target"), LINKS.items())
def test_link_is_a_relative_link(link: str, target: str) -> None:
    path = PROJECT / link
    assert path.is_symlink(), f"{link} is no link: was the clone made without symbolic links?"
    assert path.readlink() == Path(target)
    assert (path / "__init__.py").is_file()


def test_git_stores_the_links_as_links() -> None:
    if not (PROJECT / ".git").exists():
        pytest.skip("not a git clone")
    listing = subprocess.run(
        ["git", "ls-files", "-s", *LINKS], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    stored = {line.split("\t")[1]: line.split()[0] for line in listing.stdout.splitlines()}
    assert stored == dict.fromkeys(LINKS, "120000")


@pytest.mark.parametrize("part", PARTS)
def test_part_is_imported_from_its_own_folder_and_once(part: str) -> None:
    module = importlib.import_module(f"rootml.{part}")
    assert module.__name__ == f"rootml.{part}"
    assert module.__file__ is not None
    assert os.path.realpath(module.__file__) == str((PROJECT / part / "__init__.py").resolve())
    assert not any(
        other.__name__ == part
        for other in list(sys.modules.values())
        if str(getattr(other, "__file__", "")).startswith(str(PROJECT / part))
    )


def test_no_bare_import_of_a_part() -> None:
    assert [
        (relative(path), name)
        for path in EVERYTHING
        for name in imports(parsed(path))
        if any(under(name, part) for part in PARTS)
    ] == []


@pytest.mark.parametrize("part", PARTS)
def test_ruff_refuses_a_bare_import(part: str) -> None:
    code = f"from __future__ import annotations\n\nimport {part}\n\n__all__ = [{part!r}]\n"
    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", "rootml/example.py", "-"]
    run = subprocess.run(
        command, cwd=PROJECT, input=code, capture_output=True, text=True, check=False
    )
    if "No module named ruff" in run.stderr:
        pytest.skip("ruff is not installed")
    assert run.returncode == 1, run.stderr
    assert "TID251" in run.stdout


# The only doors of the core to the parts; each opens inside a function, on demand.
DOORS = ("rootml/__init__.py", "rootml/analysis", "rootml/cli", "rootml/dataset/_dataset.py")


ALLOWED = {"batching": {"batching"}, "bdt": {"bdt"}, "sbi": {"sbi", "batching"}}


def test_imports_go_one_way() -> None:
    wrong = []
    for path in SOURCES:
        name = relative(path)
        names = (module_level_imports if name.startswith(DOORS) else imports)(parsed(path))
        used = {part for part in PARTS for n in names if under(n, f"rootml.{part}")}
        wrong += [(name, part) for part in used - ALLOWED.get(name.split("/")[0], set())]
    assert wrong == []


def test_optional_packages_are_imported_on_demand() -> None:
    assert [
        (relative(path), name)
        for path in SOURCES
        for name in module_level_imports(parsed(path))
        if name.split(".")[0] in OPTIONAL
    ] == []


def test_importing_rootml_imports_no_optional_package() -> None:
    code = (
        "import sys, rootml, rootml.batching, rootml.bdt, rootml.sbi\n"
        f"print(*sorted(set(sys.modules) & set({OPTIONAL!r})))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def lines_of_code(path: Path) -> int:
    """Lines that are neither blank nor part of a docstring."""
    documented = {
        line
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node) is not None
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    return sum(1 for number, line in lines if line.strip() and number not in documented)


def test_file_is_one_thing() -> None:
    assert [relative(path) for path in SOURCES if lines_of_code(path) > 600] == []


def test_folder_says_what_lives_there() -> None:
    folders = {path.parent for path in SOURCES}
    assert [relative(f) for f in folders if not ast.get_docstring(parsed(f / "__init__.py"))] == []


def test_module_says_what_it_is() -> None:
    """By a docstring; tutorials by a title."""
    titles = [path for path in EVERYTHING if path.parent == PROJECT / "tutorials"]
    silent = [path for path in EVERYTHING if not ast.get_docstring(parsed(path))]
    assert [relative(path) for path in silent if path not in titles] == []
    begin = "# %% [markdown]\n# # "
    assert [relative(p) for p in titles if not p.read_text("utf-8").startswith(begin)] == []


def public_packages() -> list[str]:
    import rootml

    found = pkgutil.walk_packages(rootml.__path__, "rootml.")
    names = ["rootml", *(module.name for module in found)]
    return [name for name in names if not any(p.startswith("_") for p in name.split("."))]


@pytest.mark.parametrize("name", public_packages())
def test_public_names_are_sorted_and_exist(name: str) -> None:
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None)
    if names is None:
        assert not has_content(module.__file__), f"{name} has content and no __all__"
        return
    assert list(names) == sorted(names)
    assert len(set(names)) == len(names)
    assert [n for n in names if not hasattr(module, n)] == []


def has_content(file: str | None) -> bool:
    """Whether a module defines or re-exports anything beyond its docstring."""
    assert file is not None
    kinds = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    return any(isinstance(node, kinds) for node in parsed(Path(file)).body)


@pytest.mark.parametrize("name", ["rootml.batching", "rootml.expressions", "rootml.storage"])
def test_what_a_package_takes_from_its_private_modules_is_public(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    taken = {
        alias.asname or alias.name
        for node in parsed(Path(module.__file__)).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{name}._")
        for alias in node.names
    }
    assert {n for n in taken if not n.startswith("_")} <= set(module.__all__)


TRACES = re.compile(
    r"(?<![\w.])/(?:work|farm|root|home)/|pythonhosted|pypi\.org/simple|files\.python",
    re.IGNORECASE,
)


def test_no_path_of_a_machine_or_name_of_a_registry() -> None:
    if not (PROJECT / ".git").exists():
        pytest.skip("not a git clone")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    found = []
    for name in filter(None, listing.stdout.split("\0")):
        path = PROJECT / name
        if path.is_symlink() or not path.is_file() or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{name}: {match.group()}" for match in TRACES.finditer(text)]
    assert found == []


# --- what parts use of the core, and no hidden circles -------------------------------------------

CORE_NAMES = {
    "rootml": {"__version__", "plot"},
    "rootml.dataset": {
        "Dataset", "EventBlock", "ReadTask", "SelectedPartition", "SelectionIndex", "check_by",
        "check_seed", "hash_ids", "hash_text",
    },
    "rootml.execution": {
        "Cost", "Executor", "RemoteFunction", "completed", "executor_for", "map_tasks",
    },
    "rootml.expressions": {"Binary", "Call", "Name", "Node", "Number", "Unary", "parse"},
    "rootml.output": {"as_column"},
    "rootml.partitions": {"Partition"},
    "rootml.plot": {
        "Labels", "Style", "closure", "contour", "impacts", "limit", "named", "pulls", "scan",
        "toys", "write",
    },
    "rootml.storage": {"Column", "ColumnType", "missing_file", "remote_of", "type_of_values"},
    "rootml.storage.remote": {"compute_slot", "stop_retries_when"},
}  # fmt: skip
"""What `batching`, `bdt` and `sbi` may import, beside `rootml.errors` and `rootml._internal`."""


@pytest.mark.parametrize("part", PARTS)
def test_parts_use_a_short_public_list_of_the_core(part: str) -> None:
    allowed = {f"{module}.{name}" for module, names in CORE_NAMES.items() for name in names}
    used = {
        name
        for path in python_files(part)
        for name in imports(parsed(path))
        if under(name, "rootml")
        and not any(under(name, f"rootml.{other}") for other in (*PARTS, "_internal", "errors"))
    }
    assert used <= allowed


def module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    parts = parts if parts[0] == "rootml" else ("rootml", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def lazy_doors() -> set[tuple[str, str]]:
    """Rows of the table in CONTRIBUTING.md: a module, and a package that it opens."""
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.split("| module | opens | why |", 1)[1].split("\n\n", 1)[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    names = [[re.findall(r"`([\w.]+)`", cell) for cell in row] for row in rows]
    return {(module, opened) for (module,), opens in names for opened in opens}


def import_graph() -> dict[str, set[str]]:
    """Which module imports which, anywhere: also inside functions and for types alone."""
    modules = {module_name(path): path for path in SOURCES}
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for name, path in modules.items():
        for imported in imports(parsed(path)):
            package = imported.rpartition(".")[0]
            found = imported if imported in modules else package
            if found in modules and found != name:
                graph[name].add(found)
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """What remains when modules that import none of the rest are taken away again and again."""
    rest = set(graph)
    while True:
        free = {name for name in rest if not graph[name] & rest}
        if not free:
            break
        rest -= free
    while True:  # and those that nobody of the rest imports
        free = {name for name in rest if not any(name in graph[other] for other in rest)}
        if not free:
            return sorted(rest)
        rest -= free


def test_no_circle_of_imports_but_for_the_lazy_doors() -> None:
    doors = lazy_doors()
    graph = {
        name: {t for t in targets if not any(name == a and under(t, b) for a, b in doors)}
        for name, targets in import_graph().items()
    }
    assert circle(graph) == []


FLOORS = {
    "rootml.sbi.estimator": ("inputs", "graph", "training", "ratios", "learners"),
    "rootml.sbi.inference": ("minimum", "fits", "toys"),
}
"""Rooms that import those before them only; files beside the rooms are above all of them."""


@pytest.mark.parametrize("part", FLOORS)
def test_rooms_import_those_before_them(part: str) -> None:
    def floor(name: str) -> int:
        room = name.removeprefix(f"{part}.").split(".")[0]
        return FLOORS[part].index(room) if room in FLOORS[part] else len(FLOORS[part])

    graph = import_graph()
    files = [name for name in graph if name.startswith(f"{part}.")]
    assert {floor(name) for name in files} == set(range(len(FLOORS[part]) + 1))
    upwards = [(a, b) for a in files for b in graph[a] if under(b, part) and floor(b) > floor(a)]
    assert upwards == []


def test_every_lazy_door_is_one() -> None:
    """A row of the table is an import inside a function, and without it there is a circle."""
    graph, doors = import_graph(), lazy_doors()
    assert len(doors) >= 5
    for module, opened in doors:
        (path,) = (path for path in SOURCES if module_name(path) == module)
        if module != "rootml":  # its attributes are imported by name
            assert any(under(name, opened) for name in graph[module]), (module, opened)
        eager = module_level_imports(parsed(path))
        assert not [name for name in eager if under(name, opened)], (module, opened)
