"""Tables that are wide: a cell with much text is marked, so that the style sheet can keep it from becoming a column."""

from docutils import nodes
from sphinx.application import Sphinx

_LONG = 44


def mark_long_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Gives cells of more than so many characters the class `long`."""
    del app
    for cell in doctree.findall(nodes.entry):
        if len(cell.astext()) > _LONG:
            cell["classes"].append("long")


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("doctree-read", mark_long_cells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
