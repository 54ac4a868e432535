"""Where a parameter lives: the supports of `unconstrained`, each a smooth bijection from unconstrained numbers.

    value = T(u),   log p(u) = log p(T(u)) + log |det ∂T/∂u|

The determinant is with respect to the coordinates in which densities on that support are stated: all numbers of a
scalar or an ordered vector, all but the last of a simplex, those below the diagonal of a correlation Cholesky factor.
As in Stan, "Reference Manual: Constraint Transforms"; the bijections are those of TensorFlow Probability (Dillon et
al., arXiv:1711.10604).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from vi_jax.lazy import tfp


@dataclasses.dataclass(frozen=True)
class Support:
    """A set of arrays and its bijection with unconstrained arrays. Leading axes are independent copies.

    Attributes:
      name: in errors.
      constrain: T, `u -> value`.
      unconstrain: T⁻¹.
      log_det: `u -> scalar`, log |det ∂T/∂u| of the whole array.
      contains: `value -> bool scalar`, whether the whole array lies in the set; the boundary does not.
    """

    name: str
    constrain: Callable[[jax.Array], jax.Array]
    unconstrain: Callable[[jax.Array], jax.Array]
    log_det: Callable[[jax.Array], jax.Array]
    contains: Callable[[jax.Array], jax.Array]


def _by(name: str, bijector: Callable[[], Any], contains: Callable[[jax.Array], jax.Array]) -> Support:
    """The bijector is made where it is used, so that its numbers follow the precision of the caller."""

    def log_det(u: jax.Array) -> jax.Array:
        return jnp.sum(jnp.asarray(bijector().forward_log_det_jacobian(u)))

    return Support(name, lambda u: bijector().forward(u), lambda value: bijector().inverse(value), log_det, contains)


def interval(low: ArrayLike, high: ArrayLike) -> Support:
    """(low, high), by low + (high − low) sigmoid(u). Numbers, or arrays that broadcast to the parameter's shape.

    Raises:
      ValueError: a bound is not finite, or low is not below high.
    """
    if not bool(jnp.all(jnp.isfinite(low) & jnp.isfinite(high) & (jnp.asarray(low) < jnp.asarray(high)))):
        raise ValueError(f"an interval needs finite bounds, low below high, got ({low}, {high}): see greater_than.")

    def contains(value: jax.Array) -> jax.Array:
        return jnp.all((value > low) & (value < high))

    def bijector() -> Any:
        return tfp.bijectors.Sigmoid(low=jnp.asarray(low, float), high=jnp.asarray(high, float))

    return _by(f"interval({low}, {high})", bijector, contains)


def greater_than(low: ArrayLike) -> Support:
    """(low, ∞), by low + e^u.

    Raises:
      ValueError: the bound is not finite.
    """
    return _half_line("greater_than", low, 1.0)


def less_than(high: ArrayLike) -> Support:
    """(−∞, high), by high − e^u.

    Raises:
      ValueError: the bound is not finite.
    """
    return _half_line("less_than", high, -1.0)


def _half_line(name: str, end: ArrayLike, sign: float) -> Support:
    if not bool(jnp.all(jnp.isfinite(end))):
        raise ValueError(f"{name} needs a finite bound, got {end}: supports.real has none.")

    def contains(value: jax.Array) -> jax.Array:
        return jnp.all((sign * (value - end) > 0) & jnp.isfinite(value))

    def bijector() -> Any:
        shift, scale = tfp.bijectors.Shift(jnp.asarray(end, float)), tfp.bijectors.Scale(jnp.asarray(sign, float))
        return tfp.bijectors.Chain([shift, scale, tfp.bijectors.Exp()])

    return _by(f"{name}({end})", bijector, contains)


def _is_ordered(value: jax.Array) -> jax.Array:
    if not value.ndim:
        return jnp.zeros((), bool)
    return jnp.all(jnp.diff(value, axis=-1) > 0) & jnp.all(jnp.isfinite(value))


def _is_simplex(value: jax.Array) -> jax.Array:
    if not value.ndim:
        return jnp.zeros((), bool)
    return jnp.all(value > 0) & jnp.all(jnp.abs(jnp.sum(value, axis=-1) - 1) < _tolerance(value))


def _is_correlation_cholesky(value: jax.Array) -> jax.Array:
    square = value.ndim >= 2 and value.shape[-1] == value.shape[-2]
    if not square:
        return jnp.zeros((), bool)
    above = jnp.max(jnp.abs(jnp.triu(value, 1)))
    positive = jnp.all(jnp.diagonal(value, axis1=-2, axis2=-1) > 0)
    return positive & (above == 0) & jnp.all(jnp.abs(jnp.sum(value**2, axis=-1) - 1) < _tolerance(value))


real: Support = Support(
    "real",
    lambda u: u,
    lambda value: value,
    lambda u: jnp.zeros((), u.dtype),
    lambda value: jnp.all(jnp.isfinite(value)),
)
"""Any finite numbers, as they are."""

positive: Support = _by(
    "positive", lambda: tfp.bijectors.Exp(), lambda value: jnp.all((value > 0) & jnp.isfinite(value))
)
"""(0, ∞), by e^u."""

unit_interval: Support = _by(
    "unit_interval", lambda: tfp.bijectors.Sigmoid(), lambda value: jnp.all((value > 0) & (value < 1))
)
"""(0, 1), by sigmoid(u)."""

ordered: Support = _by("ordered", lambda: tfp.bijectors.Ascending(), _is_ordered)
"""x_1 < x_2 < …, along the last axis, by x_1 = u_1 and x_{i+1} = x_i + softplus(u_{i+1})."""

simplex: Support = _by("simplex", lambda: tfp.bijectors.IteratedSigmoidCentered(), _is_simplex)
"""x_i > 0, Σ x_i = 1, along the last axis, by breaking a stick at N − 1 places; u = 0 is the centre."""


def _correlation_cholesky() -> Any:
    # Without the sinh, a correlation that is uniform has the tails |u|^−3, which no guide of this library has.
    return tfp.bijectors.Chain([tfp.bijectors.CorrelationCholesky(), tfp.bijectors.Sinh()])


correlation_cholesky: Support = _by("correlation_cholesky", _correlation_cholesky, _is_correlation_cholesky)
"""L lower triangular with positive diagonal and rows of length 1, so that L Lᵀ is a correlation matrix `[N, N]`.

Row i is (sinh u_i1, …, sinh u_{i,i−1}, 1, 0, …) over its length: for N = 2 the correlation is tanh u.
"""


def _tolerance(value: jax.Array) -> float:
    return math.sqrt(float(jnp.finfo(value.dtype).eps))
