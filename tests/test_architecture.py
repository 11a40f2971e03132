"""The staircase: who may import whom, read from the sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_vae
from sklearn_vae.likelihoods import LIKELIHOODS

PACKAGE = Path(sklearn_vae.__file__).parent
ROOMS = sorted(
    {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in PACKAGE.rglob("*.py")}
)
STAIRCASE = {
    "__init__": {"_vae"},
    "_vae": {"_base", "likelihoods"},
    "_base": {
        "selection",
        "training",
        "importance",
        "objectives",
        "module",
        "priors",
        "posteriors",
        "likelihoods",
        "networks",
        "batch",
        "parts",
    },
    "selection": {"training", "module", "priors", "likelihoods", "networks", "batch"},
    "training": {
        "objectives",
        "module",
        "priors",
        "posteriors",
        "likelihoods",
        "networks",
        "batch",
    },
    "importance": {"objectives", "module", "batch"},
    "objectives": {"module", "batch", "parts"},
    "module": {"priors", "posteriors", "likelihoods", "networks", "batch"},
    "priors": {"batch", "parts"},
    "posteriors": set(),
    "likelihoods": {"batch", "parts"},
    "networks": set(),
    "batch": set(),
    "parts": set(),
    "datasets": set(),
    "displays": set(),
}
ONLY_IN = {
    "skorch": {"training"},
    "sklearn": {"selection", "_base", "_vae", "displays", "datasets"},
}
NEVER_IN = {"torch": {"datasets", "displays"}}
NEVER_AT_MODULE_LEVEL = {"matplotlib", "onnx", "dask", "pandas", "polars"}
RUN_TIME = {"sklearn", "torch", "skorch", "numpy", "joblib", "scipy", "threadpoolctl"}


def imports(room):
    """Pairs (module, at module level) of one room, a file or a folder.

    Own rooms begin with a dot.
    """
    folder = PACKAGE / room
    files = folder.glob("*.py") if folder.is_dir() else [PACKAGE / f"{room}.py"]
    for tree in (ast.parse(path.read_text()) for path in files):
        yield from imports_of(tree, outwards=1 if not folder.is_dir() else 2)


def imports_of(tree, outwards):
    """The same of one file.

    A relative import of fewer than `outwards` dots stays within the room.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in tree.body) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.level == 0 or node.level >= outwards):
            dots = "." * node.level
            names = (
                [dots + node.module] if node.module else [dots + alias.name for alias in node.names]
            )
            yield from ((name, node in tree.body) for name in names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
            yield node.args[0].value, False


@pytest.mark.parametrize("room", ROOMS)
def test_every_import_goes_down(room):
    own = {
        name.lstrip(".").split(".")[0]
        for name, _ in imports(room)
        if name.startswith((".", "sklearn_vae"))
    }
    assert own <= STAIRCASE[room]


def test_no_other_room_knows_a_likelihood_by_name():
    """It asks the hooks of the base class, never for a class or a flag of a family.

    But for the one place that knows which steps are written out.
    """
    families = {cls.__name__ for cls in LIKELIHOODS.values()}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "likelihoods" and path.name != "losses.py":
            code = ast.parse(path.read_text())
            names = {node.id for node in ast.walk(code) if isinstance(node, ast.Name)}
            names |= {node.attr for node in ast.walk(code) if isinstance(node, ast.Attribute)}
            assert not names & families, path


@pytest.mark.parametrize("room", ROOMS)
def test_libraries_stay_in_their_rooms(room):
    for name, at_module_level in imports(room):
        library = name.split(".")[0]
        assert room in ONLY_IN.get(library, {room})
        assert room not in NEVER_IN.get(library, set())
        assert not (at_module_level and library in NEVER_AT_MODULE_LEVEL)


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_else_is_needed_at_run_time(room):
    known = RUN_TIME | set(sys.stdlib_module_names)
    assert {
        name.split(".")[0] for name, top in imports(room) if top and not name.startswith(".")
    } <= known


def test_importing_the_package_does_not_import_torch():
    code = "import sys, sklearn_vae; assert not {'torch', 'skorch', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
