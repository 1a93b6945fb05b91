"""House rules that a program can see."""

import ast
import re
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "syncnerf"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "plugins").rglob("*.py"), *(ROOT / "tools").rglob("*.py")])
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
EVERYTHING = sorted([*SOURCES, *(ROOT / "plugins").rglob("*.c"), *(ROOT / "tests").rglob("*.py")])

LOW = ("scene", "sampling", "rendering", "encodings")
"""Rooms that know nothing above them."""
ABOVE = {
    "training",
    "evaluation",
    "synced",
    "held_out",
    "offset_fit",
    "photometry",
    "reckoning",
    "run",
    "cli",
    "options",
    "assembly",
    "job",
    "train",
    "scoring",
    "pixels",
    "installed",
    "summary",
    "camera_times",
    "clock",
    "clock_prior",
}
FOR_PLUGINS = (
    "backend", "batch", "questions", "option", "rendering", "encodings", "scene", "config", "errors", "native",
    "compilation", "splats",
)  # fmt: skip


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}: relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms(names: set[str]) -> set[str]:
    """The part of syncnerf that each name belongs to."""
    return {name.split(".")[1] for name in names if name.startswith("syncnerf.")}


def test_every_folder_of_modules_is_a_package_that_is_installed():
    """A package that setup.cfg forgets works from a checkout alone; and these are what the other tests look at."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    places = dict(line.split(" = ") for line in setup["options"]["package_dir"].split("\n") if line)
    names = setup["options"]["packages"].split()
    listed = {ROOT / places[name.split(".")[0]] / Path(*name.split(".")[1:]) for name in names}
    assert listed == {path.parent for path in SOURCES if not path.is_relative_to(ROOT / "tools")}


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_everything_public_has_a_docstring(path):
    missing = [] if ast.get_docstring(TREES[path]) else ["the module"]

    def look(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if child.name.startswith("_"):
                continue
            # `forward` is torch's name: the class says what it computes, unless arguments need words.
            said = ast.get_docstring(child) or child.name == "forward"
            if not said:
                missing.append(prefix + child.name)
            if isinstance(child, ast.ClassDef):
                look(child, f"{prefix}{child.name}.")

    look(TREES[path], "")
    assert missing == []


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_nothing_is_executed_from_data_and_no_device_is_assumed(path):
    found = []
    for node in ast.walk(TREES[path]):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in ("eval", "exec", "compile", "os.system") or name.endswith((".cuda", "pickle.load", "pickle.loads")):
            found.append(f"line {node.lineno}: {name}")
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name == "torch.load" and keywords.get("weights_only") != "True":
            found.append(f"line {node.lineno}: torch.load without weights_only=True")
        if name in ("np.load", "numpy.load") and keywords.get("allow_pickle", "False") != "False":
            found.append(f"line {node.lineno}: numpy.load of pickles")
        if keywords.get("shell") == "True":
            found.append(f"line {node.lineno}: a shell")
        if name == "yaml.load":
            found.append(f"line {node.lineno}: {name}")
    assert found == []


@pytest.mark.parametrize("path", [path for path in SOURCES if PACKAGE in path.parents], ids=relative)
def test_imports_of_the_core_point_one_way(path):
    names = imported(path)
    assert not [name for name in names if name.startswith(("plugins", "syncnerf_", "tools"))]
    room = path.relative_to(PACKAGE).parts[0]
    if room in LOW:
        assert not rooms(names) & ABOVE
        assert not [name for name in names if name == "tensorboard" or name.startswith("torch.utils.tensorboard")]
    if room == "scene":
        assert not rooms(names) - {"scene", "errors", "native", "records", "atomic", "option"}
    if path.name == "backend.py":
        assert not rooms(names) - {"scene", "errors", "batch", "questions", "through_rays"}
    if room != "cli.py" and room != "__main__.py":
        assert "cli" not in rooms(names)


@pytest.mark.parametrize("path", [path for path in SOURCES if ROOT / "plugins" in path.parents], ids=relative)
def test_plugins_import_the_contract_and_nothing_behind_it(path):
    names = imported(path)
    assert rooms(names) <= set(FOR_PLUGINS)
    own = f"syncnerf_{path.relative_to(ROOT / 'plugins').parts[0]}"
    assert not [name for name in names if name.startswith("syncnerf_") and name.split(".")[0] != own]
    if path.name in ("spec.py", "options.py"):
        assert rooms(names) <= {"backend", "option", "errors"}
        assert not {name.split(".")[0] for name in names} & {"torch", "numpy", "kornia"}
        assert all(name.startswith(f"{own}.options") for name in names if name.startswith(own))


def test_core_modules_import_in_no_circle():
    """Over whole modules, so that none depends on the order in which they happen to be imported."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in SOURCES
        if PACKAGE in path.parents
    }
    top_level = {}
    for name, path in modules.items():
        found = set()
        for node in TREES[path].body:
            if isinstance(node, ast.ImportFrom):
                found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        top_level[name] = {other for other in found if other in modules and other != name}
    done, under_way = set(), []

    def visit(name: str) -> None:
        assert name not in under_way, " -> ".join([*under_way, name])
        if name not in done:
            under_way.append(name)
            for other in sorted(top_level[name]):
                # A package's __init__ that lists its own modules is no circle of theirs.
                if not name.startswith(other + "."):
                    visit(other)
            under_way.pop()
            done.add(name)

    for name in modules:
        visit(name)


@pytest.mark.parametrize("path", EVERYTHING, ids=relative)
def test_files_stay_readable(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert "\t" not in text
    assert text.endswith("\n")
    assert not re.search(r"/(home|root|work)/\w", text), "a path of one machine"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_functions_stay_readable(path):
    functions = [node for node in ast.walk(TREES[path]) if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in functions if node.end_lineno - node.lineno >= 60] == []


def test_packages_of_extras_are_imported_where_they_are_used():
    """At the top of a module they would slow down every command, and break all where they are not installed."""
    extras = {"diffusers", "transformers", "accelerate", "safetensors", "ftfy"}
    for path, tree in TREES.items():
        names = set()
        for node in tree.body:
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.split(".")[0])
        assert not names & extras, relative(path)


def test_library_code_does_not_print():
    printing = [
        relative(path)
        for path, tree in TREES.items()
        if PACKAGE in path.parents
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    # What people asked to see is printed by the commands themselves.
    assert set(printing) <= {
        "syncnerf/cli.py",
        "syncnerf/run.py",
        "syncnerf/importers/command.py",
        "syncnerf/export/command.py",
        "syncnerf/sync/command.py",
        "syncnerf/generate/command.py",
        "syncnerf/generate/score_command.py",
        "syncnerf/generate/training_command.py",
        "syncnerf/generate/weights_command.py",
        "syncnerf/scene/info_command.py",
    }


def test_kernels_are_installed_with_their_packages():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    data = {name: patterns.split() for name, patterns in setup["options.package_data"].items()}
    kernels = [path for place in (PACKAGE, ROOT / "plugins") for path in place.rglob("*.[ch]")]
    assert kernels
    for path in kernels:
        parts = path.relative_to(ROOT).parent.parts
        package = f"syncnerf_{parts[1]}" if parts[0] == "plugins" else ".".join(parts)
        assert any(fnmatch(path.name, pattern) for pattern in data[package]), relative(path)
