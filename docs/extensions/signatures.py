"""Signatures as the source writes them: `PyTree` and `BoundFn` stay what they are called there.

A default with a private name shows its value instead, and an annotation loses its quotation marks.
"""

import ast
import copy
import importlib
import inspect
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docs.extensions.public import assignment, definition, home_of

_LONGEST = 70


def signature(module: str, name: str) -> str:
    """Returns `(parameters) -> what is returned` of a public name; empty for a constant.

    That of a NamedTuple is its fields, that of a Protocol what it is called with. A decorator that changes the
    parameters is followed: an estimator is a function of a bound, whatever it was made of.
    """
    node, value = definition(module, name), getattr(importlib.import_module(module), name)
    if node is None:
        return ""
    names = vars(importlib.import_module(home_of(module, name)))
    if isinstance(node, ast.ClassDef):
        return _of_class(node, value, names)
    assert isinstance(node, ast.FunctionDef)
    actual = inspect.signature(value, follow_wrapped=False)
    made = [argument.arg for argument in _all(node.args)] != list(actual.parameters) and hasattr(value, "__code__")
    return _of_function(_made_by_decorator(value.__code__) if made else node, names)


def constant(module: str, name: str) -> dict[str, str]:
    """Returns the `type` of a constant, where the source states it, and its `value`, where that can be read there."""
    node = assignment(module, name)
    assert node.value is not None
    value, found = ast.unparse(node.value), {}
    if isinstance(node, ast.AnnAssign):
        found["type"] = ast.unparse(_unquoted(node.annotation))
    if len(value) <= _LONGEST and not re.search(r"lambda|\b_[a-z]", value):
        found["value"] = value
    return found


def _made_by_decorator(code: types.CodeType) -> ast.FunctionDef:
    """The definition, inside a decorator, of the function that it has returned."""
    tree = ast.parse(Path(code.co_filename).read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == code.co_name)
    return next(
        node for node in found if code.co_firstlineno in (node.lineno, *(d.lineno for d in node.decorator_list))
    )


def methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    """Returns the methods and properties of a class that have a name of their own and a docstring."""
    functions = (item for item in node.body if isinstance(item, ast.FunctionDef))
    return [item for item in functions if not item.name.startswith("_") and ast.get_docstring(item)]


def of_method(node: ast.FunctionDef) -> str:
    """Returns the signature of a method without `self`; empty for a property."""
    if any(ast.unparse(decorator) in ("property", "functools.cached_property") for decorator in node.decorator_list):
        return ""
    return _of_function(node, {}, skip=1)


def _of_class(node: ast.ClassDef, value: object, names: Mapping[str, object]) -> str:
    call = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__call__"), None)
    if getattr(value, "_is_protocol", False) and call is not None:
        return _of_function(call, names, skip=1)
    made = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
    if made is not None:
        return _of_function(made, names, skip=1).partition(" -> ")[0]
    return f"({', '.join(_field(item, names) for item in node.body if isinstance(item, ast.AnnAssign))})"


def _field(item: ast.AnnAssign, names: Mapping[str, object]) -> str:
    field = copy.deepcopy(item)
    field.annotation = _unquoted(item.annotation)
    field.value = _shown(item.value, names)
    return ast.unparse(field)


def _of_function(node: ast.FunctionDef, names: Mapping[str, object], *, skip: int = 0) -> str:
    arguments = copy.deepcopy(node.args)
    first = arguments.posonlyargs or arguments.args
    del first[:skip]
    for argument in _all(arguments):
        argument.annotation = _unquoted(argument.annotation)
    arguments.defaults = [_shown(default, names) for default in arguments.defaults]
    arguments.kw_defaults = [_shown(default, names) for default in arguments.kw_defaults]
    returns = _unquoted(node.returns)
    return f"({ast.unparse(arguments)})" + ("" if returns is None else f" -> {ast.unparse(returns)}")


def _shown(default: Any, names: Mapping[str, object]) -> Any:
    """The value of a default that has a private name, any other default as it is."""
    if isinstance(default, ast.Name) and default.id.startswith("_"):
        return _expression(repr(names[default.id]))
    return default


def _unquoted(annotation: Any) -> Any:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return _expression(annotation.value)
    return annotation


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _all(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
    return [argument for argument in found if argument is not None]
