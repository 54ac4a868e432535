"""The site works without a network: nothing that a page loads by itself may come from elsewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

_LOGGER = logging.getLogger(__name__)
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?=[^>]*\brel=["'](?:[^"']*\s)?(?:stylesheet|icon|preload|prefetch|preconnect|modulepreload)\b)"""
    r"""[^>]*?\bhref=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|@import\s+(?:url\()?["']?((?:https?:)?//[^"'\s)]+)|url\(["']?((?:https?:)?//[^"'\s)]+)"""
)


def loaded_from_elsewhere(text: str) -> list[str]:
    """Returns the addresses of scripts, style sheets, fonts and images that a page or style sheet loads by network."""
    return [next(filter(None, match.groups())) for match in _LOADED.finditer(text)]


def found_in(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yields each file of a site that loads something by network, and what."""
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".html", ".css")):
        for address in loaded_from_elsewhere(path.read_text(encoding="utf-8")):
            yield path.relative_to(folder), address


def check(app: Sphinx, exception: Exception | None) -> None:
    """Warns of everything that the finished site would load by network."""
    if exception is None:
        files: dict[str, list[str]] = {}
        for path, address in found_in(Path(app.outdir)):
            files.setdefault(address, []).append(str(path))
        for address, loading in files.items():
            where = loading[0] if len(loading) == 1 else f"{loading[0]} and {len(loading) - 1} more"
            _LOGGER.warning(
                "%s is loaded by %s: the site must work offline, keep a copy in docs/_static.", address, where
            )


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
