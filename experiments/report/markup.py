"""Pieces of HTML. Each function takes plain text, escapes it and returns markup; only `tag` and `items` take markup."""

import base64
import html
import re
from collections.abc import Iterable

import pandas as pd

from experiments import verdicts

WORDS = {
    True: ("holds", "hold", "holds", "✓"),
    False: ("fails", "fail", "fails", "✗"),
    None: ("not resolved", "not resolved", "open", "?"),
}
"""Of a verdict: its word, the word of several, its class, its sign."""


def text(value: object) -> str:
    """Returns text with every character that means something in HTML escaped."""
    return html.escape(str(value))


def tag(name: str, *content: str, **attributes: str | None) -> str:
    """Returns `<name attributes>content</name>`; an attribute of None is left out, `class_` is `class`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(content)}</{name}>"


def inline(markdown: str) -> str:
    """Returns a line of Markdown as HTML: `code` is kept, of a link its text, for the page has no files beside it."""
    without_links = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text(without_links))


def items(name: str, sentences: Iterable[str], **attributes: str) -> str:
    """Returns a list, `ul` or `ol`, of lines that are markup."""
    return tag(name, *(tag("li", sentence) for sentence in sentences), **attributes)


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Returns a list of terms and what is said of them, as text."""
    return tag("dl", *(tag("dt", text(term)) + tag("dd", text(said)) for term, said in rows))


def details(summary: str, content: str) -> str:
    """Returns markup that is folded away under a line of text."""
    return tag("details", tag("summary", text(summary)), content)


def word(*, holds: bool | None, count: int | None = None) -> str:
    """Returns the word of a verdict, or of so many verdicts, with a colour and a sign."""
    one, several, kind, sign = WORDS[holds]
    said = one if count is None else f"{count} {one if count == 1 else several}"
    return tag("span", tag("span", sign, aria_hidden="true"), f" {said}", class_=f"word {kind}")


def scrolling(label: str, content: str, kind: str = "box") -> str:
    """Returns a box that scrolls by itself, by keyboard too, where the screen is narrower than its content."""
    return tag("div", content, class_=kind, role="region", aria_label=label, tabindex="0")


def image(data: bytes, description: str) -> str:
    """Returns an SVG as an image of its own document: its ids meet those of no other figure, and it runs no script."""
    source = "data:image/svg+xml;base64," + base64.b64encode(data).decode()
    return f'<img src="{source}" alt="{html.escape(description)}" decoding="async">'


def heading(caption: str) -> str:
    """Returns a table's caption, which stays as narrow as the screen where the table is wider."""
    return tag("caption", tag("span", text(caption)))


def table(frame: pd.DataFrame, numeric: Iterable[str], caption: str) -> str:
    """Returns a frame of text as a table; the first column names its rows."""
    numeric = set(numeric)
    kinds = ["number" if name in numeric else None for name in map(str, frame.columns)]
    head = [tag("th", text(name), scope="col", class_=kind) for name, kind in zip(frame.columns, kinds, strict=True)]
    lines = []
    for first, *rest in frame.itertuples(index=False, name=None):
        cells = [
            tag("td", text(verdicts.typeset(cell)), class_=kind) for cell, kind in zip(rest, kinds[1:], strict=True)
        ]
        lines.append(tag("tr", tag("th", text(first), scope="row", class_=kinds[0]), *cells))
    parts = (heading(caption), tag("thead", tag("tr", *head)), tag("tbody", *lines))
    return scrolling(caption, tag("table", *parts, class_="values"))
