"""The notebooks are what the documentation expects, and judge themselves. Its build executes them; no test does."""

import ast
import pathlib

import jupytext
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "notebooks"
PATHS = sorted(FOLDER.glob("*.py"))
ALLOWED = {"arviz", "jax", "matplotlib", "numpy", "optax", "sklearn", "vi_jax"}


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def cells(path):
    return jupytext.read(path, fmt="py:percent").cells


def imported(tree: ast.AST) -> set[str]:
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_it_opens_with_its_title_and_names_its_kernel(path, cells):
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert jupytext.read(path, fmt="py:percent").metadata["kernelspec"]["name"] == "python3"


def test_prose_and_code_take_turns_and_no_code_runs_on_without_any(cells):
    kinds = [cell.cell_type for cell in cells]
    assert kinds.count("markdown") >= 6
    assert all(len(cell.source.splitlines()) <= 40 for cell in cells)


def test_a_reader_can_copy_it_so_it_imports_the_library_and_what_it_draws_with_alone(path):
    assert imported(ast.parse(path.read_text())) <= ALLOWED


def test_each_figure_is_shown_and_most_results_are_asserted(cells):
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert 2 <= sum("plt.subplots(" in source for source in code) <= 5
    assert all("plt.show()" in source for source in code if "plt.subplots(" in source)
    asserts = [node for source in code for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
    assert len(asserts) >= 5


def test_nothing_random_is_without_a_key(path):
    text = path.read_text()
    assert "jax.random.key(" in text
    assert "np.random." not in text.replace("np.random.default_rng(0)", "")


def test_the_index_has_every_notebook_in_its_table_and_its_contents():
    index = (FOLDER / "index.md").read_text()
    assert len(PATHS) == 3
    for path in PATHS:
        assert f"]({path.name})" in index
        assert f"\n{path.stem}\n" in index
