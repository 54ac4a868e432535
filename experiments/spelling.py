"""Bounds and estimators by name, as a command line spells them: `iwae`, `renyi:0.5`, `piwae:4`.

What takes a parameter has it after a colon. A new bound or estimator is one row of a table here.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import vi_jax as vi

T = TypeVar("T")


class Spelling(NamedTuple):
    """How a name is made into a function.

    Attributes:
      parameter: what stands after the colon, in words; empty where nothing does.
      make: `parameter -> function`, of the parameter's text.
    """

    parameter: str
    make: Callable[[str], Any]


def plain(value: Any) -> Spelling:
    """A name without a parameter."""
    return Spelling("", lambda _: value)


def numbers(text: str) -> tuple[float, ...]:
    """Returns `0,0.1,1` as numbers."""
    return tuple(float(part) for part in text.split(","))


def convex(name: str) -> Callable[[Any], Any]:
    """Returns the function of `bounds.csiszar` of this name."""
    known = ("kl_reverse", "kl_forward", "chi_square", "squared_hellinger", "jensen_shannon")
    return getattr(vi.bounds.csiszar, chosen("convex function", {name: name for name in known}, name, ", ".join(known)))


BOUNDS: Mapping[str, Spelling] = {
    "elbo": plain(vi.bounds.elbo),
    "iwae": plain(vi.bounds.iwae),
    "eubo": plain(vi.bounds.eubo),
    "renyi": Spelling("ALPHA", lambda text: vi.bounds.renyi(float(text))),
    "cubo": Spelling("N", lambda text: vi.bounds.cubo(float(text))),
    "miwae": Spelling("GROUPS", lambda text: vi.bounds.miwae(int(text))),
    "ciwae": Spelling("BETA", lambda text: vi.bounds.ciwae(float(text))),
    "jackknife": Spelling("ORDER", lambda text: vi.bounds.jackknife(int(text))),
    "thermodynamic": Spelling("0,...,1", lambda text: vi.bounds.thermodynamic(numbers(text))),
    "f_divergence": Spelling("NAME", lambda text: vi.bounds.f_divergence(convex(text))),
    "log_variance": plain(vi.bounds.log_variance),
    "thermodynamic_upper": Spelling("0,...,1", lambda text: vi.bounds.thermodynamic_upper(numbers(text))),
}
ESTIMATORS: Mapping[str, Spelling] = {
    "pathwise": plain(vi.estimators.pathwise),
    "sticking_the_landing": plain(vi.estimators.sticking_the_landing),
    "doubly_reparameterized": plain(vi.estimators.doubly_reparameterized),
    "score_function": plain(vi.estimators.score_function),
    "leave_one_out": plain(vi.estimators.leave_one_out),
    "vimco": plain(vi.estimators.vimco),
    "vimco_arithmetic": plain(vi.estimators.vimco_arithmetic),
    "ovis": plain(vi.estimators.ovis),
    "wake_phi": plain(vi.estimators.wake_phi),
    "wake_phi_doubly_reparameterized": plain(vi.estimators.wake_phi_doubly_reparameterized),
    "piwae": Spelling("GROUPS", lambda text: vi.estimators.piwae(int(text))),
    "minimized": Spelling("ESTIMATOR", lambda text: vi.estimators.minimized(estimator(text))),
}


@functools.cache
def bound(name: str) -> vi.BoundFn:
    """Returns the bound of this name, the same function for the same name.

    Raises:
      ValueError: there is none, with a list of those that are; or its parameter is missing or wrong.
    """
    return spelled("bound", BOUNDS, name)


@functools.cache
def estimator(name: str) -> vi.Estimator:
    """Returns the estimator of this name, the same function for the same name.

    Raises:
      ValueError: as `bound`.
    """
    return spelled("estimator", ESTIMATORS, name)


def spelled(kind: str, table: Mapping[str, Spelling], name: str) -> Any:
    """Returns what `name` means in a table, or raises `ValueError`."""
    head, colon, text = name.partition(":")
    spelling = chosen(kind, table, head, names(table))
    if bool(colon) != bool(spelling.parameter):
        raise ValueError(f"{kind} {name!r} is written {form(head, spelling)}")
    try:
        return spelling.make(text)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{kind} {name!r} is written {form(head, spelling)}: {error}") from error


def chosen(kind: str, table: Mapping[str, T], name: str, known: str) -> T:
    """Returns the row of this name, or raises `ValueError` with all that there are."""
    if name not in table:
        raise ValueError(f"there is no {kind} {name!r}: choose from {known}")
    return table[name]


def names(table: Mapping[str, Spelling]) -> str:
    """Returns all names of a table, each as it is written."""
    return ", ".join(form(name, spelling) for name, spelling in table.items())


def form(name: str, spelling: Spelling) -> str:
    """Returns how a name is written, parameter and all."""
    return f"{name}:{spelling.parameter}" if spelling.parameter else name


SHORT = {
    "sticking_the_landing": "STL",
    "doubly_reparameterized": "DReG",
    "score_function": "score",
    "leave_one_out": "LOO",
    "vimco": "VIMCO",
    "vimco_arithmetic": "VIMCO-a",
    "ovis": "OVIS",
    "wake_phi": "wake-φ",
    "wake_phi_doubly_reparameterized": "wake DReG",
}
"""Names for the columns of a table."""


def short(name: str) -> str:
    """Returns the short name of an estimator."""
    return SHORT.get(name, name)
