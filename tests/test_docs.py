"""The site: what its pages promise is there, its docstrings are complete, its prose is plain."""

import importlib
import inspect
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from numpydoc.validate import validate

import sklearn_vae

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    path
    for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.rst"))]
    if not {"_build", "generated", "auto_examples", "_templates"} & set(path.parts)
]
FAMILIES = "likelihoods", "objectives", "posteriors", "priors"
NOT_FOR_USERS = {"Columns", "Rebuilt", "Widened"}


def public_names():
    """Dotted names of what users may import."""
    names = [name for name in sklearn_vae.__all__ if not name.startswith("__")]
    for family in FAMILIES:
        module = importlib.import_module(f"sklearn_vae.{family}")
        names += [
            f"{family}.{name}"
            for name, value in vars(module).items()
            if inspect.isclass(value) and value.__module__.startswith(module.__name__)
        ]
    displays = importlib.import_module("sklearn_vae.displays")
    names += [f"displays.{name}" for name in displays.__all__]
    return [name for name in names if name.split(".")[-1] not in NOT_FOR_USERS]


def named_in(name):
    """The object of a dotted name within the package."""
    module, _, attribute = f"sklearn_vae.{name}".rpartition(".")
    return getattr(importlib.import_module(module), attribute)


# --- the reference --------------------------------------------------------------------------------


def test_every_public_name_has_a_page():
    listed = re.findall(r"^   ([\w.]+)$", (DOCS / "api.rst").read_text(), re.M)
    assert set(public_names()) <= set(listed)
    for name in listed:
        named_in(name)


@pytest.fixture(scope="module")
def pages_of_estimators(tmp_path_factory):
    """The texts of the pages of the reference that Sphinx makes of the estimators."""
    source = tmp_path_factory.mktemp("source")
    estimators = "\n".join(f"   {name}" for name in sklearn_vae.__all__ if name[0] != "_")
    (source / "index.rst").write_text(
        "Test\n====\n\n.. currentmodule:: sklearn_vae\n\n"
        f".. autosummary::\n   :toctree: generated/\n\n{estimators}\n"
    )
    settings = re.findall(
        r"^(?:autosummary|autodoc|numpydoc)_.*", (DOCS / "conf.py").read_text(), re.M
    )
    settings += [
        "extensions = ['sphinx.ext.autodoc', 'sphinx.ext.autosummary', 'numpydoc']",
        f"templates_path = [{str(DOCS / '_templates')!r}]",
    ]
    (source / "conf.py").write_text("\n".join(settings))
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "text", source, source / "out"]
    subprocess.run(command, check=True, capture_output=True)
    return {path.stem: path.read_text() for path in (source / "out/generated").glob("*.txt")}


def test_pages_of_estimators_name_their_methods(pages_of_estimators):
    assert pages_of_estimators
    for page, text in pages_of_estimators.items():
        cls = named_in(page.rpartition(".")[2])
        expected = "fit", "transform", "inverse_transform", "score_samples", "sample", "impute"
        for name in set(expected) & set(dir(cls)):
            assert f"\n   {name}(" in text, (page, name)
    assert "score_samples(" in pages_of_estimators["sklearn_vae.VAETransformer"]


# --- docstrings -----------------------------------------------------------------------------------

# Not asked for: examples, references and longer texts everywhere (EX01, SA01, ES01), a summary of
# one line with an infinitive (GL01, GL02, GL03, SS05, SS06), and returned values without a name.
OF_ESTIMATORS = {
    *("GL05", "GL06", "GL07", "GL08", "GL09", "GL10", "SS01", "SS02", "SS03", "SS04"),
    *("PR01", "PR02", "PR03", "PR04", "PR05", "PR06", "PR07", "PR08", "PR10", "RT01", "RT04"),
    *("YD01", "SA02", "SA03", "SA04"),
}
OF_PARTS = {"GL05", "GL06", "GL07", "GL09", "GL10", "SS01", "SS03", "SS04", "PR02", "PR06", "PR10"}


def documented(name):
    """The dotted names of an object and of its public methods that this package wrote."""
    value = named_in(name)
    yield f"sklearn_vae.{name}"
    for attribute, member in inspect.getmembers(value) if inspect.isclass(value) else ():
        function = member.fget if isinstance(member, property) else member
        is_own = (getattr(function, "__module__", None) or "").startswith("sklearn_vae")
        if inspect.isfunction(function) and is_own and not attribute.startswith("_"):
            yield f"sklearn_vae.{name}.{attribute}"


@pytest.mark.parametrize("name", [*public_names(), "datasets.make_sine_sum"])
def test_docstrings_are_complete(name):
    asked = OF_PARTS if name.startswith(FAMILIES) else OF_ESTIMATORS
    errors = {
        (full, code, message)
        for full in documented(name)
        for code, message in validate(full)["errors"]
        if code in asked
    }
    assert not errors


# --- the guide ------------------------------------------------------------------------------------


def test_tests_that_the_site_names_exist():
    named = set()
    for page in PAGES:
        text = page.read_text()
        for path, first in re.findall(r"``(tests/\w+\.py)(?:::(\w+))?``", text):
            named |= {(path, first)} if first else set()
            assert (ROOT / path).exists(), (page, path)
    assert len(named) > 20
    for path, function in named:
        assert f"def {function}(" in (ROOT / path).read_text(), (path, function)


def test_every_equation_names_its_test():
    """In the page on mathematics, a numbered equation is followed by what holds it."""
    text = (DOCS / "user_guide" / "mathematics.rst").read_text()
    for after in text.split("   :label: ")[1:]:
        label, _, rest = after.partition("\n")
        assert re.search(r"\*Held by\*|``tests/", rest.split(":label:")[0]), label


# --- prose ----------------------------------------------------------------------------------------

MARKUP = re.compile(r"``?[^`]*``?|:\w+:`[^`]*`|\$[^$]*\$|<[^>]*>|`[^`]*`_*")
NOT_PROSE = re.compile(r"\s*(\.\.|:|>>>|```|\||=|-{3}|~{3}|#|\* -|- ``)")


def sentences(text):
    """The sentences of running text: paragraphs of eight words or more that end as sentences do."""
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.split("\n") if not NOT_PROSE.match(line)]
        flat = MARKUP.sub("X", " ".join(lines)).strip()
        if len(flat.split()) >= 8 and flat.endswith((".", ":", ";")):
            yield from re.split(r"(?<=[.!?])\s+(?=[A-Z`*(])", flat)


def docstrings():
    """All docstrings of the package, as one text."""
    import ast

    texts = []
    for path in Path(sklearn_vae.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                texts.append(ast.get_docstring(node) or "")
    return "\n\n".join(texts)


@pytest.mark.parametrize("source", ["pages", "docstrings"])
def test_sentences_are_short(source):
    """At most 18 words on average, and at most three in a hundred of more than 35."""
    text = docstrings() if source == "docstrings" else "\n\n".join(p.read_text() for p in PAGES)
    counts = [len(s.split()) for s in sentences(text) if len(s.split()) > 2]
    assert len(counts) > 200
    assert statistics.mean(counts) <= 18
    assert statistics.mean(count > 35 for count in counts) <= 0.03


def test_spelling():
    """Common misspellings, in the site, the docstrings and the examples."""
    places = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "examples", "sklearn_vae"]
    skip = "*/_build/*,*/auto_examples/*,*/generated/*,*.txt,*.png"
    command = [sys.executable, "-m", "codespell_lib", f"--skip={skip}", *places]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
