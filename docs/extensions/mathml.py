r"""LaTeX, as the notebooks write it (`$\frac1K \sum_k w_k$`), as MathML, which browsers set without a script."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

_LOGGER = logging.getLogger(__name__)
# docutils sets the index of a letter with an accent below the letter, and no space about log between letters.
_ACCENT_WITH_INDEX = re.compile(r"<munderover>(<mi>[^<]*</mi>)(.*?)(<mo stretchy=.false.>[^<]</mo>)</munderover>")
_BESIDE_A_FUNCTION = re.compile(r"<mo>&ApplyFunction;</mo>(?!<mo)|(?<=</mi>)(?=<mi>[a-z]{2,}</mi>)")


def mathml(latex: str, *, location: nodes.Node | None = None, as_block: bool = False) -> str:
    """Returns a formula as the element `math` of a page; LaTeX that it does not know is a warning."""
    try:
        text = "".join(line.strip() for line in tex2mathml(latex, as_block=as_block).split("\n"))
    except MathError as error:
        _LOGGER.warning("the formula $%s$ cannot be set: %s", latex, error, location=location)
        return f"<code>{latex}</code>"
    text = _ACCENT_WITH_INDEX.sub(r'<msub><mover accent="true">\1\3</mover>\2</msub>', text)
    return _BESIDE_A_FUNCTION.sub('<mspace width="0.17em"></mspace>', text)


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), location=node))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{mathml(node.astext(), location=node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
