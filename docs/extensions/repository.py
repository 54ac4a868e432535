"""Pages and links that leave docs/: files of the repository as pages of the site, so that it is whole offline.

A fence takes the place of a Markdown file from elsewhere, or of one section of it:

    ```{page} README.md # Your own model and guide
    ```

Links keep the form that a reader of the repository can follow. One to a Markdown file leads to the page it is on; one
to a folder of docs/ to its index; one to any other file to a page that shows the file.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).parents[2]
SOURCES = "source/"
_LOGGER = logging.getLogger(__name__)
_PAGE = re.compile(r"(?m)^```\{page\} (?P<file>\S+?)(?: # (?P<section>.+?))?\n```$")
_LINK = re.compile(r"(\]\()(?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?=\))")
_FENCE = re.compile(r"(?ms)^(`{3,}|~{3,}).*?^\1`*[ ]*$")
_SHOWN = re.compile(rf'href="(?:\.\./)*{SOURCES}([^"#]+)\.html')
_LEXERS = {".py": "python", ".toml": "toml", ".yml": "yaml", ".yaml": "yaml", ".sh": "bash", "": "make"}


def expand(app: Sphinx, docname: str, content: list[str]) -> None:
    """Puts in what a page takes from elsewhere, and turns its links to where they lead on the site."""
    here = PurePosixPath("docs", docname).parent
    # What is taken in has links of its own, which lead from where it stands.
    parts, end, text = [], 0, content[0]
    for match in _PAGE.finditer(text):
        taken = _section_or_warning(match["file"], match["section"], docname)
        app.env.note_dependency(ROOT / match["file"], docname=docname)
        parts += [relinked(app, docname, text[end : match.start()], here)]
        parts += [relinked(app, docname, taken, PurePosixPath(match["file"]).parent)]
        end = match.end()
    content[0] = "".join([*parts, relinked(app, docname, text[end:], here)])


def section(file: str, title: str | None) -> str:
    """Returns a Markdown file of the repository, or the body of one of its second-level sections.

    Raises:
      ValueError: there is no such file or section.
    """
    path = ROOT / file
    if not path.is_file():
        raise ValueError(f"a page takes in {file!r}, and the repository has no such file.")
    text = path.read_text(encoding="utf-8")
    if title is None:
        return text
    found = re.search(rf"(?ms)^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text)
    if found is None:
        raise ValueError(f"a page takes in the section {title!r} of {file}, which has none of that title.")
    return found[1].strip() + "\n"


def _section_or_warning(file: str, title: str | None, docname: str) -> str:
    try:
        return section(file, title)
    except ValueError as error:
        _LOGGER.warning("%s", error, location=docname)
        return ""


def relinked(app: Sphinx, docname: str, text: str, folder: PurePosixPath) -> str:
    """Returns Markdown written in `folder` with its relative links as they must be on the page `docname`."""

    def one(match: re.Match) -> str:
        path = _normal(folder / match["target"])
        return f"{match[1]}{_target(app, docname, path, match['target'])}{match['anchor'] or ''}"

    return "".join(part if is_code else _LINK.sub(one, part) for is_code, part in _pieces(text))


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    end = 0
    for match in _FENCE.finditer(text):
        yield from ((False, text[end : match.start()]), (True, match[0]))
        end = match.end()
    yield False, text[end:]


def _target(app: Sphinx, docname: str, path: str, written: str) -> str:
    up = "../" * docname.count("/")
    page = _homes(app).get(path) or (f"{path.removeprefix('docs/')}/index" if (ROOT / path).is_dir() else None)
    if page is not None and page in app.env.found_docs:
        return f"{up}{page}.md"
    if path.startswith("docs/") and not path.endswith(".py"):
        return f"{up}{path.removeprefix('docs/')}"
    if not (ROOT / path).is_file():
        _LOGGER.warning("a link leads to %r, which is no file of the repository.", written, location=docname)
    return f"repository:{path}"


def _homes(app: Sphinx) -> dict[str, str]:
    """Which page a Markdown file outside docs/ is, whole."""
    homes = dict(app.config.repository_pages)
    for docname in app.env.found_docs:
        path = Path(app.env.doc2path(docname))
        for match in _PAGE.finditer(path.read_text(encoding="utf-8")) if path.suffix == ".md" else ():
            if match["section"] is None:
                homes[match["file"]] = docname
    return homes


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turns `repository:FILE` into the address of the page that shows the file, relative to this page."""
    del app
    for node in doctree.findall(nodes.reference):
        if node.get("refuri", "").startswith("repository:"):
            node["refuri"] = "../" * docname.count("/") + address(node["refuri"].removeprefix("repository:"))


def address(file: str) -> str:
    """Returns where the site shows a file of the repository, from the top of the site."""
    return f"{SOURCES}{file}.html"


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yields a page for every file that the written pages lead to."""
    written = (path.read_text(encoding="utf-8") for path in Path(app.outdir).rglob("*.html"))
    for file in sorted({file for text in written for file in _SHOWN.findall(text)}):
        lexer = _LEXERS.get(Path(file).suffix, "text")
        highlighter: Any = app.builder.highlighter  # type: ignore[attr-defined]
        code = highlighter.highlight_block((ROOT / file).read_text(encoding="utf-8"), lexer)
        yield f"{SOURCES}{file}", {"parents": [], "title": file, "body": f"<h1>{file}</h1>{code}"}, "page.html"


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.add_config_value("repository_pages", {}, "env")
    app.connect("source-read", expand, priority=400)
    app.connect("doctree-resolved", resolve)
    app.connect("html-collect-pages", source_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
