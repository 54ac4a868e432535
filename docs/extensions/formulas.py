"""Formulas as the docstrings and the pages write them, in Unicode, set as mathematics: no JavaScript, no fonts to load.

A block that is indented, or fenced with the word `formula`, keeps its lines; in it single letters are italic, and what
follows `_` or `^` stands lower or higher. In running text the same is done to single letters with an index.
"""

import re
from collections import Counter
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx

_ACCENTS = r"[\u0300-\u036f′'*]*"
_LETTER = rf"[^\W\d_]{_ACCENTS}"
# What `_` and `^` may stand behind: a letter that is no part of a word, a sign, a closing bracket.
_BASE = rf"(?<![\w\u0300-\u036f]){_LETTER}|[∂∇ΣΠ∫⟩‖⁺⁻¹²³|\)\]\}}]|(?<![^\W_])\d+"
_GROUP = r"\{(?:[^{}]|\{[^{}]*\})*\}|\([^()]*\)"
_SCRIPT = rf"[_^](?:{_GROUP}|[−+-]?[½⅓¼∞]|[−+-]?\w[\w\u0300-\u036f]*(?:\.\.\w[\w]*)?)"
_INDEXED = re.compile(rf"(?P<base>{_BASE})(?P<scripts>(?:{_SCRIPT})+)(?!\w)")
_LOOSE = re.compile(rf"(?P<scripts>(?<=[\w\)\]\}}]){_SCRIPT})(?!\w)")
_VARIABLE = re.compile(rf"(?<![\w\u0300-\u036f./]){_LETTER}(?![\w])")
_ONE_SCRIPT = re.compile(_SCRIPT)
# Signs that no program and no shell command of these pages contains.
_MATHEMATICAL = re.compile(r"[Σ∂∇∫Π√∞≤≥≠≈∈∼→←↦·×−½⅓¼⁻¹²³⁰ᵀθφψμστλπαβγδεκρχΛΨΓΦ‖⟨⊕⊙\u0302\u0303\u0304]")
_GAP = re.compile(r" {3,}")


def is_formula(text: str) -> bool:
    """Whether an indented block is mathematics rather than a program, a command or what one printed."""
    if "─" in text or "│" in text or "…" in text and "=" not in text:
        return False
    return bool(_MATHEMATICAL.search(text)) or (" = " in text and "(" not in text and '"' not in text)


def inline(text: str) -> list[nodes.Node]:
    """Returns a line of a formula: italic letters, upright words, indices as sub- and superscripts."""
    return list(_parts(text, _formula_text))


def in_prose(text: str) -> list[nodes.Node]:
    """Returns running text in which single letters with an index, such as z_k and E_q[f], are set as mathematics."""
    return list(_parts(text, lambda rest: [nodes.Text(rest)]))


def block(text: str) -> nodes.container:
    """Returns the formula with its lines; columns that several lines share stay aligned."""
    lines = text.strip("\n").split("\n")
    shared = _shared_columns(lines)
    found = nodes.container(classes=["formula"])
    for line in lines:
        row = nodes.container(classes=["formula-line"])
        for cell in _cells(line, shared):
            row += nodes.inline("", "", *inline(cell), classes=["formula-cell"])
        found += row
    return found


def _parts(text: str, plain) -> Iterator[nodes.Node]:
    end = 0
    for match in _INDEXED.finditer(text):
        yield from plain(text[end : match.start()])
        base = match["base"]
        yield nodes.emphasis(text=base, classes=["variable"]) if base[0].isalpha() else nodes.Text(base)
        yield from _scripts(match["scripts"])
        end = match.end()
    if rest := text[end:]:
        yield from plain(rest)


def _scripts(text: str) -> Iterator[nodes.Node]:
    for script in _ONE_SCRIPT.findall(text):
        kind = nodes.subscript if script[0] == "_" else nodes.superscript
        # `z_k_b` has an index of an index: the second one is read with the first.
        inner = script[2:-1] if script[1] == "{" else script[1:]
        yield kind("", "", *inline(inner.replace("_", ",") if script[0] == "_" and "{" not in inner else inner))


def _formula_text(text: str) -> Iterator[nodes.Node]:
    end = 0
    for match in _VARIABLE.finditer(text):
        yield nodes.Text(text[end : match.start()])
        yield nodes.emphasis(text=match[0], classes=["variable"])
        end = match.end()
    yield nodes.Text(text[end:])


def _shared_columns(lines: list[str]) -> set[int]:
    counts = Counter(match.end() for line in lines for match in _GAP.finditer(line.rstrip()) if match.start())
    return {column for column, count in counts.items() if count > 1}


def _cells(line: str, shared: set[int]) -> list[str]:
    starts = [0, *(match.end() for match in _GAP.finditer(line) if match.end() in shared), len(line)]
    return [line[a:b].rstrip() for a, b in zip(starts, starts[1:], strict=False)]


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
    node = text.parent
    while node is not None:
        classes = node.get("classes", []) if isinstance(node, nodes.Element) else []
        if isinstance(node, kept) or "formula" in classes or type(node).__name__ == "desc_signature":
            return False
        node = node.parent
    return True


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("doctree-read", set_formulas)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
