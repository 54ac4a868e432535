"""Signatures as the source writes them: `PyTree` and `BoundFn` stay what they are called there."""

import ast
import importlib
import inspect
import types
from pathlib import Path

from docs.extensions.public import definition


def signature(module: str, name: str) -> str:
    """Returns `(parameters) -> what is returned` of a public name; empty for a constant.

    That of a NamedTuple is its fields, that of a Protocol what it is called with. A decorator that changes the
    parameters is followed: an estimator is a function of a bound, whatever it was made of.
    """
    node, value = definition(module, name), getattr(importlib.import_module(module), name)
    if node is None:
        return ""
    if isinstance(node, ast.ClassDef):
        return _of_class(node, value)
    assert isinstance(node, ast.FunctionDef)
    actual = inspect.signature(value, follow_wrapped=False)
    made = _parameters(node) != list(actual.parameters) and hasattr(value, "__code__")
    return _of_function(_made_by_decorator(value.__code__) if made else node)


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
    return _of_function(node, skip=1)


def _of_class(node: ast.ClassDef, value: object) -> str:
    call = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__call__"), None)
    if getattr(value, "_is_protocol", False) and call is not None:
        return _of_function(call, skip=1)
    made = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
    if made is not None:
        return _of_function(made, skip=1).partition(" -> ")[0]
    parts = (ast.unparse(item) for item in node.body if isinstance(item, ast.AnnAssign))
    return f"({', '.join(parts)})"


def _of_function(node: ast.FunctionDef, *, skip: int = 0) -> str:
    arguments = node.args
    if skip and arguments.posonlyargs:
        arguments = ast.arguments(**{**vars(arguments), "posonlyargs": arguments.posonlyargs[1:]})
    elif skip:
        arguments = ast.arguments(**{**vars(arguments), "args": arguments.args[1:]})
    text = f"({ast.unparse(arguments)})"
    return text if node.returns is None else f"{text} -> {ast.unparse(node.returns)}"


def _parameters(node: ast.FunctionDef) -> list[str]:
    arguments = node.args
    names = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
    return [argument.arg for argument in names if argument is not None]
