"""What every estimator shares: its signature, what it does with an impossible datum, what its claim survives."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vi_jax.types import BoundFn, CoefficientFn, Coefficients, Estimator

Rule = Callable[[BoundFn], bool]
"""bound -> whether the claim survives with this bound."""


def always(bound: BoundFn) -> bool:
    """The claim survives, whatever the bound."""
    del bound
    return True


def never(bound: BoundFn) -> bool:
    """The claim does not survive, or nobody has shown that it does."""
    del bound
    return False


class Tolerance(NamedTuple):
    """What the claim of an estimator survives; nothing, of one that does not say.

    Attributes:
      dependent_draws: draws of one datum that depend on each other, each alone distributed as q.
      scaled_likelihood: log-weights that are right on average only, as those of a minibatch with its likelihood scaled
        by N/n: every coefficient must be linear in them.
    """

    dependent_draws: Rule = never
    scaled_likelihood: Rule = never


def with_tolerance(estimator_: Estimator, tolerance_: Tolerance) -> Estimator:
    """Returns the estimator, which from now on says what its claim survives. It must be right: nothing checks it."""
    vars(estimator_).update(tolerance=tolerance_)
    return estimator_


def tolerance(estimator_: Estimator) -> Tolerance:
    """Returns what the claim of `estimator_` survives, as far as it says."""
    return getattr(estimator_, "tolerance", Tolerance())


def estimator(define: Callable[[BoundFn, jax.Array], Coefficients]) -> Estimator:
    """Makes an `Estimator`, bound -> (log_w -> Coefficients), of one function of (bound, log_w)."""

    @functools.wraps(define)
    def of_bound(bound: BoundFn) -> CoefficientFn:
        return zero_where_impossible(bound, functools.partial(define, bound))

    return of_bound


def zero_where_impossible(bound: BoundFn, coefficients: CoefficientFn) -> CoefficientFn:
    """Returns `coefficients` with zeros for each datum whose bound is infinite.

    Minus infinity of a bound on log p(x), plus infinity of a divergence: no finite step improves such a datum, and its
    formulas read 0/0. It is counted by whoever reads its value.
    """

    def guarded(log_w: jax.Array) -> Coefficients:
        impossible = jnp.isinf(bound(log_w))
        model, path, score, ratio = coefficients(log_w)
        model, path, score = (jnp.where(impossible, 0, c) for c in (model, path, score))
        # A ratio known before any draw stays a Python float: 0 = 0 × ratio holds as it is.
        return Coefficients(model, path, score, ratio if ratio is None or type(ratio) is float else _finite(ratio))

    return guarded


def _finite(ratio: jax.Array | float) -> jax.Array:
    return jnp.where(jnp.isnan(ratio), 0, ratio)


def require_two_samples(name: str, log_w: jax.Array) -> None:
    """Raises `ValueError` at K = 1, where there is no other draw to build a baseline from."""
    if log_w.shape[0] < 2:
        raise ValueError(
            f"{name} compares each draw with the others and needs num_samples ≥ 2, got {log_w.shape[0]}. "
            "Use score_function for a single draw."
        )
