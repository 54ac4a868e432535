"""Formulas in LaTeX become MathML, and what is no LaTeX is named."""

import re
import types

from docs.extensions import mathml


def test_a_formula_in_latex_becomes_elements_that_a_browser_sets():
    found = re.sub("<math[^>]*>|</math>", "", mathml.mathml(r"\frac1K w_k"))
    assert found == "<mfrac><mn>1</mn><mi>K</mi></mfrac><msub><mi>w</mi><mi>k</mi></msub>"


def test_a_letter_with_an_accent_keeps_its_index_and_a_function_its_distance():
    accent = '<mover accent="true"><mi>w</mi><mo stretchy="false">~</mo></mover>'
    assert f"<msub>{accent}<mi>k</mi></msub>" in mathml.mathml(r"\tilde w_k")
    space = '<mspace width="0.17em"></mspace>'
    assert f"<mi>E</mi>{space}<mi>log</mi>{space}<mi>p</mi>" in mathml.mathml(r"E \log p")


def test_an_unknown_command_is_a_warning_that_names_it(monkeypatch):
    said: list[str] = []
    logger = types.SimpleNamespace(warning=lambda text, *values, **_: said.append(text % values))
    monkeypatch.setattr(mathml, "_LOGGER", logger)
    assert mathml.mathml(r"\frobnicate x") == r"<code>\frobnicate x</code>"
    assert said == [r'the formula $\frobnicate x$ cannot be set: Unknown LaTeX command "\frobnicate".']
