"""One line of mathematics in Unicode as nodes of a page: letters in italics, indices lower, powers higher."""

import re
from collections.abc import Callable, Iterable, Iterator

from docutils import nodes

_ACCENTS = r"[\u0300-\u036f′'*]*"
# Of a word: letters and `_`, but no raised or lowered digit, which Python counts among the letters.
_OF_WORD = r"[^\W\d½⅓¼⁰¹²³⁴-⁹₀-₉ₖᵀ]"
_LETTER = rf"(?<!{_OF_WORD})(?<![\u0300-\u036f])[^\W\d_½⅓¼⁰¹²³⁴-⁹₀-₉ₖᵀ]{_ACCENTS}"
_END = rf"(?!{_OF_WORD}|\d)"
_GROUP = r"\{(?:[^{}]|\{[^{}]*\})*\}|\([^()]*\)"
_SCRIPT = rf"[_^][−+-]?(?:{_GROUP}|[½⅓¼∞]|[^\W_][^\W_\u0300-\u036f]*(?:[\u0300-\u036f][^\W_]*)*)"
# What indices stand behind: a letter that is no part of a word, a number, a sign, a closing bracket. Behind a word, as
# in score_k, an index is one of a few letters or in braces: `log_w` and `num_samples` are names.
_INDEXED = re.compile(
    rf"(?P<base>{_LETTER}|(?<![\w.])\d+|[∂∇ΣΠ∫⟩‖⁺⁻¹²³|)\]}}])(?P<scripts>(?:{_SCRIPT})+){_END}"
    rf"|(?P<word>(?<![\w_])(?!log_)[^\W\d_]{{2,}})(?P<one>_(?:[bijklmnqstKθφ]{_END}|\{{[^{{}}]*\}}))"
)
_ONE_SCRIPT = re.compile(_SCRIPT)
_VARIABLE = re.compile(rf"{_LETTER}{_END}")
_UPRIGHT = "ΣΠ"


def inline(text: str) -> list[nodes.Node]:
    """Returns a line of a formula: italic letters, upright words, indices as sub- and superscripts."""
    return list(_parts(text, _formula_text))


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
        yield kind("", "", *inline(inner))


def _letter(text: str) -> nodes.Node:
    if not text[0].isalpha() or text[0] in _UPRIGHT:
        return nodes.Text(text)
    # Few fonts have θ with a bar, and some lose the bar: the style sheet draws it.
    return nodes.emphasis(text=text.replace("\u0304", ""), classes=["variable", "bar"][: 1 + ("\u0304" in text)])


def _formula_text(text: str) -> Iterator[nodes.Node]:
    end = 0
    for match in _VARIABLE.finditer(text):
        yield nodes.Text(text[end : match.start()])
        yield _letter(match[0])
        end = match.end()
    yield nodes.Text(text[end:])
