"""A notebook is a script in percent format, which the settings of the site turn into cells."""

import importlib

import jupytext

from docs import conf

SCRIPT = """# %% [markdown]
# # A toy
#
#     L_K = E[log w]

# %%
print(1 + 1)
"""


def test_a_script_becomes_cells_by_the_reader_that_the_build_uses():
    name, options = conf.nb_custom_formats[".py"]
    module, _, function = name.rpartition(".")
    assert importlib.import_module(module) is jupytext
    found = getattr(jupytext, function)(SCRIPT, **options)
    assert [cell.cell_type for cell in found.cells] == ["markdown", "code"]
    assert found.cells[0].source.startswith("# A toy\n\n    L_K")


def test_every_page_executes_and_a_page_of_settings_is_none():
    assert conf.nb_execution_mode == "force"
    assert {"conf.py", "__init__.py", "extensions"} <= set(conf.exclude_patterns)
