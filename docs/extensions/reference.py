"""The reference: a page `docs/api/MODULE.md` holds its title and one directive, and the rest is read from the code.

    ```{public-module} vi_jax.bounds
    ```

Before a page is read, the directive gives way to Markdown: a table of the names, then each with its signature and its
docstring. A public name without a docstring, or on no page, is a warning, and warnings fail the build.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Sequence

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from docs.extensions import public
from docs.extensions.docstrings import first_sentence, to_markdown
from docs.extensions.signatures import constant, methods, of_method, signature

_DIRECTIVE = re.compile(r"(?m)^```\{public-module\} (\S+)\n```$")
_LOGGER = logging.getLogger(__name__)


def write_reference(app: Sphinx, docname: str, content: list[str]) -> None:
    """Puts the reference of a module in the place of its directive."""
    for match in _DIRECTIVE.finditer(content[0]):
        for file in sources(match[1]):
            app.env.note_dependency(file, docname=docname)
    content[0] = _DIRECTIVE.sub(lambda match: page(match[1]), content[0])


def sources(module: str) -> set[str]:
    """Returns the files that the page of a module is read from: it is out of date when one of them is newer."""
    homes = {module, *(public.home_of(module, name) for name in public.public_names(module))}
    return {str(importlib.import_module(home).__file__) for home in homes}


def page(module: str) -> str:
    """Returns the reference of a module as MyST Markdown."""
    names = public.public_names(module)
    text = to_markdown(inspect.getdoc(importlib.import_module(module)) or "")
    parts = [f"```{{py:module}} {module}\n```", text, _modules(module), _summary(module, names)]
    return "\n\n".join([part for part in parts if part] + [_symbol_or_warning(module, name) for name in names])


def _symbol_or_warning(module: str, name: str) -> str:
    try:
        return symbol(module, name)
    except ValueError as error:
        _LOGGER.warning("%s.%s: %s", module, name, error)
        return ""


def symbol(module: str, name: str) -> str:
    """Returns one public name as a directive of Sphinx's Python domain, its docstring inside."""
    node, text = public.definition(module, name), public.documentation(module, name)
    kind = {ast.FunctionDef: "function", ast.ClassDef: "class"}.get(type(node), "data")
    inside = to_markdown(text)
    if isinstance(node, ast.ClassDef):
        inside += "".join("\n" + _method(item) for item in methods(node))
    options = {"module": module, **(constant(module, name) if node is None else {})}
    head = "".join(f":{option}: {value}\n" for option, value in options.items())
    return f"``````{{py:{kind}}} {name}{signature(module, name)}\n{head}\n{inside}``````"


def _method(node: ast.FunctionDef) -> str:
    parameters = of_method(node)
    kind = "method" if parameters else "property"
    text = to_markdown(ast.get_docstring(node) or "")
    return f"`````{{py:{kind}}} {node.name}{parameters}\n\n{text}`````\n"


def _modules(module: str) -> str:
    inside = ", ".join(f"`{name}`" for name in public.submodules(module))
    return f"Modules: {inside}." if inside else ""


def _summary(module: str, names: Sequence[str]) -> str:
    rows = (f"| `{name}` | {_cell(first_sentence(public.documentation(module, name)))} |" for name in names)
    return "\n".join([":::{table}\n:class: summary\n", "| name | |", "|---|---|", *rows, ":::"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warns of every public name that has no docstring or is on no page."""
    del app
    documented = {name for name, _, kind, *_ in env.domains["py"].get_objects() if kind != "module"}
    for name in public.undocumented():
        _LOGGER.warning("%s is public and has no docstring: write one, or take its name out of the module.", name)
    for module in public.MODULES:
        for name in public.public_names(module):
            if f"{module}.{name}" not in documented:
                _LOGGER.warning("%s.%s is public and on no page: add docs/api/%s.md.", module, name, module)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("source-read", write_reference)
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
