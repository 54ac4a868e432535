"""Settings of the site: `make docs` builds it. What is more than a setting is in `docs/extensions`."""

import logging
import os
import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[1])
sys.path.insert(0, ROOT)
# For the kernels of the notebooks, which start in their own folder.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))
# It says which kernel it starts, at the level of information, whatever the build was told to print.
logging.getLogger("traitlets").setLevel(logging.WARNING)

project = "vi_jax"
author = "the vi_jax authors"
copyright = "the vi_jax authors, Apache-2.0"

extensions = [
    "myst_nb",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "docs.extensions.repository",
    "docs.extensions.reference",
    "docs.extensions.annotations",
    "docs.extensions.formulas",
    "docs.extensions.mathml",
    "docs.extensions.tables",
    "docs.extensions.links",
    "docs.extensions.offline",
]
exclude_patterns = ["conf.py", "__init__.py", "extensions", "_static"]
# Where links to these lead; a page that takes in a whole file says so itself.
repository_pages = {"README.md": "index"}

myst_enable_extensions = ["colon_fence", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
# Not one of a page: docs/extensions/repository.py makes it one.
myst_url_schemes = {"http": None, "https": None, "mailto": None, "repository": None}
suppress_warnings = ["misc.highlighting_failure"]
# Quotation marks stay as they are written: formulas have primes.
smartquotes = False
highlight_language = "none"
maximum_signature_line_length = 80
python_display_short_literal_types = True
add_module_names = False
toc_object_entries_show_parents = "hide"

# A notebook is a script, docs/notebooks/*.py in jupytext's percent format; the build runs it, and an error in a cell is
# a warning, which fails it.
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_show_tb = True
nb_merge_streams = True
nb_ipywidgets_js = {}

html_theme = "furo"
html_math_renderer = "mathml"
html_title = "vi_jax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
# Excerpts are fetched from the pages, which a browser refuses on a site opened as a file.
html_show_search_summary = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
