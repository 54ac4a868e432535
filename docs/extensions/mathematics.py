"""One line of mathematics in Unicode as nodes of a page: letters in italics, indices lower, powers higher."""

import re
from collections.abc import Callable, Iterable, Iterator

from docutils import nodes

_ACCENTS = r"[\u0300-\u036f′'*]*"
# What Python counts among the letters and digits, and is neither: raised and lowered digits, and the Δ of a difference.
_NO_LETTERS = "½⅓¼⁰¹²³⁴-⁹₀-₉ₖᵀΔ"
_OF_WORD = rf"[^\W\d{_NO_LETTERS}]"
_PURE = rf"[^\W\d_{_NO_LETTERS}]"
_LETTER = rf"(?<!{_OF_WORD})(?<![\u0300-\u036f]){_PURE}{_ACCENTS}"
_END = rf"(?!{_OF_WORD}|\d)"
_GROUP = r"\{(?:[^{}]|\{[^{}]*\})*\}|\([^()]*\)"
_PLAIN = rf"[^\W_{_NO_LETTERS}]"
_SCRIPT = rf"[_^][−+-]?(?:{_GROUP}|[½⅓¼∞]|{_PLAIN}+(?:[\u0300-\u036f]{_PLAIN}*)*)"
# What indices stand behind: a letter that is no part of a word, a number, a sign, a closing bracket. Behind a word, as
# in score_k, an index is one of a few letters or in braces: `log_w` and `num_samples` are names.
_INDEXED = re.compile(
    rf"(?P<base>{_LETTER}|(?<![\w.])\d+|[∂∇ΣΠ∫⟩‖⁺⁻¹²³|)\]}}])(?P<scripts>(?:{_SCRIPT})+){_END}"
    rf"|(?P<word>(?<!\w)(?!log_)(?:{_PURE}{{2,}}\*?|[a-z]\d))(?P<one>_(?:[bijklmnpqstKθφ]{_END}|\{{[^{{}}]*\}}))"
)
_ONE_SCRIPT = re.compile(_SCRIPT)
# Two letters, or a number and a letter, as in w_kb and w_1b, are two indices.
_TWO = re.compile(rf"{_PLAIN}{{2}}")
# Not the s of "the candidate's"; of dz the z.
_VARIABLE = re.compile(
    rf"(?<![^\W\d_]{{2}}'){_LETTER}{_END}|(?<!{_OF_WORD})d(?P<differential>[t-zθφβ]{_ACCENTS}){_END}"
)
_UPRIGHT = "ΣΠ"


def inline(text: str) -> list[nodes.Node]:
    """Returns a line of a formula: italic letters, upright words, indices as sub- and superscripts, `code` as code."""
    found: list[nodes.Node] = []
    for position, piece in enumerate(text.split("`")):
        found += [nodes.literal(text=piece)] if position % 2 else _parts(piece, _formula_text)
    return found


def in_prose(text: str) -> list[nodes.Node]:
    """Returns running text in which single letters with an index, such as z_k and E_q[f], are set as mathematics."""
    return list(_parts(text, lambda rest: [nodes.Text(rest)]))


def _parts(text: str, plain: Callable[[str], Iterable[nodes.Node]]) -> Iterator[nodes.Node]:
    end = 0
    for match in _INDEXED.finditer(text):
        yield from plain(text[end : match.start()])
        yield nodes.Text(match["word"]) if match["word"] else _letter(match["base"])
        yield from _scripts(match["scripts"] or match["one"])
        end = match.end()
    if rest := text[end:]:
        yield from plain(rest)


def _scripts(text: str) -> Iterator[nodes.Node]:
    for script in _ONE_SCRIPT.findall(text):
        kind = nodes.subscript if script[0] == "_" else nodes.superscript
        inner = script[2:-1] if script[1] == "{" else script[1:]
        yield kind("", "", *(map(_letter, inner) if _TWO.fullmatch(inner) else inline(inner)))


def _letter(text: str) -> nodes.Node:
    if not text[0].isalpha() or text[0] in _UPRIGHT:
        return nodes.Text(text)
    # Few fonts have θ with a bar, and some lose the bar: the style sheet draws it.
    shown = text.replace("\u0304", "").replace("'", "′")
    return nodes.emphasis(text=shown, classes=["variable", "bar"][: 1 + ("\u0304" in text)])


def _formula_text(text: str) -> Iterator[nodes.Node]:
    end = 0
    for match in _VARIABLE.finditer(text):
        letter = match["differential"] or match[0]
        yield nodes.Text(text[end : match.end() - len(letter)])
        yield _letter(letter)
        end = match.end()
    yield nodes.Text(text[end:])
