"""The name by which errors call a bound, an estimator or a convex function that another function has made."""

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def named(function: Function, name: str) -> Function:
    """Returns the function under a name, as "renyi(0.5)" or "minimized(vimco)"."""
    setattr(function, "__name__", name)  # noqa: B010 - a protocol has no name, a function does
    return function


def name_of(function: Callable[..., Any]) -> str:
    """Returns the name of a function, or what it prints as."""
    return getattr(function, "__name__", str(function))
