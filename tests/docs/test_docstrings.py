"""Docstrings as Markdown: sections as lists, summaries as one sentence."""

import pytest

from docs.extensions.docstrings import first_sentence, to_markdown

TEXT = """Makes it, e.g. of `a.b`. And more.

    L = Σ_k w_k

Args:
  key: a key,
    consumed: once.
  x, y: data.

Returns:
  `[B]` nats.

Raises:
  TypeError, ValueError: it does not fit,
    or not at all.

After."""


def test_sections_become_fields_and_all_else_stays():
    assert to_markdown(TEXT) == (
        "Makes it, e.g. of `a.b`. And more.\n\n    L = Σ_k w_k\n\n"
        ":Arguments:\n  - `key` — a key,\n    consumed: once.\n  - `x`, `y` — data.\n\n"
        ":Returns:\n  `[B]` nats.\n\n"
        ":Raises:\n  - `TypeError`, `ValueError` — it does not fit,\n    or not at all.\n\n"
        "After.\n"
    )


def test_attributes_may_be_divided():
    assert (
        to_markdown("It.\n\nOf each, on an axis:\n  snr: a ratio.\n")
        == "It.\n\n:Of each, on an axis:\n  - `snr` — a ratio.\n"
    )


def test_an_entry_without_a_name_is_refused():
    with pytest.raises(ValueError, match=r"an entry of 'Args' is not `name: text`.*'the key'"):
        to_markdown("Makes it.\n\nArgs:\n  the key\n")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (TEXT, "Makes it, e.g. of `a.b`."),
        ("Returns `x. y`, and\nz. More.", "Returns `x. y`, and z."),
        ("No stop\n\nNext.", "No stop"),
        ("f(u) = 0.5 u: a thing. Then.", "f(u) = 0.5 u: a thing."),
    ],
)
def test_the_first_sentence(text, sentence):
    assert first_sentence(text) == sentence
