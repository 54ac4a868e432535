"""Formulas: what is set in italics, lowered and raised, and what is left as a program or a name."""

import pytest
from docutils import nodes, utils

from docs.extensions import formulas, mathematics


def html(found: list[nodes.Node]) -> str:
    """The nodes as the tags of a page, without classes."""
    tags = {nodes.emphasis: "i", nodes.subscript: "sub", nodes.superscript: "sup", nodes.literal: "code"}

    def one(node: nodes.Node) -> str:
        inside = "".join(map(one, node.children)) if node.children else node.astext()
        tag = tags.get(type(node))
        return f"<{tag}>{inside}</{tag}>" if tag and not isinstance(node, nodes.Text) else inside

    return "".join(map(one, found))


@pytest.mark.parametrize(
    ("text", "set_as"),
    [
        ("Σ_k w_k^s", "Σ<sub><i>k</i></sub> <i>w</i><sub><i>k</i></sub><sup><i>s</i></sup>"),
        ("w_k^{1−α}", "<i>w</i><sub><i>k</i></sub><sup>1−<i>α</i></sup>"),
        ("z_1..z_K ~ q", "<i>z</i><sub>1</sub>..<i>z</i><sub><i>K</i></sub> ~ <i>q</i>"),
        ("E_{p(z | x)}[f]", "<i>E</i><sub><i>p</i>(<i>z</i> | <i>x</i>)</sub>[<i>f</i>]"),
        ("K^−(m+1)", "<i>K</i><sup>−(<i>m</i>+1)</sup>"),
        ("log w̃_k", "log <i>w̃</i><sub><i>k</i></sub>"),
        ("score_k ∂_φ log q_φ", "score<sub><i>k</i></sub> ∂<sub><i>φ</i></sub> log <i>q</i><sub><i>φ</i></sub>"),
        ("log_w, num_samples, f_tilde", "log_w, num_samples, <i>f</i><sub>tilde</sub>"),
        ("e^{s²/2} ∫ [0, 1]", "<i>e</i><sup><i>s</i>²/2</sup> ∫ [0, 1]"),
        ("w̃_s² x_nᵀ", "<i>w̃</i><sub><i>s</i></sub>² <i>x</i><sub><i>n</i></sub>ᵀ"),
        ("w_kb, w_1b", "<i>w</i><sub><i>k</i><i>b</i></sub>, <i>w</i><sub>1<i>b</i></sub>"),
        ("sd*_j Δβ_i", "sd*<sub><i>j</i></sub> Δ<i>β</i><sub><i>i</i></sub>"),
        ("∫ f(z) dz", "∫ <i>f</i>(<i>z</i>) d<i>z</i>"),
        ("m', the chain's", "<i>m′</i>, the chain's"),
        ("V `[r, P]`", "<i>V</i> <code>[r, P]</code>"),
        ("w̃(β_i)_k", "<i>w̃</i>(<i>β</i><sub><i>i</i></sub>)<sub><i>k</i></sub>"),
    ],
)
def test_a_formula(text, set_as):
    assert html(mathematics.inline(text)) == set_as


def test_running_text_keeps_its_words_and_sets_only_what_has_an_index():
    text = "a bound L_K of x, as `_` in num_samples or log_p"
    assert html(mathematics.in_prose(text)).replace("<sub><i>K</i></sub>", "_K").replace("<i>L</i>", "L") == text


@pytest.mark.parametrize(
    "text", ["L_K = E[log w]", "model = path = a,  score = 0", "θ ← θ + 1", "MCSE = √(V / S_eff)", "factor_j = ½ − u_j"]
)
def test_a_formula_is_told(text):
    assert formulas.is_formula(text)


@pytest.mark.parametrize(
    "text",
    [
        "make run        # sweep K = 1…1024",
        "python -m experiments.bench compare A B       two runs",
        'approximation = vi.approximate(key, {"mu": 0.0})',
        "job      bytes\n──────────────\nIWAE    1×2",
        "(key, x with leaves [B, N, ...]) -> leaves [B, n, ...]",
    ],
)
def test_from_a_program_or_a_table(text):
    assert not formulas.is_formula(text)


def test_columns_that_lines_share_stay_columns_and_other_gaps_do_not():
    found = formulas.block("a = b     held\n  + c     too\nd = e   so")
    cells = [len(line.children) for line in found[0].children]
    assert cells == [2, 2, 1]
    assert [line.astext().startswith("\u2002\u2002") for line in found[0].children] == [False, True, False]


def test_a_line_may_break_before_a_relation_outside_brackets_but_the_first():
    found = formulas.block("L = E[a = b] = c ≤ d").findall(nodes.inline)
    pieces = [node for node in found if "formula-piece" in node["classes"]]
    assert [piece.astext() for piece in pieces] == ["L = E[a = b]", "= c", "≤ d"]


def test_indices_of_running_text_are_set_and_those_of_code_and_latex_are_not():
    page = nodes.paragraph("", "", *(kind(text="w_k") for kind in (nodes.inline, nodes.literal, nodes.math)))
    document = utils.new_document("page")
    document += page
    formulas.set_formulas(None, document)  # type: ignore[arg-type]
    assert html(page.children) == "<i>w</i><sub><i>k</i></sub><code>w_k</code>w_k"
