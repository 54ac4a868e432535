"""Links that nobody has to write: `code` to what it names, and arXiv identifiers to their papers."""

import re
from collections.abc import Mapping

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from docs.extensions.repository import ROOT, address

# A list, "arXiv:1611.00712, 1611.01144", says arXiv once.
_ARXIV = re.compile(r"((?:arXiv:|(?<=arXiv:\d{4}\.\d{5}, ))\d{4}\.\d{4,5})")
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_FILE = re.compile(r"(?:vi_jax|experiments|tests)/[\w./-]+\.\w+")


def target(text: str, names: Mapping[str, str], module: str | None) -> str | None:
    """Returns the full public name that a piece of code stands for, None if it is none or not only one.

    Args:
      text: as `vi.bounds.renyi(2)`, `bounds.renyi`, or on the module's own page `renyi`.
      names: address by full name.
      module: whose page this is, if it is the page of one.
    """
    match = _NAME.match(text)
    if match is None or text[match.end() :][:1] not in ("", "("):
        return None
    name = re.sub(r"^(vi|vi_jax)\.", "", match[0])
    candidates = [f"{module}.{name}"] if module else []
    if "." in name or match[0] != name:
        candidates += [f"vi_jax.{name}"]
    else:
        same = [full for full in names if full.rpartition(".")[2] == name]
        is_no_word = "_" in name or name[:1].isupper() or same[:1] == [f"vi_jax.estimators.{name}"]
        candidates += (same if len(same) == 1 else [f"vi_jax.{name}"]) if is_no_word else []
    return next((full for full in candidates if full in names), None)


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Links the code and the papers of a page that is about to be written."""
    names = _addresses(app)
    module = docname.removeprefix("api/") if docname.startswith("api/") else None
    for node in list(doctree.findall(nodes.literal)):
        if not _inside(node, (nodes.reference, nodes.title, addnodes.desc_signature)):
            _link_code(app, node, docname, names, module)
    for node in list(doctree.findall(nodes.Text)):
        if _ARXIV.search(node) and not _inside(node, (nodes.reference, nodes.literal, nodes.literal_block)):
            node.parent.replace(node, _with_papers(node.astext()))


def _link_code(app: Sphinx, node: nodes.literal, docname: str, names: Mapping[str, str], module: str | None) -> None:
    text = node.astext()
    uri = None
    if _FILE.fullmatch(text) and (ROOT / text).is_file():
        uri = "../" * docname.count("/") + address(text)
    elif text not in _parameters(node) and (full := target(text, names, module)) is not None:
        page, anchor = names[full].split("#")
        uri = ("" if page == docname else app.builder.get_relative_uri(docname, page)) + f"#{anchor}"
    if uri is not None:
        reference = nodes.reference("", "", internal=True, refuri=uri)
        node.replace_self(reference)
        reference += node


def _addresses(app: Sphinx) -> dict[str, str]:
    objects = app.env.domains["py"].get_objects()
    return {name: f"{page}#{anchor}" for name, _, _, page, anchor, _ in objects}


def _parameters(node: nodes.Node) -> set[str]:
    """The names of the parameters, fields or methods of what the node helps to describe: those mean themselves."""
    found: set[str] = set()
    while (node := node.parent) is not None:
        if isinstance(node, addnodes.desc):
            found |= {p.astext().lstrip("*").partition(":")[0].partition("=")[0] for p in _declared(node)}
    return found


def _declared(node: addnodes.desc) -> list[nodes.Element]:
    signature = node[0]
    return list(signature.findall(addnodes.desc_parameter)) if isinstance(signature, nodes.Element) else []


def _with_papers(text: str) -> list[nodes.Node]:
    found: list[nodes.Node] = []
    for index, part in enumerate(_ARXIV.split(text)):
        if index % 2:
            found.append(nodes.reference(text=part, refuri=f"https://arxiv.org/abs/{part.removeprefix('arXiv:')}"))
        elif part:
            found.append(nodes.Text(part))
    return found


def _inside(node: nodes.Node, kinds: tuple[type, ...]) -> bool:
    while (node := node.parent) is not None:
        if isinstance(node, kinds):
            return True
    return False


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("doctree-resolved", link, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
