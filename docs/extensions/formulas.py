"""Formulas as the docstrings and the pages write them, in Unicode, set as mathematics: no JavaScript, no fonts to load.

A block that is indented, or fenced with the word `formula`, keeps its lines; in it single letters are italic, and what
follows `_` or `^` stands lower or higher. In running text the same is done to single letters with an index.
"""

import itertools
import re
from collections import Counter

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from docs.extensions.mathematics import in_prose, inline

_COMMAND = re.compile(r"(?m)^ *(?:make|python|pip|for|cat|export|error:|>>>|\$)|  # | #$")
# Signs that no program and no shell command of these pages contains.
_MATHEMATICAL = re.compile(r"[Σ∂∇∫Π√∞≤≥≠≈∈∼→←↦·×−½⅓¼⁻¹²³⁰ᵀθφψμστλπαβγδεκρχΛΨΓΦ‖⟨⊕⊙\u0302\u0303\u0304]")
_GAP = re.compile(r" {3,}")
_RELATION = re.compile(r" (?=[=≤≥≈∝←→<] )")


def is_formula(text: str) -> bool:
    """Whether an indented block is mathematics rather than a program, a command or what one printed."""
    if "─" in text or _COMMAND.search(text):
        return False
    return bool(_MATHEMATICAL.search(text)) or (" = " in text and "(" not in text and '"' not in text)


def block(text: str) -> nodes.container:
    """Returns the formula with its lines; columns that several lines share stay aligned."""
    lines = text.strip("\n").split("\n")
    shared = _shared_columns(lines)
    rows = nodes.container(classes=["formula-lines"])
    for line in lines:
        row = nodes.container(classes=["formula-line"])
        for cell in _cells(line, shared):
            row += nodes.inline("", "", *_in_pieces(cell), classes=["formula-cell"])
        rows += row
    return nodes.container("", rows, classes=["formula"])


def _in_pieces(text: str) -> list[nodes.Node]:
    """The formula in pieces between which a line may break: at wide gaps, and before the second relation sign."""
    margin = len(text) - len(text.lstrip())
    pieces = [piece for part in _GAP.split(text.strip()) for piece in [*_relations(part), " "]][:-1]
    found: list[nodes.Node] = [nodes.Text("\u2002" * margin)]
    for piece in pieces:
        is_gap = piece == " "
        found.append(nodes.inline(text="  ", classes=["formula-gap"]) if is_gap else _piece(piece))
        found.append(nodes.Text(" "))
    return found[:-1]


def _piece(text: str) -> nodes.inline:
    return nodes.inline("", "", *inline(text), classes=["formula-piece"])


def _relations(text: str) -> list[str]:
    """Splits before each relation sign outside brackets but the first."""
    cuts = [match.start() for match in _RELATION.finditer(text) if _depth(text[: match.start()]) == 0][1:]
    return [text[a:b].strip() for a, b in itertools.pairwise([0, *cuts, len(text)])]


def _depth(text: str) -> int:
    return sum(text.count(sign) for sign in "([{") - sum(text.count(sign) for sign in ")]}")


def _shared_columns(lines: list[str]) -> set[int]:
    counts = Counter(match.end() for line in lines for match in _GAP.finditer(line.rstrip()) if match.start())
    return {column for column, count in counts.items() if count > 1}


def _cells(line: str, shared: set[int]) -> list[str]:
    starts = [0, *(match.end() for match in _GAP.finditer(line) if match.end() in shared), len(line)]
    return [line[a:b].rstrip() for a, b in itertools.pairwise(starts)]


def set_formulas(app: Sphinx, doctree: nodes.document) -> None:
    """Replaces formula blocks, and letters with an index in running text, once a page has been read."""
    del app
    for found in list(doctree.findall(nodes.literal_block)):
        language, text = found.get("language", "none"), found.astext()
        if language == "formula" or (language in ("none", "default", "text", "") and is_formula(text)):
            found.replace_self(block(text))
    for found in [text for text in doctree.findall(nodes.Text) if "_" in text or "^" in text]:
        if _is_prose(found):
            found.parent.replace(found, in_prose(found.astext()))


def _is_prose(text: nodes.Text) -> bool:
    kept = (nodes.literal, nodes.literal_block, nodes.raw, nodes.comment, nodes.subscript, nodes.superscript)
    kept += (nodes.math, nodes.math_block, addnodes.desc_signature)
    node = text.parent
    while node is not None:
        classes = node.get("classes", []) if isinstance(node, nodes.Element) else []
        if isinstance(node, kept) or "formula" in classes:
            return False
        node = node.parent
    return True


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("doctree-read", set_formulas)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
