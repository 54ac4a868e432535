"""Marks by which the style sheet lays tables out: cells that are a word or a number, cells of text, many columns."""

from docutils import nodes
from sphinx.application import Sphinx

_SHORT, _LONG = 18, 44
_MANY_COLUMNS = 8


def mark(app: Sphinx, doctree: nodes.document) -> None:
    """Gives cells the class `short` or `long`, by their characters, and tables of many columns the class `wide`."""
    del app
    for cell in doctree.findall(nodes.entry):
        length = len(cell.astext())
        cell["classes"] += ["short"] * (length <= _SHORT) + ["long"] * (length > _LONG)
    for group in doctree.findall(nodes.tgroup):
        if group["cols"] >= _MANY_COLUMNS:
            group.parent["classes"].append("wide")


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("doctree-read", mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
