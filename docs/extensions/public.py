"""Which names are public: read from the source of the modules, where nothing has to be kept in step.

A package makes a name public by `from … import name as name`; a module by a function or a class, or by an assignment
with a docstring below it. No public name starts with an underscore. `tests/test_public_api.py` states the same names.
"""

import ast
import functools
import importlib
import inspect
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any


@functools.cache
def public_names(module: str) -> tuple[str, ...]:
    """Returns the public names of a module, functions and classes and constants, sorted without regard to case."""
    found = importlib.import_module(module)
    names = set(_bound(_body(found)))
    return tuple(sorted((name for name in names if not inspect.ismodule(getattr(found, name))), key=str.lower))


def submodules(module: str) -> list[str]:
    """Returns the public modules that a package binds, by their full names."""
    found = importlib.import_module(module)
    inside = (getattr(found, name) for name in sorted(set(_bound(_body(found)))))
    return [value.__name__ for value in inside if inspect.ismodule(value)]


def documentation(module: str, name: str) -> str:
    """Returns the docstring of a public name, that of the assignment where it is a constant; empty if it has none."""
    value = getattr(importlib.import_module(module), name)
    if not inspect.ismodule(value) and definition(module, name) is None:
        return _documented(_body(importlib.import_module(home_of(module, name)))).get(name, "")
    text = inspect.getdoc(value) or ""
    # A NamedTuple without a docstring is given its signature for one.
    return "" if text.startswith(f"{name}(") else text


def home_of(module: str, name: str) -> str:
    """Returns the module that defines a name which another one binds."""
    for node in _walk(_body(importlib.import_module(module))):
        if isinstance(node, ast.ImportFrom) and any(name in (alias.asname, alias.name) for alias in node.names):
            assert node.module is not None
            return home_of(node.module, name)
    return module


def definition(module: str, name: str) -> ast.AST | None:
    """Returns the syntax tree of the function or class behind a public name, None for a constant."""
    body = _body(importlib.import_module(home_of(module, name)))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return next((node for node in _walk(body) if isinstance(node, kinds) and node.name == name), None)


def assignment(module: str, name: str) -> ast.Assign | ast.AnnAssign:
    """Returns the syntax tree of the assignment behind a public name that is a constant or a type.

    Raises:
      StopIteration: it is a function or a class.
    """
    body = _walk(_body(importlib.import_module(home_of(module, name))))
    return next(node for node in body if isinstance(node, ast.Assign | ast.AnnAssign) and _assigned(node) == name)


def undocumented() -> list[str]:
    """Returns the public names without documentation, by their full names."""
    pairs = ((module, name) for module in MODULES for name in public_names(module))
    return [f"{module}.{name}" for module, name in pairs if not documentation(module, name)]


def with_submodules(module: str) -> Iterator[str]:
    """Yields a module and the public modules below it."""
    yield module
    for inner in submodules(module):
        yield from with_submodules(inner)


@functools.cache
def _body(module: ModuleType) -> list[ast.stmt]:
    return ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body


def _walk(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yields the statements of a module, and those for the type checker alone: names that are loaded when asked for."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from node.body


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    for node in _walk(body):
        if isinstance(node, ast.ImportFrom):
            yield from (name.name for name in node.names if name.asname == name.name and not name.name.startswith("_"))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
    yield from _documented(body)


def _documented(body: list[ast.stmt]) -> dict[str, str]:
    found: dict[str, str] = {}
    for node, after in itertools.pairwise(body):
        name = _assigned(node)
        if not name.startswith("_") and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[name] = inspect.cleandoc(str(after.value.value))
    return found


def _assigned(node: ast.stmt) -> str:
    """The name that a statement assigns to, `_` if it is no plain assignment."""
    target: Any = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else "_"


MODULES = tuple(with_submodules("vi_jax"))
"""The modules of the reference, a page each."""
