"""Sphinx configuration. Nothing in it needs the network."""

import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

from inventories import inventory

# The gallery looks up every name that an example imports.
from sklearn.experimental import enable_iterative_imputer  # noqa: F401

import sklearn_vae

project = "sklearn-vae"
author = "The sklearn-vae developers"
copyright = "2026, The sklearn-vae developers"
release = version = sklearn_vae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "paper_tables",
]
exclude_patterns = ["_build", "_ext", "_templates", "inventories", "plots"]
templates_path = ["_templates"]
default_role = "py:obj"
suppress_warnings = ["myst.header"]  # the included changelog has no title of its own
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", ".*"),  # the default role: a link where there is a target, else plain code
    ("py:class", r"(torch|np|numpy|typing|collections|skorch|scipy|sklearn|sklearn_vae)\..*"),
    ("py:class", r"(?!sklearn).*"),  # words of type descriptions
]

html_theme = "pydata_sphinx_theme"
html_title = "sklearn-vae"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "show_prev_next": True,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
html_sidebars = {"index": [], "install": [], "changelog": [], "quickstart": [], "compare": []}

autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 88
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Names of other projects are linked from the lists in `inventories`, which a build without the
# network has as well.
intersphinx_mapping = {
    "sklearn": (
        "https://scikit-learn.org/stable/",
        inventory(HERE / "inventories" / "sklearn.txt"),
    ),
    "torch": (
        "https://docs.pytorch.org/docs/stable/",
        inventory(HERE / "inventories" / "torch.txt"),
    ),
}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 120)]
plot_working_directory = str(HERE / "plots")
plot_rcparams = {"figure.constrained_layout.use": True, "font.size": 9}

# What an example warns of is drawn from its text, not from a traceback in the log.
warnings.filterwarnings("ignore", category=UserWarning, module="matplotlib")

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"(demo\.py|parquet_stream\.py|anndata_counts\.py|benchmarks)",
    "backreferences_dir": "api/generated/backreferences",
    "doc_module": ("sklearn_vae",),
    "inspect_global_variables": False,
    "download_all_examples": False,
    "show_memory": False,
    "plot_gallery": True,
    "remove_config_comments": True,
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": False,
}
