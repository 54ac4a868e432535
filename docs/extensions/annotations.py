"""Links in signatures: `Support` in a signature is what the module that defines the function calls `Support`."""

import importlib

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from docs.extensions import public


def full_name(module: str, symbol: str, written: str) -> str | None:
    """Returns the public name of what an annotation of a symbol refers to, the first page that has it; or None.

    Args:
      module: the public module that binds the symbol.
      symbol: its name there.
      written: a name as in the annotation.
    """
    value = importlib.import_module(public.home_of(module, symbol))
    name = written.rpartition(".")[2]
    for part in written.split("."):
        value = getattr(value, part, None)
    bound = [home for home in (module, *public.MODULES) if name in public.public_names(home)]
    values = {id(_attribute(home, name)) for home in bound}
    if value is None and len(values) == 1:  # named by the decorator that made the symbol, in a module of its own
        return f"{bound[0]}.{name}"
    return next((f"{home}.{name}" for home in bound if _attribute(home, name) is value), None)


def qualify(app: Sphinx, doctree: nodes.document) -> None:
    """Gives the names in signatures their modules; those that are no public name become plain text."""
    del app
    for signature in doctree.findall(addnodes.desc_signature):
        module, symbol = signature.get("module"), signature.get("fullname", "").partition(".")[0]
        for node in list(signature.findall(addnodes.pending_xref)) if module in public.MODULES else ():
            full = full_name(module, symbol, node["reftarget"])
            if full is None:
                node.replace_self(node.children)
            else:
                node["reftarget"] = full


def _attribute(module: str, name: str) -> object:
    return getattr(importlib.import_module(module), name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("doctree-read", qualify)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
