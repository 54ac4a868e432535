"""Docstrings in Google style to MyST Markdown: sections become field lists, all else is Markdown as it stands."""

import re
import textwrap
from collections.abc import Iterator

# `Of each block, …:` divides long lists of attributes.
_SECTION = re.compile(r"(?m)^(Args|Attributes|Returns|Yields|Raises|Of [\w ,]+):[ ]*$\n")
_ENTRY = re.compile(r"(?m)^(?=\S)")
_NAMED = re.compile(r"(?P<names>[*\w., ]+?):\s+(?P<text>.*)", re.DOTALL)
LABELS = {"Args": "Arguments"}
"""How a section is called on the page, where that is not its name."""


def first_sentence(text: str) -> str:
    """Returns the docstring up to its first full stop, or to its first empty line."""
    paragraph = " ".join(text.split("\n\n")[0].split())
    # A full stop within `code` or after an abbreviation ends nothing.
    match = re.match(r"(?:`[^`]*`|[^`])+?\.(?= [A-Z`∂Σ]|$)", paragraph)
    return match[0] if match else paragraph


def to_markdown(text: str) -> str:
    """Returns a docstring, without its indentation, as MyST Markdown.

    Raises:
      ValueError: an entry of a section is not `name: text`.
    """
    head, *rest = _SECTION.split(text)
    parts = [head.rstrip()]
    for name, body in zip(rest[::2], rest[1::2], strict=True):
        block, after = _split_off(body)
        parts.append(f":{LABELS.get(name, name)}:\n" + _indent("\n".join(_entries(name, block))))
        if after:
            parts.append(after)
    return "\n\n".join(part for part in parts if part) + "\n"


def _split_off(body: str) -> tuple[str, str]:
    """The indented lines of a section, and what follows it at the margin."""
    match = re.search(r"(?m)^\S", body)
    end = match.start() if match else len(body)
    return textwrap.dedent(body[:end]).strip("\n"), body[end:].strip()


def _entries(section: str, block: str) -> Iterator[str]:
    if section in ("Returns", "Yields"):
        yield block
        return
    for entry in filter(str.strip, _ENTRY.split(block)):
        match = _NAMED.fullmatch(entry.strip())
        if match is None:
            raise ValueError(f"an entry of {section!r} is not `name: text`, mend the docstring: {entry.strip()[:60]!r}")
        names = ", ".join(f"`{name.strip()}`" for name in match["names"].split(","))
        first, _, more = match["text"].partition("\n")
        item = f"{first}\n{textwrap.dedent(more)}".rstrip()
        yield f"- {names} — " + _indent(item).lstrip()


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line.strip() else "" for line in text.split("\n"))
